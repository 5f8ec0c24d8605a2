use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{MemfdFlags, memfd_create};
use swiommu_files::Stat;

use super::*;

/// A file that tells when it is released.
#[derive(Debug)]
struct Told {
    released: Arc<AtomicUsize>,
    memory: Option<OwnedFd>,
}

impl Told {
    fn new() -> (Arc<Self>, Arc<AtomicUsize>) {
        Self::with_memory(None)
    }

    fn with_memory(memory: Option<OwnedFd>) -> (Arc<Self>, Arc<AtomicUsize>) {
        let released = Arc::new(AtomicUsize::new(0));
        let file = Self {
            released: released.clone(),
            memory,
        };
        (Arc::new(file), released)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.released.fetch_add(1, Ordering::SeqCst);
    }
}

impl File for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn stat(&self) -> Stat {
        Stat::Anonymous
    }

    fn memory(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(AsFd::as_fd)
    }
}

const READ_WRITE: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

#[test]
fn the_last_close_releases() {
    for flags in [
        READ_WRITE,
        OpenFlags::READ,
        OpenFlags::WRITE,
        OpenFlags::empty(),
    ] {
        let table = Table::new().unwrap();
        let (file, released) = Told::new();
        let placeholder = table.add(file, flags).unwrap();
        let identity = placeholder.identity();
        let copy = placeholder.as_fd().try_clone_to_owned().unwrap();
        drop(placeholder);
        table.complete_releases();
        assert_eq!(released.load(Ordering::SeqCst), 0, "{flags:?}");
        assert!(table.get(identity).is_some());
        drop(copy);
        table.complete_releases();
        assert_eq!(released.load(Ordering::SeqCst), 1, "{flags:?}");
        assert!(table.get(identity).is_none());
    }
}

#[test]
fn a_call_in_progress_keeps_its_file() {
    let table = Table::new().unwrap();
    let (file, released) = Told::new();
    let placeholder = table.add(file, READ_WRITE).unwrap();
    let in_use = table.get(placeholder.identity()).unwrap();
    drop(placeholder);
    table.complete_releases();
    assert_eq!(released.load(Ordering::SeqCst), 0);
    drop(in_use);
    assert_eq!(released.load(Ordering::SeqCst), 1);
}

#[test]
fn many_closes_are_all_noticed() {
    let table = Table::new().unwrap();
    let files: Vec<_> = (0..600)
        .map(|_| {
            let (file, released) = Told::new();
            (table.add(file, READ_WRITE).unwrap(), released)
        })
        .collect();
    let counts: Vec<_> = files.iter().map(|(_, released)| released.clone()).collect();
    drop(files);
    table.complete_releases();
    assert!(
        counts
            .iter()
            .all(|released| released.load(Ordering::SeqCst) == 1)
    );
    table.complete_releases();
}

#[test]
fn a_file_with_memory_of_its_own_is_open_once_at_a_time() {
    let table = Table::new().unwrap();
    let memory = memfd_create(c"told", MemfdFlags::CLOEXEC).unwrap();
    let (file, released) = Told::with_memory(Some(memory));
    let placeholder = table.add(file.clone(), READ_WRITE).unwrap();
    assert_eq!(
        table.add(file.clone(), READ_WRITE).err(),
        Some(Errno::EBUSY)
    );
    table.complete_releases();
    assert!(table.get(placeholder.identity()).is_some());
    drop(placeholder);
    table.complete_releases();
    let again = table.add(file.clone(), READ_WRITE).unwrap();
    drop(file);
    drop(again);
    table.complete_releases();
    assert_eq!(released.load(Ordering::SeqCst), 1);
}
