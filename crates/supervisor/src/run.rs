//! One run, from the fork to the last release.

use std::ffi::OsString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Signal, getpid, getrlimit, kill_process, pidfd_open,
    pidfd_send_signal, set_child_subreaper, setrlimit,
};

use crate::calls::{HostFiles, Service};
use crate::channel::{Message, Stage};
use crate::config::Config;
use crate::dispatch::Dispatchers;
use crate::error::Error;
use crate::filter;
use crate::launch::{Plan, Program, Tree, kill_children};
use crate::listener::Listener;
use crate::long_calls::LongCalls;
use crate::outcome::Outcome;
use crate::paths::{Names, Shadow};
use crate::probe;
use crate::signals::{Arrived, Signals};
use crate::table::Table;
use crate::threads::Threads;
use crate::waiting::timespec;

/// After a close, how long the main thread leaves the release to whoever serves the next call. It sees to those that no call follows:
/// of clients that were killed, or do nothing more.
const SWEEP_DELAY: Duration = Duration::from_millis(20);

/// Runs the program until it and everything it started has ended, and says how the first process ended.
///
/// It forks, takes the signals of the calling thread, becomes a subreaper and raises its soft limit of descriptors. So it is meant for
/// the main thread of a process that has no other threads and no other children. On return all threads and processes of the
/// run are gone and every served file is released.
///
/// It survives what the terminal sends to the program too (Ctrl-C); any other signal it passes on to the first process. When job control
/// stops that, it stops as well.
///
/// # Errors
/// See [`Error`]; its [`exit_code`](Error::exit_code) is the one that env(1) uses. Nothing of the tree is left then either.
pub fn run(config: Config) -> Result<Outcome, Error> {
    let program = Program::new(&config.program, &config.arguments)?;
    let filter = filter::program(config.memory_watch);
    let signals = Signals::take().map_err(Error::host("cannot take the signals"))?;
    set_child_subreaper(Some(getpid())).map_err(Error::host("cannot become a subreaper"))?;

    let tree = Tree::start(&Plan {
        program: &program,
        filter: &filter,
        new_privileges: config.new_privileges,
        mask: signals.before(),
    })?;
    raise_descriptor_limit();
    let first = First::meet(&tree, &config.program)?;
    let table = Table::new()?;
    let service = Arc::new(Service {
        listener: Listener::new(first.listener),
        host: HostFiles::new(table.as_fd()),
        table,
        long_calls: LongCalls::default(),
        names: Names::new(&config.paths),
        shadow: Shadow::default(),
        threads: Threads::new(config.spaces),
        paths: config.paths,
        capabilities: config.capabilities,
        memory_watch: config.memory_watch,
        fault_injection: config.fault_injection,
    });
    // Dropped after the tree, on an error too: the threads end when the filter has no user left.
    let dispatchers =
        Dispatchers::start(service.clone()).map_err(Error::host("cannot start a thread"))?;
    config.on_start.run();
    let outcome = Supervision {
        tree: &tree,
        signals: &signals,
        service: &service,
        client: &first.client,
        program: &config.program,
        outcome: None,
        early: Vec::new(),
    }
    .go_on();
    drop(tree);
    drop(dispatchers);
    service.table.complete_releases();
    outcome
}

/// The first process, before it executes the program.
struct First {
    listener: OwnedFd,
    client: OwnedFd,
}

impl First {
    fn meet(tree: &Tree, program: &OsString) -> Result<Self, Error> {
        loop {
            match tree.receive()? {
                Some(Message::Filtered { pid, listener }) => {
                    let client = Pid::from_raw(pid)
                        .ok_or(rustix::io::Errno::SRCH)
                        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
                        .map_err(Error::host("cannot open a pidfd of the program"))?;
                    return Ok(Self { listener, client });
                }
                Some(Message::Failed { stage, errno }) => {
                    return Err(failure(stage, errno, program));
                }
                Some(_) => {}
                None => return Err(Error::GuardianDied),
            }
        }
    }
}

/// Every client thread and process costs us descriptors. The program has been forked by now, and keeps its own limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

