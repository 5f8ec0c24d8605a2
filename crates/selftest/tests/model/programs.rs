//! The property: on every program the core answers as the reference does.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::generate::program;
use crate::met::Met;
use crate::run::{met, run};
use crate::step::Step;

const PROGRAMS: u64 = 10_000;
const SEED: u64 = 7;

/// So many programs meet every call.
const ENOUGH: u64 = 2_000;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
        Err(_) => default,
    }
}

#[test]
fn the_core_answers_as_the_reference() {
    let (programs, seed) = (
        number("SWIOMMU_PROGRAMS", PROGRAMS),
        number("SWIOMMU_SEED", SEED),
    );
    println!("{programs} programs of seed {seed}");
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let strategy = program();
        while !failed.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= programs {
                break;
            }
            if let Some(failure) = check_program(&strategy, seed, n) {
                failed.store(true, Ordering::Relaxed);
                return Err(failure);
            }
        }
        Ok(met())
    };
    let mut all = Met::default();
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join().unwrap() {
                Ok(met) => all.add(met),
                Err(failure) => failures.push(failure),
            }
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{all}");
    if programs >= ENOUGH {
        assert_eq!(all.never_succeeded(), Vec::<&str>::new());
    }
}

/// Runs the n-th program of a seed. If the sides differ, tells how, with a shorter program on which they do.
fn check_program(strategy: &impl Strategy<Value = Vec<Step>>, seed: u64, n: u64) -> Option<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&n.to_le_bytes());
    // How long to shrink is proptest's variable PROPTEST_MAX_SHRINK_ITERS.
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if config.max_shrink_iters == u32::MAX {
        config.max_shrink_iters = 20_000;
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = strategy.new_tree(&mut runner).unwrap();
    if run(&tree.current()).is_ok() {
        return None;
    }
    // Shrinking panics again and again, if a panic is what is wrong.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = runner.run_one(tree, |program| run(&program).map_err(TestCaseError::fail));
    drop(std::panic::take_hook());
    Some(match outcome {
        Err(TestError::Fail(why, program)) => {
            format!("program {n} of seed {seed}: {why}\n{}", as_test(&program))
        }
        other => format!("program {n} of seed {seed} failed once, and then {other:?}"),
    })
}

/// A program as source.
fn as_test(program: &[Step]) -> String {
    let steps: Vec<String> = program
        .iter()
        .map(|step| format!("        {step:?},"))
        .collect();
    let steps = steps.join("\n");
    format!("#[test]\nfn what_it_shows() {{\n    agree([\n{steps}\n    ]);\n}}\n")
}
