//! A file that can be waited for: events of one byte, numbered from 0.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use swiommu_abi::Errno;
use swiommu_addr::HvaRange;
use swiommu_files::{Arg, Caller, File, Readiness, Refusal, Stat, WaitQueue};

use crate::served::{Counted, refuse, request};

/// Answers are taken, and forgotten, by a queue that is ready for them.
#[derive(Debug)]
pub(crate) struct Queue {
    base: Counted,
    events: Mutex<Events>,
    ready: WaitQueue,
}

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<u8>,
    next: u8,
}

impl Queue {
    pub(crate) fn new(ready: Readiness) -> Self {
        Self {
            base: Counted::new("anon_inode:[queue]", Stat::Anonymous),
            events: Mutex::default(),
            ready: WaitQueue::new(ready),
        }
    }
}

impl File for Queue {
    fn name(&self) -> &str {
        self.base.name()
    }

    fn stat(&self) -> Stat {
        Stat::Anonymous
    }

    fn ioctl(&self, caller: &dyn Caller, request: u32, arg: Arg) -> Result<i32, Refusal> {
        if request != request::RAISE {
            return self.base.ioctl(caller, request, arg);
        }
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = events.next;
        events.next = event.wrapping_add(1);
        events.waiting.push_back(event);
        self.ready.wake(Readiness::IN);
        Ok(event.into())
    }

    fn read(&self, caller: &dyn Caller, into: Option<HvaRange>) -> Result<usize, Refusal> {
        let Some(into) = into else { return Ok(0) };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(event) = events.waiting.front() else {
            return Ok(0);
        };
        caller
            .space()
            .write(into.start(), &[*event])
            .map_err(|_| refuse(Errno::EFAULT))?;
        events.waiting.pop_front();
        if events.waiting.is_empty() {
            self.ready.clear(Readiness::IN);
        }
        Ok(1)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.ready)
    }
}
