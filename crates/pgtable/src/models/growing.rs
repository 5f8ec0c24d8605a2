//! Roots that grow while others map and walk.

use super::*;

/// Two maps need a higher root, and a walk notices nothing.
#[test]
fn of_two_new_roots_one_stays() {
    explore(
        Tiny::growing(1..=2),
        |world| world.map(0, 1),
        [
            |world| world.map(2, 1),
            |world| world.map(3, 1),
            |world| assert!(world.finds(0)),
        ],
        |world| world.expect(&[0, 2, 3], 3),
    );
}

/// One map needs a root of one level more than the other.
#[test]
fn a_root_grows_above_one_that_grew() {
    explore(
        Tiny::growing(1..=3),
        |world| world.map(0, 1),
        [|world| world.map(2, 1), |world| world.map(4, 1)],
        |world| {
            world.expect(&[0, 2, 4], 6);
            assert_eq!(world.table.root().levels, 3);
        },
    );
}
