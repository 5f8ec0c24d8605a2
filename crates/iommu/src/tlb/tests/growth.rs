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

/// Addresses that differ in a few bits somewhere, and tags likewise.
#[test]
fn no_pattern_of_addresses_or_tags_makes_entries_collide() {
    for shift in (0..40).step_by(4) {
        for tag_shift in [0, 16, 32, 52] {
            let tlb = legal_maximum();
            for n in 0..2000_u64 {
                insert(&tlb, (n % 40) << tag_shift, (n / 40) << shift, n);
            }
            assert_eq!((tlb.entries(), tlb.counters().evicted), (2000, 0));
            assert!(
                tlb.allocated() <= 2000 * 64,
                "shifts {shift} and {tag_shift}: {} bytes",
                tlb.allocated()
            );
        }
    }
}

/// Somebody who knows the hash chooses entries that all have the same two places.
#[test]
fn entries_with_few_places_do_not_make_the_table_grow_without_end() {
    let tlb = legal_maximum();
    let mut seed = 0_u64;
    for page in 0..500 {
        insert(
            &tlb,
            table::colliding_tag(iova(page), &mut seed),
            page,
            page,
        );
    }
    let many = tlb.entries();
    assert!(many < 500 && tlb.counters().evicted as usize == 500 - many);
    assert!(tlb.allocated() < 1 << 20, "{}", tlb.allocated());
    for page in 500..600 {
        insert(&tlb, 1, page, page);
        assert_eq!(found(&tlb, 1, page), Some(page), "others have their places");
    }
}
