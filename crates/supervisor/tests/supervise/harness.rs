//! A test runner with the command line of the standard one, as far as cargo and nextest use it.

use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::terminal::Terminal;

pub(crate) const SUPERVISOR: &str = "--as-supervisor";
pub(crate) const CLIENT: &str = "--as-client";

/// A run that takes longer is killed, and its test fails.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) type Test = (&'static str, fn());

pub(crate) fn main(arguments: &[String], tests: &[Test]) -> ExitCode {
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--format" | "--test-threads" | "--skip" | "--color" | "-Z" => {
                rest.next();
            }
            name if !name.starts_with('-') => filters.push(name),
            _ => {}
        }
    }
    if flag("--ignored") {
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| {
                if flag("--exact") {
                    name == *filter
                } else {
                    name.contains(filter)
                }
            })
    };
    let selected = tests.iter().filter(|(name, _)| wanted(name));
    if flag("--list") {
        for (name, _) in selected {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in selected {
        println!("test {name} ...");
        if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            passed += 1;
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED");
        }
    }
    println!("\ntest result: {passed} passed; {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The supervisor's exit code, if it was not killed.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What the supervisor reported at its end.
    pub(crate) report: Option<Report>,
}

/// What the supervisor counted, after `run` returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Report {
    pub(crate) opened: u64,
    /// Files that are not released.
    pub(crate) alive: u64,
    /// Threads of the supervisor's process, itself included.
    pub(crate) threads: u64,
    /// Its open descriptors more than before the run.
    pub(crate) descriptors: u64,
    /// Its children.
    pub(crate) children: u64,
}

impl Report {
    const NAMES: [&str; 5] = ["opened", "alive", "threads", "descriptors", "children"];

    pub(crate) fn to_text(self) -> String {
        let values = [
            self.opened,
            self.alive,
            self.threads,
            self.descriptors,
            self.children,
        ];
        let mut text = String::new();
        for (name, value) in Self::NAMES.iter().zip(values) {
            text.push_str(name);
            text.push(' ');
            text.push_str(&value.to_string());
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut values = text
            .lines()
            .zip(Self::NAMES)
            .map(|(line, name)| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let mut next = || values.next().flatten();
        Some(Self {
            opened: next()?,
            alive: next()?,
            threads: next()?,
            descriptors: next()?,
            children: next()?,
        })
    }
}

/// A supervisor with its client, running.
pub(crate) struct Running {
    pub(crate) child: Child,
    report: PathBuf,
    until: Instant,
}

/// How to run a client.
pub(crate) struct Run {
    command: Command,
    report: PathBuf,
    /// Whether the supervisor leads a process group, as a shell's job does.
    leads_group: bool,
}

impl Run {
    /// The client of this name, with these arguments.
    pub(crate) fn client(name: &str, arguments: &[&str]) -> Self {
        let own = own_path();
        let mut program = vec![own.as_str(), CLIENT, name];
        program.extend(arguments);
        Self::program(&program)
    }

    /// Any program.
    pub(crate) fn program(program: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let report =
            std::env::temp_dir().join(format!("swiommu-supervise-{}-{number}", std::process::id()));
        let mut command = Command::new(own_path());
        command
            .arg(SUPERVISOR)
            .args(program)
            .env("REPORT", &report)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            report,
            leads_group: true,
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The same run as the foreground job of a terminal.
    pub(crate) fn on(mut self, terminal: &Terminal) -> Self {
        terminal.control(&mut self.command);
        self.leads_group = false;
        self
    }

    /// The same run by another user, who may execute `supervisor` and write `report`.
    pub(crate) fn by_user(self, supervisor: &str, user: u32, report: &Path) -> Self {
        let mut command = Command::new(supervisor);
        command
            .args(self.command.get_args())
            .env("REPORT", report)
            .env("TMPDIR", "/tmp")
            .uid(user)
            .gid(user)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            report: report.to_owned(),
            leads_group: true,
        }
    }

    pub(crate) fn start(mut self) -> Running {
        if self.leads_group {
            self.command.process_group(0);
        }
        Running {
            child: self.command.spawn().expect("the supervisor starts"),
            report: self.report,
            until: Instant::now() + PATIENCE,
        }
    }

    /// Runs it to its end.
    pub(crate) fn end(self) -> Ended {
        self.start().end()
    }
}

impl Running {
    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let stdout = self.child.stdout.take().map(reader);
        let stderr = self.child.stderr.take().map(reader);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the supervisor is a child") {
                break status;
            }
            if Instant::now() > self.until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let stderr = stderr.map(thread::JoinHandle::join);
                panic!("the run does not end: {stderr:?}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let text = |reader: Option<thread::JoinHandle<String>>| {
            reader.map_or_else(String::new, |reader| {
                reader.join().expect("the reader ends")
            })
        };
        let report = fs::read_to_string(&self.report).ok();
        let _ = fs::remove_file(&self.report);
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout: text(stdout),
            stderr: text(stderr),
            report: report.and_then(|text| Report::parse(&text)),
        }
    }
}

impl Ended {
    /// The client succeeded, and nothing is left behind.
    pub(crate) fn assert_clean(&self) -> Report {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.assert_nothing_left()
    }

    /// Nothing is left behind, however the client ended.
    pub(crate) fn assert_nothing_left(&self) -> Report {
        let report = self
            .report
            .unwrap_or_else(|| panic!("no report: {self:#?}"));
        let expected = Report {
            opened: report.opened,
            alive: 0,
            threads: 1,
            descriptors: 0,
            children: 0,
        };
        assert_eq!(report, expected, "{self:#?}");
        report
    }
}

fn reader(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

pub(crate) fn own_path() -> String {
    let path = std::env::current_exe().expect("this program has a path");
    path.to_str().expect("and it is text").to_owned()
}
