//! `mmap(2)` of a served file.

use swiommu_addr::PageSize;
use swiommu_files::{FdNumber, MmapFlags, MmapRequest, OpenFlags};

use super::{Service, refuse};
use crate::client::Client;
use crate::listener::{Notification, Reply};

impl Service {
    /// Lets a served file refuse a mapping. What it allows is made natively: its memory is the placeholder's own.
    pub(super) fn mmap(&self, notification: &Notification) -> Reply {
        let [_, len, protection, flags, _, offset] = notification.args;
        let has = |bits: u64, flag: i32| bits & u64::from(flag.cast_unsigned()) != 0;
        let shared = has(flags, libc::MAP_SHARED);
        // Other private mappings come here only for what they replace.
        let vetted =
            shared || has(protection, libc::PROT_WRITE) && !has(flags, libc::MAP_DENYWRITE);
        if !vetted || has(flags, libc::MAP_ANONYMOUS) {
            return Reply::Continue;
        }
        let page = PageSize::SIZE_4K;
        let whole = len
            .checked_next_multiple_of(page.bytes())
            .filter(|len| *len > 0);
        let (Some(len), true) = (whole, page.divides(offset)) else {
            return Reply::Continue;
        };
        let fd = FdNumber(notification.int(4));
        let Some((thread, served)) = self.served(notification, fd) else {
            return Reply::Continue;
        };
        let writable = served.flags.contains(OpenFlags::WRITE);
        let readable = served.flags.contains(OpenFlags::READ);
        if !readable || shared && has(protection, libc::PROT_WRITE) && !writable {
            // EACCES, before the file is asked.
            return Reply::Continue;
        }
        let mut request = MmapRequest {
            offset,
            len,
            flags: MmapFlags::empty(),
        };
        for (bit, flag) in [
            (libc::PROT_READ, MmapFlags::READ),
            (libc::PROT_WRITE, MmapFlags::WRITE),
            (libc::PROT_EXEC, MmapFlags::EXEC),
        ] {
            request.flags.set(flag, has(protection, bit));
        }
        // A file that cannot be written cannot be shared: the kernel clears the flag.
        request.flags.set(MmapFlags::SHARED, shared && writable);
        let client = match Client::new(self, notification, &thread, Some(fd)) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        match served.file.mmap(&client, &request) {
            Ok(()) => Reply::Continue,
            Err(refusal) => Reply::Fail(refuse(&client, "mmap", &refusal)),
        }
    }
}
