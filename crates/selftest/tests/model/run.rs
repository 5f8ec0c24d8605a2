//! Running a program on both sides.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use swiommu_abi::Errno;

use crate::ground::{Ground, PAGE};
use crate::met::Met;
use crate::real::{Real, World};
use crate::reference::Reference;
use crate::reply::Reply;
use crate::step::Step;

thread_local! {
    /// A world is used by many programs, unless one goes wrong.
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    /// What the programs of this thread have met.
    static MET: RefCell<Met> = RefCell::default();
}

/// What the programs of this thread have met so far.
pub(crate) fn met() -> Met {
    MET.take()
}

/// Runs a program, and then asks about everything and takes everything down. Tells where the sides differ.
pub(crate) fn run(program: &[Step]) -> Result<(), String> {
    let world = WORLD.take().unwrap_or_else(World::new);
    let ended = panic::catch_unwind(AssertUnwindSafe(|| run_in(&world, program)));
    ended.unwrap_or_else(|panic| Err(format!("panic: {}", message(&*panic))))?;
    WORLD.set(Some(world));
    Ok(())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

fn run_in(world: &World, program: &[Step]) -> Result<(), String> {
    let mut reference = Reference::new(world.ground);
    let mut real = world.open();
    for (n, step) in program.iter().enumerate() {
        let reply = both(world, &mut real, &mut reference, step);
        if let Some(reply) = reply.map_err(|why| format!("step {n}: {why}"))? {
            MET.with_borrow_mut(|met| met.note(step, &reply));
        }
    }
    for question in reference.questions() {
        both(world, &mut real, &mut reference, &question).map_err(|why| format!("then {why}"))?;
    }
    for step in reference.goodbye() {
        both(world, &mut real, &mut reference, &step).map_err(|why| format!("at the end {why}"))?;
    }
    drop(real);
    for (address, bytes) in reference.written() {
        if world.content(address, bytes.len()) != bytes {
            return Err(format!(
                "the bytes at {address:#x} are not those that were written"
            ));
        }
    }
    match world.pinned_pages() {
        0 => world.clean(reference.written()),
        pinned => return Err(format!("{pinned} pages stay pinned after the close")),
    }
    Ok(())
}

fn both(
    world: &World,
    real: &mut Real<'_>,
    reference: &mut Reference,
    step: &Step,
) -> Result<Option<Reply>, String> {
    let found = real.run(step, reference);
    let expected = reference.run(step);
    if found != expected {
        let (found, expected) = (text(found.as_ref()), text(expected.as_ref()));
        return Err(format!(
            "{step:?} gives {found}; the reference says {expected}"
        ));
    }
    let half_done = matches!(step, Step::AccessRw { .. })
        && expected
            .as_ref()
            .is_some_and(|reply| reply.error == Some(Errno::EFAULT));
    if half_done {
        let bytes = usize::try_from(Ground::PAGES * PAGE).unwrap();
        reference.take_over(
            world.ground.buffer,
            &world.content(world.ground.buffer, bytes),
        );
    }
    Ok(expected)
}

fn text(reply: Option<&Reply>) -> String {
    match reply {
        None => "nothing".to_owned(),
        Some(Reply {
            error: None,
            values,
        }) => format!("{values:x?}"),
        Some(Reply {
            error: Some(errno),
            values,
        }) if values.is_empty() => errno.to_string(),
        Some(Reply {
            error: Some(errno),
            values,
        }) => format!("{errno} {values:x?}"),
    }
}
