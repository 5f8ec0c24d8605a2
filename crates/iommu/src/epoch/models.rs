//! Readers beside synchronizers, explored by loom in every order: `.ci/loom` runs it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex, OnceLock};

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::{Epochs, Reader};

/// What the threads of a model share.
struct World {
    epochs: Arc<Epochs>,
    /// For whoever takes one first.
    readers: Mutex<Vec<Reader>>,
    page: Page,
}

/// Something that readers write to until it is unmapped.
#[derive(Default)]
struct Page {
    unmapped: AtomicBool,
    writes: AtomicU64,
    /// How many writes the one who has unmapped it knows of.
    known_writes: OnceLock<u64>,
}

/// Explores the orders in which the threads can run, with as many readers from the start. Each thread goes first once: see
/// the models of `swiommu-pgtable`.
fn explore<const N: usize>(readers: usize, mut threads: [fn(&World); N]) {
    for _ in 0..N {
        threads.rotate_left(1);
        loom::model(move || {
            let epochs = Epochs::new();
            let readers = (0..readers).map(|n| epochs.reader(format!("reader {n}")));
            let world = loom::sync::Arc::new(World {
                readers: Mutex::new(readers.collect()),
                epochs: epochs.clone(),
                page: Page::default(),
            });
            let others = threads[1..].iter().map(|&run| {
                let world = world.clone();
                thread::spawn(move || run(&world))
            });
            let others: Vec<_> = others.collect();
            threads[0](&world);
            for other in others {
                other.join().unwrap();
            }
            let writes = world.page.writes.load(Ordering::Relaxed);
            assert_eq!(world.page.known_writes.get(), Some(&writes));
        });
    }
}

impl World {
    fn reader(&self) -> Reader {
        self.readers.lock().unwrap().pop().unwrap()
    }

    /// Writes to the page if it is mapped.
    fn write(&self, reader: &mut Reader) {
        let _guard = reader.enter();
        if !self.page.unmapped.load(Ordering::Relaxed) {
            self.page.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When this returns, nobody writes to the page any more, and all writes are known.
    fn unmap(&self) {
        self.page.unmapped.store(true, Ordering::Relaxed);
        self.epochs.synchronize();
        let writes = self.page.writes.load(Ordering::Relaxed);
        self.page.known_writes.set(writes).unwrap();
    }
}

#[test]
fn nobody_writes_after_an_unmap() {
    explore(
        1,
        [
            |world| world.unmap(),
            |world| world.write(&mut world.reader()),
        ],
    );
}

#[test]
fn it_is_so_for_every_reader() {
    explore(
        2,
        [
            |world| world.unmap(),
            |world| world.write(&mut world.reader()),
            |world| world.write(&mut world.reader()),
        ],
    );
}

/// The reader may be inside again by the time that anyone looks.
#[test]
fn an_unmap_waits_for_one_access_of_several() {
    explore(
        1,
        [
            |world| world.unmap(),
            |world| {
                let mut reader = world.reader();
                world.write(&mut reader);
                world.write(&mut reader);
            },
        ],
    );
}

/// The one reader comes and the other goes.
#[test]
fn readers_come_and_go() {
    explore(
        1,
        [
            |world| world.unmap(),
            |world| {
                let mut new = world.epochs.reader("new");
                drop(world.reader());
                world.write(&mut new);
            },
        ],
    );
}

/// The only reader is gone after its last access, and with it its place in the list.
#[test]
fn a_reader_goes_after_its_access() {
    explore(
        0,
        [
            |world| world.unmap(),
            |world| world.write(&mut world.epochs.reader("passing")),
        ],
    );
}
