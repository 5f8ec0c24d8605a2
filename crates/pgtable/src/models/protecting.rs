//! Changes of permissions beside devices, which mark leaves at any time, and beside those who read the marks.

use super::*;

fn is_read_only(world: &World, page: u64) -> bool {
    world.table.translate(iova(page)).unwrap().prot == Prot::READ
}

/// A mark that is set while a leaf loses the permission to be written is kept.
#[test]
fn a_mark_survives_a_change_of_permissions() {
    explore(
        Tiny::of_levels(2),
        |world| world.map(0, 2),
        [|world| world.mark(0), |world| world.protect(0, 2)],
        |world| {
            assert!(is_read_only(world, 0) && is_read_only(world, 1));
            world.harvest();
            assert_eq!(*world.harvested.lock().unwrap(), [0]);
            world.expect(&[0, 1], 2);
        },
    );
}

/// A mark that is read and cleared meanwhile does not come back, and the permissions do not either.
#[test]
fn a_mark_is_reported_once_under_a_change_of_permissions() {
    explore(
        Tiny::of_levels(2),
        |world| {
            world.map(0, 2);
            world.mark(1);
        },
        [|world| world.harvest(), |world| world.protect(0, 2)],
        |world| {
            assert!(is_read_only(world, 0) && is_read_only(world, 1));
            world.harvest();
            assert_eq!(*world.harvested.lock().unwrap(), [1]);
        },
    );
}

/// Neighbours in one table do not disturb each other.
#[test]
fn a_neighbour_is_unmapped_and_mapped_meanwhile() {
    explore(
        Tiny::of_levels(3),
        |world| world.map(0, 2),
        [
            |world| world.protect(0, 1),
            |world| {
                assert!(world.unmap(1, 1, 1).is_empty());
                world.map(1, 1);
            },
        ],
        |world| {
            assert!(is_read_only(world, 0) && !is_read_only(world, 1));
            world.expect(&[0, 1], 3);
        },
    );
}
