//! Maps beside maps and walks.

use super::*;

#[test]
fn of_two_tables_for_one_place_one_stays() {
    explore(
        Tiny::of_levels(2),
        |_| {},
        [|world| world.map(0, 1), |world| world.map(1, 1)],
        |world| world.expect(&[0, 1], 2),
    );
}

#[test]
fn of_two_paths_of_tables_one_stays() {
    explore(
        Tiny::of_levels(3),
        |_| {},
        [|world| world.map(0, 1), |world| world.map(1, 2)],
        |world| world.expect(&[0, 1, 2], 4),
    );
}

#[test]
fn a_walk_beside_two_maps_finds_leaves_or_nothing() {
    explore(
        Tiny::of_levels(2),
        |_| {},
        [
            |world| world.map(0, 1),
            |world| world.map(1, 1),
            |world| {
                let before = world.finds(1);
                assert!(world.finds(1) || !before, "it went away");
            },
        ],
        |world| world.expect(&[0, 1], 2),
    );
}

/// Three new tables are published by one store.
#[test]
fn a_walk_sees_no_unwritten_entry() {
    explore(
        Tiny::of_levels(3),
        |_| {},
        [
            |world| world.map(0, 4),
            |world| {
                world.finds(1);
                world.finds(3);
            },
        ],
        |world| world.expect(&[0, 1, 2, 3], 4),
    );
}

/// The ends of the run go into tables that others may use, which are published empty.
#[test]
fn a_walk_sees_no_unwritten_entry_at_the_ends() {
    explore(
        Tiny::of_levels(3),
        |_| {},
        [
            |world| world.map(1, 4),
            |world| {
                world.finds(0);
                world.finds(4);
            },
        ],
        |world| world.expect(&[1, 2, 3, 4], 6),
    );
}

/// A large leaf takes the place of a table that has become empty, while a walk is in that table.
#[test]
fn a_leaf_takes_the_place_of_a_table() {
    explore(
        Tiny::of_levels(3),
        |world| {
            world.map(0, 1);
            assert!(world.unmap(0, 1, 1).is_empty());
        },
        [
            |world| {
                let replaced = world.map_large(0, 2).replaced().unwrap();
                world.retire(replaced.flushed());
            },
            |world| {
                world.epoch.access(|| world.finds(0));
            },
        ],
        |world| world.expect(&[0, 1], 2),
    );
}
