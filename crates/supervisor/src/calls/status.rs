//! `/proc/PID/status` with the pages that we pin and lock.

use std::io::Read;
use std::sync::Arc;

use swiommu_addr::PageSize;

use super::Service;
use crate::paths::Owner;
use crate::threads::Thread;

impl Service {
    /// The text of a process' status, when ours differs from the host's.
    pub(super) fn status(&self, thread: &Arc<Thread>, owner: Owner) -> Option<Vec<u8>> {
        let thread = thread.owner(owner)?;
        let space = self.threads.known_space(&thread)?;
        let (pinned, locked) = (space.locked().pinned(), space.locked().locked());
        if (pinned, locked) == (0, 0) {
            return None;
        }
        let mut text = String::new();
        std::fs::File::from(thread.proc("status").ok()?)
            .read_to_string(&mut text)
            .ok()?;
        Some(substitute(&text, pinned, locked).into_bytes())
    }
}

/// The same text with so many pages more in `VmPin` and `VmLck`.
fn substitute(text: &str, pinned: i64, locked: i64) -> String {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let pages = match name {
            "VmPin" => pinned,
            "VmLck" => locked,
            _ => return None,
        };
        let kilobytes: i64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
        let page = i64::try_from(PageSize::SIZE_4K.bytes() / 1024).ok()?;
        let total = kilobytes + pages * page;
        Some(format!("{name}:\t{:8} kB\n", total.max(0)))
    };
    text.split_inclusive('\n')
        .map(|original| line(original).unwrap_or_else(|| original.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::substitute;

    #[test]
    fn only_two_numbers_change() {
        let text =
            "Name:\tVmPin: 3\nVmLck:\t       0 kB\nVmPin:\t      12 kB\nVmRSS:\t     100 kB\nend";
        assert_eq!(
            substitute(text, 1, 3),
            "Name:\tVmPin: 3\nVmLck:\t      12 kB\nVmPin:\t      16 kB\nVmRSS:\t     100 kB\nend"
        );
    }
}
