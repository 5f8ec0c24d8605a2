use std::sync::atomic::AtomicBool;

use super::*;

#[test]
fn synchronize_waits_for_a_guard_that_existed() {
    let epochs = Epochs::new();
    let mut reader = epochs.reader("a");
    let (left, inside) = (Arc::new(AtomicBool::new(false)), std::sync::mpsc::channel());
    let at_exit = left.clone();
    let thread = std::thread::spawn(move || {
        let guard = reader.enter();
        inside.0.send(()).unwrap();
        for _ in 0..1000 {
            yield_now();
        }
        at_exit.store(true, Ordering::Relaxed);
        drop(guard);
        reader
    });
    inside.1.recv().unwrap();
    epochs.synchronize();
    assert!(
        left.load(Ordering::Relaxed),
        "synchronize returned while a guard was held"
    );
    drop(thread.join().unwrap());
    assert_eq!(epochs.slots.lock().len(), 0);
}

/// A value is poisoned only after `synchronize`; a reader that could still see it poisoned under its guard would
/// mean that the wait ended too early.
#[test]
fn nothing_is_reused_under_a_guard() {
    let epochs = Epochs::new();
    let current = Arc::new(AtomicU64::new(0));
    let values: Arc<[AtomicU64; 2]> = Arc::default();
    let threads: Vec<_> = (0..2)
        .map(|n| {
            let (mut reader, current, values) = (
                epochs.reader(format!("reader {n}")),
                current.clone(),
                values.clone(),
            );
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    let guard = reader.enter();
                    let index = usize::try_from(current.load(Ordering::Acquire)).unwrap();
                    for _ in 0..4 {
                        assert_eq!(values[index].load(Ordering::Relaxed), 0, "read after reuse");
                    }
                    drop(guard);
                }
            })
        })
        .collect();
    for round in 0..2_000_u64 {
        let (old, new) = (usize::try_from(round % 2).unwrap(), (round + 1) % 2);
        values[usize::try_from(new).unwrap()].store(0, Ordering::Relaxed);
        current.store(new, Ordering::Release);
        epochs.synchronize();
        values[old].store(0xdead, Ordering::Relaxed);
    }
    // The last poisoned value is not current; readers finish on the good one.
    for thread in threads {
        thread.join().unwrap();
    }
}
