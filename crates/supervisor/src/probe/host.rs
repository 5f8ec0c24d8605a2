//! The kernel and its settings.

// UNSAFETY: membarrier(2) has no wrapper.
#![expect(unsafe_code, reason = "see above")]

use std::fs;

use super::{Advice, Finding, Verdict};

/// The first release with notifications that only a fatal signal interrupts.
const OLDEST: (u32, u32) = (5, 19);

/// The first release with synchronous wake-ups of the supervisor.
const FAST: (u32, u32) = (6, 6);

/// The kernel's major and minor version; zeros when it has an unusual name.
pub(crate) fn release() -> (u32, u32) {
    parse_release(&release_name())
}

pub(super) fn parse_release(name: &str) -> (u32, u32) {
    let mut numbers = name
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The kernel's release, as `uname -r` prints it.
pub(crate) fn release_name() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// A numeric setting of `/proc/sys`.
pub(crate) fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

pub(super) fn kernel() -> Finding {
    let subject = "kernel";
    let found = release_name();
    if release() < OLDEST {
        let advice = Advice {
            cost: "its seccomp notifications let a signal repeat a call that was already made",
            remedy: "use Linux 5.19 or newer",
        };
        Finding::lacks(Verdict::Missing, subject, found, advice)
    } else {
        let advice = Advice {
            cost: "a trapped call wakes the supervisor on another processor, and takes several times as long",
            remedy: "use Linux 6.6 or newer",
        };
        Finding::limited_unless(release() >= FAST, subject, found, advice)
    }
}

pub(super) fn findings() -> Vec<Finding> {
    vec![
        ptrace_scope(),
        io_uring(),
        membarrier(),
        huge_pages(),
        real_iommu(),
    ]
}

fn ptrace_scope() -> Finding {
    let subject = "yama ptrace_scope";
    let scope = sysctl("kernel/yama/ptrace_scope");
    let found = scope.map_or_else(|| "no yama".to_owned(), |scope| scope.to_string());
    // A scope of 1 allows descendants, which all clients are.
    let advice = Advice {
        cost: "the memory of clients cannot be read without CAP_SYS_PTRACE",
        remedy: "sysctl kernel.yama.ptrace_scope=1, or run as root",
    };
    Finding::limited_unless(scope.is_none_or(|scope| scope <= 1), subject, found, advice)
}

fn io_uring() -> Finding {
    let subject = "io_uring";
    let setting = sysctl("kernel/io_uring_disabled");
    let (good, found) = match setting {
        Some(0) => (false, "enabled"),
        Some(1) => (false, "enabled for privileged processes and one group"),
        Some(_) => (true, "disabled"),
        None if release() < (5, 1) => (true, "none"),
        None => (false, "enabled"),
    };
    let advice = Advice {
        cost: "a program that opens or reads served files through io_uring is not noticed",
        remedy: "sysctl kernel.io_uring_disabled=2 for such programs; others need nothing",
    };
    Finding::limited_unless(good, subject, found, advice)
}

fn membarrier() -> Finding {
    const QUERY: libc::c_long = 0;
    const PRIVATE_EXPEDITED: libc::c_long = 1 << 3;
    // SAFETY: the query touches no memory.
    let commands = unsafe { libc::syscall(libc::SYS_membarrier, QUERY, 0, 0) };
    let good = commands > 0 && commands & PRIVATE_EXPEDITED != 0;
    let advice = Advice {
        cost: "every device access pays for a memory fence",
        remedy: "use a kernel with CONFIG_MEMBARRIER",
    };
    let found = if good { "private expedited" } else { "none" };
    Finding::limited_unless(good, "membarrier", found, advice)
}

fn huge_pages() -> Finding {
    let setting = |name: &str| -> u64 {
        fs::read_to_string(format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    };
    let (total, free) = (setting("nr_hugepages"), setting("free_hugepages"));
    let advice = Advice {
        cost: "programs that ask for MAP_HUGETLB get ENOMEM from the kernel",
        remedy: "sysctl vm.nr_hugepages=64 for such programs; others need nothing",
    };
    let found = format!("{free} of {total} free");
    Finding::limited_unless(free > 0, "huge pages of 2 MiB", found, advice)
}

fn real_iommu() -> Finding {
    let exists = fs::exists("/dev/iommu").unwrap_or(false);
    let found = if exists {
        "there: hidden from the programs that are run"
    } else {
        "none, and none is needed"
    };
    Finding::good("the host's own /dev/iommu", found)
}
