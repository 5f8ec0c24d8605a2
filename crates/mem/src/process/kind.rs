//! What kind of memory is behind a file: decides whether it may be pinned for writing, and by what it is identified.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use swiommu_addr::PageSize;

use super::directory::{ProcDir, our_mounts};

/// The file systems that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileSystem {
    /// Memory: tmpfs, memfds, anonymous shared memory.
    Memory,
    /// Huge pages, of a size where it is known.
    Hugetlb(Option<PageSize>),
    /// Tracks its dirty pages, so they cannot be pinned for writing.
    Tracked,
    /// Not mounted anywhere: files of the kernel's own, which may share one inode.
    Internal,
}

/// The file systems by device number.
#[derive(Debug)]
pub(crate) struct FileSystems {
    known: RwLock<BTreeMap<u64, FileSystem>>,
}

impl FileSystems {
    pub(crate) fn new() -> Self {
        let kinds = [
            (MemfdFlags::empty(), FileSystem::Memory),
            (
                MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
                FileSystem::Hugetlb(Some(PageSize::SIZE_2M)),
            ),
            (
                MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
                FileSystem::Hugetlb(Some(PageSize::SIZE_1G)),
            ),
        ];
        // The kernel's own mounts are in no list of mounts; a file of each kind tells its device.
        let known = kinds.into_iter().filter_map(|(flags, kind)| {
            let file = memfd_create("swiommu", flags | MemfdFlags::CLOEXEC).ok()?;
            Some((fstat(file).ok()?.st_dev, kind))
        });
        Self {
            known: RwLock::new(known.collect()),
        }
    }

    /// What the files on `device` are that the process with this directory has mapped.
    pub(crate) fn of(&self, device: u64, process: &ProcDir) -> FileSystem {
        if let Some(&known) = self.known.read().get(&device) {
            return known;
        }
        let theirs = process.read("mountinfo").unwrap_or_default();
        let found = find_mount(&theirs, device).or_else(|| find_mount(&our_mounts(), device));
        let Some(found) = found else {
            return FileSystem::Internal;
        };
        self.known.write().insert(device, found);
        found
    }
}

/// Finds the device in a text such as `36 35 0:42 / /mnt rw shared:1 - tmpfs none rw,size=1g`.
fn find_mount(mounts: &str, device: u64) -> Option<FileSystem> {
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let number = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
        (number == device).then(|| match system.split(' ').next() {
            Some("tmpfs" | "ramfs") => FileSystem::Memory,
            Some("hugetlbfs") => FileSystem::Hugetlb(None),
            Some("devtmpfs" | "proc" | "sysfs") => FileSystem::Internal,
            _ => FileSystem::Tracked,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_tell_the_kind() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/root rw\n\
                      36 22 0:42 / /dev/shm rw shared:1 - tmpfs none rw,size=1g\n\
                      37 22 0:43 / /dev/hugepages rw - hugetlbfs none rw,pagesize=2M\n";
        let at = |major, minor| find_mount(mounts, rustix::fs::makedev(major, minor));
        assert_eq!(at(8, 1), Some(FileSystem::Tracked));
        assert_eq!(at(0, 42), Some(FileSystem::Memory));
        assert_eq!(at(0, 43), Some(FileSystem::Hugetlb(None)));
        assert_eq!(at(0, 44), None);
    }

    #[test]
    fn memfds_are_memory() {
        let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let device = fstat(file).unwrap().st_dev;
        let us = ProcDir::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(FileSystems::new().of(device, &us), FileSystem::Memory);
        assert_eq!(FileSystems::new().of(u64::MAX, &us), FileSystem::Internal);
    }
}
