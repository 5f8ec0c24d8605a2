//! Several threads do DMA while a guest changes its tables.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use swiommu_addr::Iova;
use swiommu_iommu::{Prot, Retention};

use crate::guest::{PAGE, pages};
use crate::model::{Changed, Model, Rights};
use crate::nested::Nested;

/// What belongs to the guest, and what its memory is used for once it has taken it from the device.
const OWN: u8 = 0xaa;
const FOREIGN: u8 = 0xdd;

/// Pages that the devices read at once, of which there are two sets.
const COUNT: u64 = 16;
const LEN: usize = 16 * 4096;

const IOVA: u64 = 0x80;
const GUEST: u64 = 0x200;

/// Enough that the test fails nearly always when an invalidation does not wait.
const ROUNDS: u32 = 30;

/// Readers that have not begun after so many never will.
const MOST_ROUNDS: u32 = 20_000;

/// Ends the readers, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A guest takes its memory from the device, by changing entries and invalidating them, and uses it for something else at once.
pub(crate) fn nobody_uses_what_was_invalidated<M: Model>() {
    let mut nested = Nested::<M>::new(Retention::LegalMaximum);
    for page in 0..2 * COUNT {
        nested.map_second(GUEST + page, page, Prot::RW);
    }
    point_to::<M>(&mut nested, 0);
    nested.guest.fill(0, 2 * LEN / 4096, OWN);
    let stop = AtomicBool::new(false);
    let reads = AtomicU32::new(0);
    thread::scope(|scope| {
        let stopping = Stop(&stop);
        for pasid in M::REQUESTERS.iter().cycle().take(4) {
            let mut port = nested.port(*pasid);
            let (stop, reads) = (&stop, &reads);
            scope.spawn(move || {
                let (own, mut bytes) = (vec![OWN; LEN], vec![0; LEN]);
                while !stop.load(Ordering::Relaxed) {
                    port.read(Iova::new(IOVA * PAGE), &mut bytes).unwrap();
                    assert!(bytes == own, "a foreign byte");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut rounds = 0..MOST_ROUNDS;
        while rounds.start < ROUNDS || reads.load(Ordering::Relaxed) < ROUNDS {
            let round = rounds.next().expect("somebody reads something");
            let (old, new) = (round % 2, (round + 1) % 2);
            point_to::<M>(&mut nested, new.into());
            nested.invalidate(Changed::Leaves(pages(IOVA, COUNT)));
            nested
                .guest
                .fill(u64::from(old) * COUNT, LEN / 4096, FOREIGN);
            // Whoever is still on the way comes to see it.
            for _ in 0..8 {
                thread::yield_now();
            }
            nested.guest.fill(u64::from(old) * COUNT, LEN / 4096, OWN);
        }
        drop(stopping);
    });
}

/// Lets the pages of IOVAs be one set of the guest's pages or the other.
fn point_to<M: Model>(nested: &mut Nested<M>, set: u64) {
    for page in 0..COUNT {
        let to = GUEST + set * COUNT + page;
        nested.map_first(0, IOVA + page, to, Rights::Write);
    }
}
