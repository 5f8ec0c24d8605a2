//! `read(2)`, `write(2)` and their kin, on the descriptor numbers where they are trapped.

use swiommu_abi::Errno;
use swiommu_addr::{Hva, HvaRange};
use swiommu_files::{FdNumber, File, Refusal};

use super::{Service, refuse};
use crate::client::Client;
use crate::listener::{Notification, Reply};
use crate::remote;

/// `UIO_MAXIOV`.
const MAX_VECTORS: u64 = 1024;

/// The most that one call moves (`MAX_RW_COUNT`).
const MAX_BYTES: u64 = 0x7FFF_F000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

impl Service {
    pub(super) fn transfer(&self, notification: &Notification) -> Reply {
        let fd = FdNumber(notification.int(0));
        let Some((thread, served)) = self.served(notification, fd) else {
            return Reply::Continue;
        };
        let direction = match notification.number {
            libc::SYS_read | libc::SYS_readv | libc::SYS_preadv2 | libc::SYS_pread64 => {
                Direction::Read
            }
            libc::SYS_write | libc::SYS_writev | libc::SYS_pwritev2 | libc::SYS_pwrite64 => {
                Direction::Write
            }
            // Vectors at a position.
            _ => return Reply::Fail(Errno::ESPIPE),
        };
        let client = match Client::new(self, notification, &thread, Some(fd)) {
            Ok(client) => client,
            Err(errno) => return Reply::Fail(errno),
        };
        let moved = match notification.number {
            libc::SYS_read | libc::SYS_write => {
                let [_, at, len, ..] = notification.args;
                move_one(&client, &*served.file, direction, None, (at, len))
            }
            libc::SYS_pread64 | libc::SYS_pwrite64 => {
                let [_, at, len, position, ..] = notification.args;
                if position.cast_signed() < 0 {
                    return Reply::Fail(Errno::EINVAL);
                }
                move_one(&client, &*served.file, direction, Some(position), (at, len))
            }
            libc::SYS_preadv2 | libc::SYS_pwritev2 if notification.args[3] != u64::MAX => {
                return Reply::Fail(Errno::ESPIPE);
            }
            _ => move_many(&client, &*served.file, direction, notification),
        };
        match moved {
            Ok(moved) => Reply::Return(i64::try_from(moved).unwrap_or(i64::MAX)),
            Err(refusal) => Reply::Fail(refuse(&client, "read or write", &refusal)),
        }
    }
}

fn move_one(
    client: &Client<'_>,
    file: &dyn File,
    direction: Direction,
    position: Option<u64>,
    (at, len): (u64, u64),
) -> Result<usize, Refusal> {
    let range = match len.min(MAX_BYTES) {
        0 => None,
        len => {
            let range = HvaRange::from_len(Hva::new(at), len);
            Some(range.ok_or_else(|| Refusal::new(Errno::EFAULT, "the buffer wraps around"))?)
        }
    };
    match (direction, position) {
        (Direction::Read, None) => file.read(client, range),
        (Direction::Write, None) => file.write(client, range),
        (Direction::Read, Some(position)) => file.read_at(client, position, range),
        (Direction::Write, Some(position)) => file.write_at(client, position, range),
    }
}

/// As the kernel does for a file without a vector operation: one transfer a vector, until one is short.
fn move_many(
    client: &Client<'_>,
    file: &dyn File,
    direction: Direction,
    notification: &Notification,
) -> Result<usize, Refusal> {
    let [_, at, count, ..] = notification.args;
    if count > MAX_VECTORS {
        return Err(Refusal::new(Errno::EINVAL, "too many vectors"));
    }
    let size = size_of::<libc::iovec>();
    let mut vectors = vec![0; size * usize::try_from(count).unwrap_or(0)];
    remote::read(notification.tid, Hva::new(at), &mut vectors)
        .map_err(|errno| Refusal::new(errno, "the vectors cannot be read"))?;
    let mut total = 0;
    for vector in vectors.chunks_exact(size) {
        let (base, len) = vector.split_at(size / 2);
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let len = word(len);
        match move_one(client, file, direction, None, (word(base), len)) {
            Ok(moved) => {
                total += moved;
                if (moved as u64) < len {
                    break;
                }
            }
            Err(refusal) if total == 0 => return Err(refusal),
            Err(_) => break,
        }
    }
    Ok(total)
}
