//! Every call, with every one of its fallible steps failing in turn: the call fails, changes nothing, leaks nothing, and succeeds
//! afterwards as if nothing had been.

mod calls;
mod laboratory;

use std::sync::Arc;

use swiommu_injection::{Countdown, Step};

use calls::{Call, calls};
use laboratory::Laboratory;

/// More fallible steps than any call has.
const MANY: u32 = 200;

/// One call with its `nth` step failing. Returns the step, or `None` when the call has fewer.
fn fail(call: &Call, nth: u32, expected: &str) -> Option<Step> {
    let laboratory = Laboratory::new();
    (call.prepare)(&laboratory);
    let before = laboratory.state();
    let countdown = Countdown::new(nth);
    let result = countdown.during(|| (call.run)(&laboratory));
    let name = call.name;
    let Some(step) = countdown.failed() else {
        assert_eq!(result.unwrap(), expected, "{name} with no step failing");
        laboratory.close();
        return None;
    };
    let context = format!("{name}, step {nth}: {step}");
    let refused = result.expect_err(&format!("{context}: the call should fail"));
    assert!(
        call.may_answer(step, refused.errno()),
        "{context}: {refused}"
    );
    if !(call.keeps)(step) {
        let changed: Vec<_> = before
            .iter()
            .zip(&laboratory.state())
            .filter(|(before, after)| before != after)
            .map(|(before, after)| format!("{before}\n  became {after}"))
            .collect();
        assert!(changed.is_empty(), "{context}: {changed:#?}");
        let again = (call.run)(&laboratory);
        assert_eq!(again.expect(&context), expected, "{context}, again");
    }
    laboratory.close();
    Some(step)
}

fn sweep(call: &Call) -> Vec<Step> {
    let laboratory = Laboratory::new();
    (call.prepare)(&laboratory);
    let expected = (call.run)(&laboratory).expect(call.name);
    laboratory.close();
    let steps: Vec<Step> = (1..MANY)
        .map_while(|nth| fail(call, nth, &expected))
        .collect();
    assert!(steps.len() < MANY as usize - 1, "{} never ends", call.name);
    steps
}

#[test]
fn a_call_whose_nth_step_fails_changes_nothing() {
    let mut all = 0;
    for call in calls() {
        let steps = sweep(&call);
        eprintln!("{}: {} steps {steps:?}", call.name, steps.len());
        assert!(!steps.is_empty(), "{} has no fallible step", call.name);
        all += steps.len();
    }
    eprintln!("{all} injections");
}

#[test]
fn a_countdown_that_runs_through_calls_fails_one_of_them() {
    let laboratory = Laboratory::new();
    let countdown = Countdown::new(7);
    let iommu = laboratory.iommu();
    let failures = countdown.during(|| (0..20).filter(|_| iommu.ioas_alloc().is_err()).count());
    assert_eq!(failures, 1);
    assert_eq!(countdown.left(), 0);
    assert!(Arc::strong_count(&countdown) == 1, "nobody keeps it");
    laboratory.close();
}
