//! The stand-in of a file that can be waited for: a FIFO, ready when the file is.
//!
//! `poll(2)` and its kin are not trapped, so the kernel itself must know. A byte lies in the FIFO while the file has something to be
//! read. The client's end is open for writing too, and so always ready for that, exactly when the file is; ours makes that it
//! never hangs up. Only the readiness is native: `read` and `write` are trapped, and served by the file.

use std::os::fd::{AsFd, OwnedFd};

use parking_lot::Mutex;
use rustix::io::Result;
use rustix::pipe::{PipeFlags, pipe_with};
use swiommu_files::{OpenFlags, Readiness, Watcher};

use crate::placeholder::reopen;

/// The most bytes that are in it: fewer than the smallest FIFO holds, so that it is always ready for writing.
const MANY: usize = 1024;

/// Our end.
#[derive(Debug)]
pub(crate) struct Fifo {
    end: OwnedFd,
    /// How many bytes we have put in.
    bytes: Mutex<usize>,
}

impl Fifo {
    /// An empty FIFO.
    pub(crate) fn new() -> Result<Self> {
        // The ends of a pipe are no files that could tell of their close, and each has one direction only.
        let (end, _) = pipe_with(PipeFlags::CLOEXEC)?;
        let both = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NONBLOCK;
        Ok(Self {
            end: reopen(end.as_fd(), both)?,
            bytes: Mutex::new(0),
        })
    }

    /// The client's end, for a file that is ready for this when it is opened. Where reads are not trapped, it does not block.
    pub(crate) fn open(&self, ready: Readiness) -> Result<OwnedFd> {
        let mut flags = OpenFlags::READ | OpenFlags::NONBLOCK;
        flags.set(OpenFlags::WRITE, ready.contains(Readiness::OUT));
        reopen(self.end.as_fd(), flags)
    }
}

impl Watcher for Fifo {
    fn woken(&self, now: Readiness) {
        let mut bytes = self.bytes.lock();
        let mut room = [0; MANY];
        // What fails here is what the client has made of the FIFO through a duplicate that is not trapped.
        if now.contains(Readiness::IN) {
            if *bytes == MANY {
                let _ = rustix::io::read(&self.end, &mut room[1..]);
                *bytes = 1;
            }
            // Each byte wakes again who waits for an edge.
            let _ = rustix::io::write(&self.end, &[0]);
            *bytes += 1;
        } else if *bytes > 0 {
            let _ = rustix::io::read(&self.end, &mut room);
            *bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    const NOW: Option<&Timespec> = Some(&Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    });

    fn polled(file: &OwnedFd) -> PollFlags {
        let mut fds = [PollFd::new(file, PollFlags::IN | PollFlags::OUT)];
        poll(&mut fds, NOW).unwrap();
        fds[0].revents()
    }

    #[test]
    fn a_file_is_ready_whatever_number_of_events_it_has() {
        for (idle, expected) in [
            (Readiness::OUT, PollFlags::OUT),
            (Readiness::empty(), PollFlags::empty()),
        ] {
            let fifo = Fifo::new().unwrap();
            let end = fifo.open(idle).unwrap();
            for round in 0..3 {
                fifo.woken(idle);
                assert_eq!(polled(&end), expected, "{round}");
                for event in 0..3 * MANY {
                    fifo.woken(idle | Readiness::IN);
                    assert_eq!(polled(&end), expected | PollFlags::IN, "{round}, {event}");
                }
            }
        }
    }

    #[test]
    fn every_event_is_an_edge_and_the_end_of_events_is_none() {
        let fifo = Fifo::new().unwrap();
        let end = fifo.open(Readiness::empty()).unwrap();
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &end, EventData::new_u64(7), edges).unwrap();
        let count = || {
            let mut events = Vec::with_capacity(4);
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), NOW).unwrap()
        };
        assert_eq!(count(), 0);
        for _ in 0..2 * MANY {
            fifo.woken(Readiness::IN);
            assert_eq!((count(), count()), (1, 0));
        }
        fifo.woken(Readiness::empty());
        assert_eq!(count(), 0);
    }

    #[test]
    fn what_a_client_takes_out_comes_back_with_the_next_event() {
        let fifo = Fifo::new().unwrap();
        let end = fifo.open(Readiness::empty()).unwrap();
        fifo.woken(Readiness::IN);
        assert_eq!(rustix::io::read(&end, &mut [0; 9]), Ok(1));
        assert_eq!(
            rustix::io::read(&end, &mut [0; 9]),
            Err(rustix::io::Errno::AGAIN)
        );
        fifo.woken(Readiness::IN);
        assert_eq!(polled(&end), PollFlags::IN);
        fifo.woken(Readiness::empty());
        assert_eq!(polled(&end), PollFlags::empty());
    }
}
