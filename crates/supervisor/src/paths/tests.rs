use std::path::Path;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_files::{Caller, FdNumber, Node, OpenFlags, Opened, Paths, Refusal, Stat};

use super::*;

#[derive(Debug)]
struct Nothing;

impl Node for Nothing {
    fn stat(&self) -> Stat {
        Stat::Anonymous
    }

    fn open(&self, _: &dyn Caller, _: OpenFlags) -> Result<Opened, Refusal> {
        Err(Refusal::new(Errno::ENXIO, "nothing to open"))
    }
}

fn names() -> Names {
    let mut paths = Paths::new();
    for path in ["/dev/iommu", "/dev/swiommu-absent/devices/noiommu0"] {
        paths.add(path, Arc::new(Nothing));
    }
    Names::new(&paths)
}

#[test]
fn a_path_is_refused_by_its_last_name() {
    let names = names();
    for path in [
        "/dev/iommu",
        "iommu",
        "../iommu",
        "/elsewhere/iommu",
        "/dev/iommu/",
        "/dev/iommu//",
        "/dev/swiommu-absent",
        "devices/",
        "noiommu0",
        "/proc/1/status",
        "status",
        "/proc/self/fd/12",
        "/dev/fd/3",
        "7",
    ] {
        assert!(names.may_match(path.as_bytes()), "{path}");
    }
    for path in [
        "",
        "/",
        "..",
        "/dev",
        "/dev/iommu/x",
        "/dev/iommu2",
        "/lib/libc.so.6",
        "/proc/12",
        "/proc/self/fd",
        "/proc/self/fd/12x",
        "/proc/self/fdinfo/12",
    ] {
        assert!(!names.may_match(path.as_bytes()), "{path}");
    }
}

#[test]
fn only_directories_that_the_host_lacks_are_ours() {
    let names = names();
    assert!(names.is_directory(Path::new("/dev/swiommu-absent")));
    assert!(names.is_directory(Path::new("/dev/swiommu-absent/devices")));
    assert!(!names.is_directory(Path::new("/dev")));
    assert!(!names.is_directory(Path::new("/")));
}

#[test]
fn proc_has_an_owner_and_a_subject() {
    use Owner::{Number, Process, Thread};
    use ProcPath::{Descriptor, FailNth, Status};
    for (path, meaning) in [
        ("/proc/self/status", Some(Status(Process))),
        ("/proc/thread-self/status", Some(Status(Thread))),
        ("/proc/77/status", Some(Status(Number(77)))),
        ("/proc/self/task/78/status", Some(Status(Number(78)))),
        ("/proc/self/task/78/fail-nth", Some(FailNth(Number(78)))),
        ("/proc/thread-self/fail-nth", Some(FailNth(Thread))),
        ("/proc/self/fd/3", Some(Descriptor(Process, FdNumber(3)))),
        (
            "/proc/77/task/78/fd/3",
            Some(Descriptor(Number(78), FdNumber(3))),
        ),
        ("/dev/fd/0", Some(Descriptor(Process, FdNumber(0)))),
        ("/proc/status", None),
        ("/proc/self/status/x", None),
        ("/proc/self/fd", None),
        ("/proc/self/fd/3/x", None),
        ("/proc/self/fd/x", None),
        ("/proc/x/status", None),
        ("/proc/self/task/78", None),
        ("/dev/fdx/0", None),
        ("/elsewhere/self/status", None),
    ] {
        assert_eq!(ProcPath::parse(Path::new(path)), meaning, "{path}");
    }
}
