use super::*;

/// What the first entries may have together, whatever their number.
const FIRST: usize = 9 << 10;

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
                "shifts {shift} and {tag_shift}"
            );
        }
    }
}

/// The inverse of an odd number modulo 2^64.
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |inverse, _| {
        inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)))
    })
}
