use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A value that moves along with its position, and one that does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Target {
    address: u64,
    users: u8,
}

impl Value for Target {
    fn skip(self, bytes: u64) -> Self {
        Self {
            address: self.address + bytes,
            ..self
        }
    }
}

const SPACE: usize = 48;

/// What an update does to each number.
#[derive(Clone, Debug)]
enum Change {
    /// Gaps get this target (of number 0), others one more user.
    Add(u64),
    /// One user less; none left is a gap.
    Sub,
}

fn apply(change: &Change, first: u64, old: Option<Target>) -> Option<Target> {
    match (change, old) {
        (Change::Add(base), None) => Some(Target {
            address: base + first,
            users: 1,
        }),
        (Change::Add(_), Some(target)) => Some(Target {
            users: target.users + 1,
            ..target
        }),
        (Change::Sub, None) => None,
        (Change::Sub, Some(target)) => (target.users > 1).then(|| Target {
            users: target.users - 1,
            ..target
        }),
    }
}

fn change() -> impl Strategy<Value = (usize, usize, Change)> {
    let kind = prop_oneof![
        3 => prop_oneof![Just(1000), Just(2000)].prop_map(Change::Add),
        2 => Just(Change::Sub),
    ];
    (0..SPACE, 0..SPACE, kind).prop_map(|(a, b, kind)| (a.min(b), a.max(b), kind))
}

proptest! {
    #[test]
    fn extents_equal_a_map_per_number(changes in vec(change(), 1..40), top in any::<bool>()) {
        let origin = if top { u64::MAX - (SPACE as u64 - 1) } else { 0 };
        let mut naive = [None::<Target>; SPACE];
        let mut map = ExtentMap::<Target>::default();
        for (first, last, change) in changes {
            for (number, slot) in naive.iter_mut().enumerate().take(last + 1).skip(first) {
                *slot = apply(&change, number as u64, *slot);
            }
            let range = origin + first as u64..=origin + last as u64;
            map.update(range, |piece| apply(&change, piece.first - origin, piece.value));

            let whole = origin..=origin + (SPACE as u64 - 1);
            let mut seen = Vec::new();
            for piece in map.cover(whole.clone()) {
                for number in piece.first..=piece.last {
                    seen.push(piece.value.map(|value| value.skip(number - piece.first)));
                }
            }
            prop_assert_eq!(&seen[..], &naive[..]);
            let extents: Vec<_> = map.overlapping(whole).collect();
            for pair in extents.windows(2) {
                prop_assert!(pair[0].last < pair[1].first);
                prop_assert!(!pair[0].is_continued_by(&pair[1]), "not merged: {:?}", pair);
            }
            prop_assert_eq!(map.is_empty(), naive.iter().all(Option::is_none));
        }
    }
}

#[test]
fn an_overlap_is_clipped_and_its_value_moved_along() {
    let mut map = ExtentMap::<Target>::default();
    map.update(0x1000..=0x4fff, |_| {
        Some(Target {
            address: 0x9000,
            users: 1,
        })
    });
    let clipped: Vec<_> = map.overlapping(0x2000..=0x2fff).collect();
    assert_eq!(clipped.len(), 1);
    assert_eq!((clipped[0].first, clipped[0].last), (0x2000, 0x2fff));
    assert_eq!(clipped[0].value.address, 0xa000);
    assert_eq!(map.overlapping(0x5000..=0x5fff).count(), 0);
}
