//! Unmaps beside walks and maps.

use super::*;

/// A walk is anywhere in a tree of tables that is taken out, and freed when it has ended. The next walk finds nothing new.
#[test]
fn tables_are_taken_out_under_a_walk() {
    explore(
        Tiny::of_levels(3),
        |world| world.map(0, 4),
        [
            |world| world.retire(world.unmap(0, 4, 4)),
            |world| {
                let before = world.epoch.access(|| world.finds(3));
                let after = world.epoch.access(|| world.finds(3));
                assert!(before || !after, "it came back");
            },
        ],
        |world| world.expect(&[], 1),
    );
}

/// The short cut for a single leaf.
#[test]
fn a_leaf_is_cleared_under_a_walk() {
    explore(
        Tiny::of_levels(3),
        |world| world.map(0, 2),
        [
            |world| assert!(world.unmap(0, 1, 1).is_empty()),
            |world| {
                let before = world.finds(0);
                assert!(before || !world.finds(0), "it came back");
                assert!(world.finds(1));
            },
        ],
        |world| world.expect(&[1], 3),
    );
}

/// What is unmapped and mapped again is what a walk finds: the old or the new, or nothing.
#[test]
fn tables_are_taken_out_and_others_put_in_under_a_walk() {
    explore(
        Tiny::of_levels(2),
        |world| world.map(0, 2),
        [
            |world| {
                world.retire(world.unmap(0, 2, 2));
                world.map(0, 2);
            },
            |world| {
                world.epoch.access(|| world.finds(1));
            },
        ],
        |world| world.expect(&[0, 1], 2),
    );
}

/// An unmap that covers a table in part leaves it to those who map the other part.
#[test]
fn a_table_that_is_covered_in_part_stays() {
    explore(
        Tiny::of_levels(3),
        |world| world.map(0, 3),
        [
            |world| world.unmap(0, 3, 3).free(world.table.memory()),
            |world| world.map(3, 1),
        ],
        |world| world.expect(&[3], 3),
    );
}

/// The same where the table is put in meanwhile: it is looked into, and has nothing for the unmap.
#[test]
fn a_table_that_is_put_in_meanwhile_stays() {
    explore(
        Tiny::of_levels(3),
        |world| world.map(0, 2),
        [
            |world| world.unmap(0, 3, 2).free(world.table.memory()),
            |world| world.map(3, 1),
        ],
        |world| world.expect(&[3], 3),
    );
}

/// The one thread has to put in a table beside the one that the other takes out.
#[test]
fn a_table_is_taken_out_beside_one_that_is_put_in() {
    explore(
        Tiny::of_levels(3),
        |world| world.map(0, 2),
        [
            |world| world.unmap(0, 2, 2).free(world.table.memory()),
            |world| world.map(2, 1),
        ],
        |world| world.expect(&[2], 3),
    );
}
