//! Events in order, and the one mark that says that some were lost.

use std::collections::VecDeque;

use parking_lot::Mutex;
use swiommu_abi::veventq::{IommuVeventqFlag, IommufdVeventHeader};
use swiommu_files::{Readiness, WaitQueue};
use swiommu_sabotage::Fault;

use crate::Error;

/// Sequence numbers have 31 bits.
const SEQUENCE_MASK: u32 = 0x7fff_ffff;

/// The events of a queue that nobody has read yet.
#[derive(Debug)]
pub(crate) struct EventQueue {
    depth: usize,
    events: Mutex<Events>,
    /// Changes under the lock of `events`.
    wait_queue: WaitQueue,
}

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<Event>,
    /// The number of the last lost event. If there is one, it comes after all that wait.
    lost: Option<u32>,
    /// The number of the next event.
    sequence: u32,
}

#[derive(Debug)]
struct Event {
    sequence: u32,
    data: Box<[u8]>,
}

fn header(flags: IommuVeventqFlag, sequence: u32) -> IommufdVeventHeader {
    IommufdVeventHeader {
        flags: flags.bits(),
        sequence,
    }
}

impl EventQueue {
    pub(crate) fn new(depth: u32) -> Self {
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        Self {
            depth,
            events: Mutex::default(),
            wait_queue: WaitQueue::new(Readiness::empty()),
        }
    }

    /// Takes an event. `false` when it is lost because the queue is full.
    pub(crate) fn report(&self, data: &[u8]) -> bool {
        let events = &mut *self.events.lock();
        let sequence = events.sequence;
        if !Fault::ForgetLost.is_on() || events.waiting.len() < self.depth {
            events.sequence = (sequence + 1) & SEQUENCE_MASK;
        }
        // The mark of the lost ones can be read as well.
        self.wait_queue.wake(Readiness::IN);
        if events.waiting.len() >= self.depth {
            events.lost = Some(sequence);
            return false;
        }
        // The gap in the numbers tells of the lost ones from now on.
        events.lost = None;
        events.waiting.push_back(Event {
            sequence,
            data: data.into(),
        });
        true
    }

    /// How many events are to be read.
    pub(crate) fn waiting(&self) -> usize {
        self.events.lock().waiting.len()
    }

    pub(crate) fn wait_queue(&self) -> &WaitQueue {
        &self.wait_queue
    }

    /// Delivers events in order as long as they fit into `room` bytes. Returns how many bytes were delivered.
    ///
    /// # Errors
    /// `EINVAL` when the first event does not fit; the error of `write` when the first cannot be written.
    pub(crate) fn deliver(
        &self,
        room: usize,
        mut write: impl FnMut(usize, &IommufdVeventHeader, &[u8]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let events = &mut *self.events.lock();
        let mut done = 0;
        while let Some(event) = events.waiting.front() {
            let size = size_of::<IommufdVeventHeader>() + event.data.len();
            if size > room - done {
                return if done == 0 {
                    Err(Error::EventTooLarge(size))
                } else {
                    Ok(done)
                };
            }
            let header = header(IommuVeventqFlag::empty(), event.sequence);
            if let Err(error) = write(done, &header, &event.data) {
                return if done == 0 { Err(error) } else { Ok(done) };
            }
            done += size;
            events.waiting.pop_front();
        }
        if let Some(sequence) = events.lost {
            let size = size_of::<IommufdVeventHeader>();
            if size <= room - done {
                match write(done, &header(IommuVeventqFlag::LOST_EVENTS, sequence), &[]) {
                    Ok(()) => done += size,
                    Err(error) if done == 0 => return Err(error),
                    Err(_) => return Ok(done),
                }
                events.lost = None;
            }
        }
        if events.waiting.is_empty() && events.lost.is_none() {
            self.wait_queue.clear(Readiness::IN);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a client with a buffer of `room` bytes: flags, sequence and data of each event.
    fn read(queue: &EventQueue, room: usize) -> Vec<(u32, u32, Vec<u8>)> {
        let mut events = Vec::new();
        queue
            .deliver(room, |_, header, data| {
                events.push((header.flags, header.sequence, data.to_vec()));
                Ok(())
            })
            .unwrap();
        events
    }

    #[test]
    fn lost_events_leave_one_mark_with_the_last_number() {
        let queue = EventQueue::new(2);
        assert!(queue.report(&[0; 4]));
        assert_eq!(read(&queue, 64), [(0, 0, vec![0; 4])]);
        assert!(queue.report(&[1; 4]) && queue.report(&[2; 4]));
        assert!(!queue.report(&[3; 4]) && !queue.report(&[4; 4]));
        assert_eq!(
            read(&queue, 64),
            [(0, 1, vec![1; 4]), (0, 2, vec![2; 4]), (1, 4, vec![])]
        );
        assert!(queue.report(&[5; 4]));
        assert_eq!(read(&queue, 64), [(0, 5, vec![5; 4])]);
        assert_eq!(queue.wait_queue().now(), Readiness::empty());
    }

    #[test]
    fn a_stored_event_erases_the_mark() {
        let queue = EventQueue::new(2);
        for n in 1..=3 {
            queue.report(&[n; 4]);
        }
        assert_eq!(read(&queue, 12), [(0, 0, vec![1; 4])]);
        assert!(queue.report(&[5; 4]));
        assert_eq!(read(&queue, 64), [(0, 1, vec![2; 4]), (0, 3, vec![5; 4])]);
    }

    #[test]
    fn an_event_that_does_not_fit_stays() {
        let queue = EventQueue::new(2);
        queue.report(&[1; 4]);
        assert!(queue.deliver(11, |_, _, _| Ok(())).is_err());
        assert_eq!(read(&queue, 12).len(), 1);
        assert_eq!(read(&queue, 8).len(), 0);
    }
}