fn failure(stage: Stage, errno: i32, program: &OsString) -> Error {
    let cause = io::Error::from_raw_os_error(errno);
    match (stage, errno) {
        (Stage::Execute, libc::ENOENT) => Error::NotFound {
            program: program.clone(),
        },
        (Stage::Execute, _) => Error::NotExecutable {
            program: program.clone(),
            cause,
        },
        (Stage::Filter, libc::EBUSY) => Error::Nested,
        (Stage::Filter, libc::EINVAL | libc::ENOSYS) => Error::NoNotifications {
            release: probe::release_name(),
        },
        (Stage::Filter, _) => Error::host("cannot install a seccomp filter")(cause),
        (Stage::Fork, _) => Error::host("cannot start a process")(cause),
        (Stage::Handover, _) => Error::host("cannot hand over the notification descriptor")(cause),
    }
}

/// What the main thread does while the program runs: passes signals on, and waits for the end.
struct Supervision<'a> {
    tree: &'a Tree,
    signals: &'a Signals,
    service: &'a Service,
    /// A pidfd of the first process.
    client: &'a OwnedFd,
    program: &'a OsString,
    outcome: Option<Outcome>,
    /// Signals that came after the first process had ended, and before we were told how.
    early: Vec<Arrived>,
}

impl Supervision<'_> {
    fn go_on(mut self) -> Result<Outcome, Error> {
        let mut sweep: Option<Instant> = None;
        loop {
            let releases = match sweep {
                Some(_) => PollFlags::empty(),
                None => PollFlags::IN,
            };
            let mut fds = [
                PollFd::new(self.tree.control(), PollFlags::IN),
                PollFd::new(self.signals, PollFlags::IN),
                PollFd::new(&self.service.table, releases),
            ];
            let patience = sweep.map(|due| timespec(due.saturating_duration_since(Instant::now())));
            if poll(&mut fds, patience.as_ref()).is_err() {
                continue;
            }
            let [control, signals, releases] = fds.map(|fd| !fd.revents().is_empty());
            if releases {
                sweep = Some(Instant::now() + SWEEP_DELAY);
            }
            if sweep.take_if(|due| *due <= Instant::now()).is_some() {
                self.service.table.complete_releases();
                // The last close may have been a death.
                self.service.threads.forget_dead();
            }
            if signals {
                while let Some(arrived) = self.signals.next() {
                    if self.outcome.is_none() && self.first_has_ended() {
                        self.early.push(arrived);
                    } else if !self.pass_on(arrived) {
                        return self.outcome.ok_or(Error::GuardianDied);
                    }
                }
            }
            if control {
                match self.tree.receive()? {
                    Some(Message::Ended { status }) => {
                        self.outcome = Some(Outcome::from_wait_status(status));
                        let early = mem::take(&mut self.early);
                        if early.into_iter().any(|arrived| !self.pass_on(arrived)) {
                            return self.outcome.ok_or(Error::GuardianDied);
                        }
                    }
                    Some(Message::Stopped { signal }) => stop_too(signal),
                    Some(Message::Failed { stage, errno }) => {
                        return Err(failure(stage, errno, self.program));
                    }
                    Some(Message::Filtered { .. }) => {}
                    None => return self.end(),
                }
            }
        }
    }

    /// Whether the first process is no more than a status that somebody has to ask for: it takes signals, and does nothing about them.
    fn first_has_ended(&self) -> bool {
        let mut ended = [PollFd::new(self.client, PollFlags::IN)];
        let now = timespec(Duration::ZERO);
        poll(&mut ended, Some(&now)).is_ok_and(|ended| ended > 0)
    }

    /// The guardian is gone: because nothing is left to guard, or because it was killed.
    fn end(self) -> Result<Outcome, Error> {
        if self.tree.guardian_ended_well()
            && let Some(outcome) = self.outcome
        {
            return Ok(outcome);
        }
        kill_children();
        Err(Error::GuardianDied)
    }

    /// Passes a signal on to the first process. `false` when that has ended, and the signal asks for the end of the rest.
    fn pass_on(&self, arrived: Arrived) -> bool {
        if self.outcome.is_some() {
            return !matches!(
                arrived.signal,
                libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT
            );
        }
        // The terminal's signals have reached the program natively; the guardian's is for us.
        let guardian = self.tree.guardian().as_raw_nonzero().get();
        if arrived.from_kernel || arrived.sender == guardian {
            return true;
        }
        tracing::debug!(signal = arrived.signal, "passed on");
        if let Some(signal) = Signal::from_named_raw(arrived.signal) {
            let _ = pidfd_send_signal(self.client, signal);
        }
        true
    }
}

/// When job control stops the program, its shell waits for us to stop too. We go on when the program does: the guardian sees to it.
fn stop_too(signal: i32) {
    if matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
        let _ = kill_process(getpid(), Signal::STOP);
    }
}
