use std::panic::catch_unwind;

use super::*;

fn three() -> Result<(), Injected> {
    step(Step::Lookup)?;
    step(Step::Pin)?;
    step(Step::Table)
}

#[test]
fn the_nth_step_fails_and_no_other() {
    for (nth, result, left) in [
        (0, Ok(()), 0),
        (1, Err(Injected(Step::Lookup)), 0),
        (2, Err(Injected(Step::Pin)), 0),
        (3, Err(Injected(Step::Table)), 0),
        (4, Ok(()), 1),
    ] {
        let countdown = Countdown::new(nth);
        assert_eq!(countdown.during(three), result, "{nth}");
        assert_eq!(countdown.left(), left, "{nth}");
        assert_eq!(countdown.failed(), result.err().map(|e| e.0), "{nth}");
        // What has failed once does not fail again.
        if result.is_err() {
            assert_eq!(countdown.during(three), Ok(()));
        }
    }
}

#[test]
fn steps_of_several_calls_are_counted_together() {
    let countdown = Countdown::new(5);
    assert_eq!(countdown.during(three), Ok(()));
    assert_eq!(countdown.during(three), Err(Injected(Step::Pin)));
}

#[test]
fn nothing_fails_outside_of_a_call() {
    let countdown = Countdown::new(1);
    assert_eq!(three(), Ok(()));
    let other = std::thread::spawn(three);
    countdown.during(|| assert_eq!(other.join().ok(), Some(Ok(()))));
    assert_eq!(countdown.left(), 1);
}

#[test]
fn a_panic_ends_the_call() {
    let countdown = Countdown::new(1);
    let panicked = catch_unwind(|| countdown.during(|| panic!("in a call")));
    assert!(panicked.is_err());
    assert_eq!(three(), Ok(()));
}

#[test]
fn calls_nest() {
    let (outer, inner) = (Countdown::new(4), Countdown::new(3));
    outer.during(|| {
        assert_eq!(inner.during(three), Err(Injected(Step::Table)));
        assert_eq!(three(), Ok(()));
    });
    assert_eq!(outer.left(), 1);
}
