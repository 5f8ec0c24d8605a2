//! Dirty bits, which a device sets at any time.

use super::*;

/// A mark that is set while dirty leaves are read and made clean is reported now or next time.
#[test]
fn every_mark_is_reported_once() {
    explore(
        Tiny::of_levels(2),
        |world| {
            world.map(0, 2);
            world.mark(1);
        },
        [|world| world.mark(0), |world| world.harvest()],
        |world| {
            world.harvest();
            let mut harvested = world.harvested.lock().unwrap().clone();
            harvested.sort_unstable();
            assert_eq!(harvested, [0, 1]);
            world.expect(&[0, 1], 2);
        },
    );
}
