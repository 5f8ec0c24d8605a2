//! `/proc/PID/task/TID/fail-nth`: which fallible step of a thread's calls fails next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use swiommu_abi::Errno;
use swiommu_addr::HvaRange;
use swiommu_files::{Caller, File, Refusal, Stat};
use swiommu_injection::Countdown;

use crate::config::FaultInjection;

/// The countdowns of the threads that have opened their `fail-nth`. What is set stays, also when that is closed.
#[derive(Debug, Default)]
pub struct InjectedByThread {
    countdowns: Mutex<BTreeMap<i32, Arc<Countdown>>>,
    failures: Arc<AtomicU64>,
}

impl InjectedByThread {
    /// How many steps have been made to fail.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The file of a thread.
    pub(crate) fn file(&self, tid: i32) -> FailNth {
        let mut countdowns = self.countdowns.lock();
        countdowns.retain(|_, countdown| Arc::strong_count(countdown) > 1 || countdown.left() > 0);
        let countdown = countdowns
            .entry(tid)
            .or_insert_with(|| Countdown::counted_in(0, &self.failures))
            .clone();
        FailNth {
            countdown,
            position: Mutex::new(0),
        }
    }

    fn of(&self, tid: i32) -> Option<Arc<Countdown>> {
        self.countdowns.lock().get(&tid).cloned()
    }
}

impl FaultInjection {
    /// What counts the steps of a call of this thread, if anything.
    pub(crate) fn countdown(&self, tid: i32) -> Option<Arc<Countdown>> {
        match self {
            Self::Off => None,
            Self::OneOfAll(countdown) => Some(countdown.clone()),
            Self::ByThread(injected) => injected.of(tid),
        }
    }
}

/// An open `fail-nth`. It reads as the number of steps until one fails, which is 0 when one has, and a newline.
#[derive(Debug)]
pub(crate) struct FailNth {
    countdown: Arc<Countdown>,
    position: Mutex<u64>,
}

/// The longest number that can be written, with its newline: ten digits.
const LONGEST: u64 = 11;

impl File for FailNth {
    fn name(&self) -> &'static str {
        "/proc/self/fail-nth"
    }

    fn stat(&self) -> Stat {
        Stat::Regular {
            size: 0,
            mode: 0o644,
        }
    }

    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let mut position = self.position.lock();
        let read = self.read_at(caller, *position, into)?;
        *position += read as u64;
        Ok(read)
    }

    fn write(&self, caller: &dyn Caller, from: Option<HvaRange>) -> Result<usize, Refusal> {
        self.write_at(caller, 0, from)
    }

    fn read_at(
        &self,
        caller: &dyn Caller,
        position: u64,
        into: Option<HvaRange>,
    ) -> Result<usize, Refusal> {
        let text = format!("{}\n", self.countdown.left());
        let rest = usize::try_from(position)
            .ok()
            .and_then(|position| text.as_bytes().get(position..))
            .unwrap_or_default();
        let Some(into) = into else { return Ok(0) };
        let room = into.len().and_then(|room| usize::try_from(room).ok());
        let part = &rest[..rest.len().min(room.unwrap_or(usize::MAX))];
        let written = caller.space().write(into.start(), part);
        written.map_err(|_| Refusal::new(Errno::EFAULT, "the buffer cannot be written"))?;
        Ok(part.len())
    }

    /// Whatever the position, what is written is the whole number.
    fn write_at(
        &self,
        caller: &dyn Caller,
        _position: u64,
        from: Option<HvaRange>,
    ) -> Result<usize, Refusal> {
        let invalid = || Refusal::new(Errno::EINVAL, "fail-nth is a decimal number");
        let len = from.and_then(HvaRange::len).unwrap_or(0);
        let Some(from) = from.filter(|_| len <= LONGEST) else {
            return Err(invalid());
        };
        let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = caller.space().read(from.start(), &mut text);
        read.map_err(|_| Refusal::new(Errno::EFAULT, "the buffer cannot be read"))?;
        let text = std::str::from_utf8(&text).map_err(|_| invalid())?;
        let nth = text.trim_end_matches('\n').parse().map_err(|_| invalid())?;
        self.countdown.set(nth);
        Ok(text.len())
    }
}
