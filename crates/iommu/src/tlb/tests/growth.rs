use super::*;

/// What the first entries may have together, whatever their number.
const FIRST: usize = 16 << 10;

#[test]
fn all_entries_of_a_table_that_grows_are_found() {
    let tlb = legal_maximum();
    let mut allocated = 0;
    for n in 0..100_000_u64 {
        insert(&tlb, n % 7, n / 7, n);
        let now = tlb.allocated();
        if now != allocated {
            allocated = now;
            let entries = tlb.entries();
            assert!(
                now <= FIRST.max(64 * entries),
                "{now} bytes for {entries} entries"
            );
        }
    }
    for n in 0..100_000 {
        assert_eq!(found(&tlb, n % 7, n / 7), Some(n));
    }
    assert_eq!((tlb.entries(), tlb.counters().evicted), (100_000, 0));
    for tag in 0..7 {
        tlb.invalidate(&Scope::tags(TagMatch::exact(tag)));
    }
    assert_eq!(tlb.entries(), 0);
    assert_eq!(tlb.counters().invalidated, 100_000);
}

/// Tags and addresses, and addresses among themselves, in regular grids.
#[test]
fn no_pattern_makes_entries_collide() {
    let check = |pattern: &str, place: &dyn Fn(u64) -> (u64, u64)| {
        let tlb = legal_maximum();
        for n in 0..3000 {
            let (tag, page) = place(n);
            insert(&tlb, tag, page, n);
        }
        assert_eq!(
            (tlb.entries(), tlb.counters().evicted),
            (3000, 0),
            "{pattern}"
        );
        let allocated = tlb.allocated();
        assert!(allocated <= 3000 * 64, "{pattern}: {allocated} bytes");
    };
    for width in [8, 40, 256] {
        for shift in (0..28).step_by(3) {
            // So many rows and columns that no place is named twice.
            let row = |n: u64| (n / width) << shift.max(width.ilog2() + 1);
            check(&format!("pages {width} {shift}"), &|n| {
                (5, row(n) + n % width)
            });
            for tag_shift in [0, 4, 16, 20, 32, 40, 52] {
                let pattern = format!("tags {width} {shift} {tag_shift}");
                check(&pattern, &|n| {
                    ((n % width) << tag_shift, (n / width) << shift)
                });
            }
        }
    }
}

/// Somebody who knows the hash chooses entries that all have the same two places.
#[test]
fn entries_with_few_places_do_not_make_the_table_grow_without_end() {
    let tlb = legal_maximum();
    let mut seed = 0;
    for _ in 0..200 {
        let (tag, iova) = table::colliding(&mut seed);
        let to = leads_to(1, PAGE);
        tlb.begin_walk().insert(tag, iova, &to, Marks::NONE);
    }
    let many = tlb.entries();
    assert!(many < 200 && tlb.counters().evicted == 200 - many as u64);
    assert!(tlb.allocated() < 1 << 20, "{}", tlb.allocated());
    for page in 500..600 {
        insert(&tlb, 1, page, page);
        assert_eq!(found(&tlb, 1, page), Some(page), "others have their places");
    }
}

/// Who looks for a victim begins anywhere, and comes around.
#[test]
fn each_slot_can_be_the_first() {
    let table = Table::new(Retention::LegalMaximum);
    assert_eq!(table.slots_from(0).count(), 0);
    assert!(table.grow());
    for first in 0..table.len() {
        let slots = table.slots().skip(first);
        let slots = slots.chain(table.slots().take(first));
        assert!(
            slots
                .map(std::ptr::from_ref)
                .eq(table.slots_from(first).map(std::ptr::from_ref))
        );
    }
}
