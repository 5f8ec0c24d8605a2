//! Programs on which the core and the reference once differed.

use crate::run::run;
use crate::step::Step;
#[allow(unused_imports, reason = "a program names what it needs of these")]
use crate::step::{Data, Memory::*, Pick::*, Place::*, Sort::*, Span::*, Step::*, list};

/// Runs a program on both.
#[track_caller]
fn agree(program: impl Into<Vec<Step>>) {
    if let Err(why) = run(&program.into()) {
        panic!("{why}");
    }
}

/// The last page of all IOVAs can be copied from.
#[test]
fn a_copy_of_the_last_area() {
    agree([
        IoasAlloc { flags: 0 },
        Map { ioas: Nth(0), memory: Page(0), len: 4096, at: Iova(18446744073709547520), flags: 7, reserved: 0 },
        Copy { from: Nth(0), span: Area(0), to: Nth(0), at: Slot(0), flags: 7 },
    ]);
}

/// What `UNMAP_DMA` has removed is told although an area that lies in the range only in part stops it.
#[test]
fn an_unmap_of_vfio_that_stops_half_way() {
    agree([
        IoasAlloc { flags: 0 },
        VfioIoas { op: 1, ioas: Nth(0), reserved: 0 },
        VfioMap { memory: Page(0), len: 8192, at: Slot(0), flags: 3, argsz: 32 },
        VfioMap { memory: Page(0), len: 8192, at: Slot(4), flags: 3, argsz: 32 },
        VfioUnmap { span: Slots(0, 6), flags: 0, argsz: 24 },
    ]);
}
