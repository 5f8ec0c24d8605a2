//! Runs tests, and says so as the kernel's selftests do.

use std::env;
use std::io::{Write, stdout};
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{LevelFilter, Log, Metadata, Record};

/// The tests of one subject.
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) tests: &'static [(&'static str, fn())],
}

/// Runs the tests that the arguments choose: `-rFIXTURE.TEST`, all without any; `-l` lists them.
pub(crate) fn main(fixtures: &[Fixture]) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "-l") {
        list(fixtures);
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.strip_prefix("-r"))
        .collect();
    panic::set_hook(Box::new(report));
    if log::set_logger(&Complaints).is_ok() {
        log::set_max_level(LevelFilter::Error);
    }
    let all = fixtures.iter().flat_map(|fixture| {
        let tests = fixture.tests.iter();
        tests.map(|(name, run)| (format!("{}.{name}", fixture.name), *run))
    });
    let all = all.filter(|(name, _)| chosen.is_empty() || chosen.contains(&name.as_str()));
    let mut failed = false;
    for (number, (name, run)) in (1..).zip(all) {
        say(&format!("#  RUN           {name} ..."));
        let passed = panic::catch_unwind(run).is_ok() && !COMPLAINED.swap(false, Ordering::Relaxed);
        say(&format!(
            "{} {number} {name}",
            if passed { "ok" } else { "not ok" }
        ));
        failed |= !passed;
    }
    ExitCode::from(u8::from(failed))
}

fn list(fixtures: &[Fixture]) {
    for fixture in fixtures {
        for (name, _) in fixture.tests {
            eprintln!("{} {name}\n-----", fixture.name);
        }
    }
}

/// Whoever does not listen misses it; that is no failure of a test.
fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

fn report(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(
        || "unknown.rs:0".to_owned(),
        |location| format!("{}:{}", location.file(), location.line()),
    );
    let message = info.payload_as_str().unwrap_or("it panicked");
    say(&format!("# {place}: {}", message.replace('\n', " ")));
}

static COMPLAINED: AtomicBool = AtomicBool::new(false);

/// Upstream logs what fails when a wrapper is dropped: nobody else would know.
struct Complaints;

impl Log for Complaints {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let place = (record.file().unwrap_or("unknown.rs"), record.line());
        say(&format!(
            "# {}:{}: {}",
            place.0,
            place.1.unwrap_or(0),
            record.args()
        ));
        COMPLAINED.store(true, Ordering::Relaxed);
    }

    fn flush(&self) {}
}
