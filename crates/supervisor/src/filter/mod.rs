//! Which system calls wait for the supervisor.
//!
//! The kernel remembers which calls are allowed whatever their arguments and does not run the filter for them, so only
//! calls that look at arguments or are trapped cost more than the check itself.

mod assembler;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use assembler::{Action, Decision, Test, Word};

use crate::config::MemoryWatch;

/// The descriptor numbers on which `read` and `write` are trapped: below 1024 for `select(2)`, below every usual
/// `RLIMIT_NOFILE`.
pub(crate) const EVENT_FDS: RangeInclusive<i32> = 960..=1023;

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`.
const ARCH_X86_64: u32 = 0xC000_003E;

/// The type letter `;` and the numbers of VFIO's and IOMMUFD's requests, `_IO(';', 0x64..=0xA0)`; the size and
/// direction bits are left to the file, which refuses them.
const REQUESTS: RangeInclusive<u32> = 0x3B64..=0x3BA0;
const REQUEST_MASK: u32 = 0xFFFF;

/// `MADV_GUARD_INSTALL` of `linux/mman.h`.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The filter, ready for `seccomp(2)`.
pub(crate) fn program(watch: MemoryWatch) -> Vec<libc::sock_filter> {
    let mut cases = always(&[
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_creat,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_access,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlink,
        libc::SYS_readlinkat,
        libc::SYS_getxattr,
        libc::SYS_lgetxattr,
        libc::SYS_listxattr,
        libc::SYS_llistxattr,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_exit_group,
    ]);
    cases.extend(transfers());
    cases.push((number(libc::SYS_ioctl), ioctl()));
    cases.push((number(libc::SYS_mmap), mmap(watch)));
    if watch == MemoryWatch::On {
        cases.extend(always(&[
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_shmdt,
        ]));
        cases.push((number(libc::SYS_brk), brk()));
        cases.push((number(libc::SYS_madvise), madvise()));
    }
    cases.sort_by_key(|(number, _)| *number);

    // Numbers of the x32 ABI carry a high bit and so match no case.
    let native = Decision::search(&cases).of(Word::NUMBER);
    Decision::when(
        Test::Equal(ARCH_X86_64),
        native,
        Decision::Do(Action::Allow),
    )
    .of(Word::ARCH)
    .assemble()
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn always(calls: &[libc::c_long]) -> Vec<(u32, Decision)> {
    calls
        .iter()
        .map(|&call| (number(call), Decision::Do(Action::Notify)))
        .collect()
}

/// Reads and writes of descriptors that may be event queues.
fn transfers() -> Vec<(u32, Decision)> {
    let first = u32::try_from(*EVENT_FDS.start()).unwrap_or(0);
    let last = u32::try_from(*EVENT_FDS.end()).unwrap_or(0);
    let decision =
        Decision::within(first, last, Decision::Do(Action::Notify)).of(Word::argument(0));
    [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_preadv,
        libc::SYS_pwritev,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
    ]
    .into_iter()
    .map(|call| (number(call), decision.clone()))
    .collect()
}

fn ioctl() -> Decision {
    Decision::within(
        *REQUESTS.start(),
        *REQUESTS.end(),
        Decision::Do(Action::Notify),
    )
    .masked(REQUEST_MASK)
    .of(Word::argument(1))
}

/// Mappings of a file that are shared, or private and written to; with the watch also what replaces a mapping. Private ones that
/// are only read are how programs read files, and those that deny writing how they load libraries: too many to look at each.
fn mmap(watch: MemoryWatch) -> Decision {
    let allow = || Decision::Do(Action::Allow);
    let notify = || Decision::Do(Action::Notify);
    let replaces = || match watch {
        MemoryWatch::On => Decision::when(Test::AnyBitOf(flag(libc::MAP_FIXED)), notify(), allow()),
        MemoryWatch::Off => allow(),
    };
    let file = || Decision::when(Test::AtLeast(1 << 31), allow(), notify()).of(Word::argument(4));
    let shared = Decision::when(
        Test::AnyBitOf(flag(libc::MAP_ANONYMOUS)),
        replaces(),
        file(),
    );
    let written = Decision::when(
        Test::AnyBitOf(flag(libc::PROT_WRITE)),
        file(),
        replaces().of(Word::argument(3)),
    );
    let private = Decision::when(
        Test::AnyBitOf(flag(libc::MAP_ANONYMOUS | libc::MAP_DENYWRITE)),
        replaces(),
        written.of(Word::argument(2)),
    );
    // MAP_SHARED_VALIDATE has the bit of MAP_SHARED; MAP_PRIVATE has not.
    Decision::when(Test::AnyBitOf(flag(libc::MAP_SHARED)), shared, private).of(Word::argument(3))
}

/// All but the question for the current break.
fn brk() -> Decision {
    let notify = || Decision::Do(Action::Notify);
    let high = Decision::when(Test::Equal(0), Decision::Do(Action::Allow), notify());
    Decision::when(Test::Equal(0), high.of(Word::argument_high(0)), notify()).of(Word::argument(0))
}

/// The advice that drops memory.
fn madvise() -> Decision {
    let mut advice = [
        libc::MADV_DONTNEED,
        libc::MADV_FREE,
        libc::MADV_REMOVE,
        libc::MADV_DONTNEED_LOCKED,
        MADV_GUARD_INSTALL,
    ]
    .map(|advice| (flag(advice), Decision::Do(Action::Notify)));
    advice.sort_by_key(|(advice, _)| *advice);
    Decision::search(&advice).of(Word::argument(2))
}

fn flag(bits: libc::c_int) -> u32 {
    bits.cast_unsigned()
}
