//! A leader and one who stands by, explored by loom in every order: `.ci/loom` runs it.
//!
//! The two play the loops of the module above with its [`Turn`]; a tick can come at any time. Who waits is found out: loom knows
//! when nobody can go on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::turn::{Lead, Turn};
use crate::long_calls::Call;

/// What the two share.
struct World {
    turn: Turn,
    crew: Mutex<Crew>,
    changed: Condvar,
    receivers: AtomicU64,
    calls: Mutex<Calls>,
    served: Condvar,
}

#[derive(Default)]
struct Crew {
    standing_by: bool,
    stopped: bool,
    long_calls: Vec<Call>,
}

/// Calls are numbered from 0.
struct Calls {
    count: u64,
    received: u64,
    served: Vec<u64>,
    /// This call is not served before the next one is.
    waiting: Option<u64>,
}

/// Explores `count` calls, of which one may wait for the next. Each thread goes first once: see the models of `swiommu-pgtable`.
fn explore(count: u64, waiting: Option<u64>) {
    for leader_goes_first in [true, false] {
        loom::model(move || {
            let (turn, lead) = Turn::new();
            let world = Arc::new(World {
                turn,
                crew: Mutex::default(),
                changed: Condvar::new(),
                receivers: AtomicU64::new(0),
                calls: Mutex::new(Calls {
                    count,
                    received: 0,
                    served: Vec::new(),
                    waiting,
                }),
                served: Condvar::new(),
            });
            let (first, second) = if leader_goes_first {
                (Some(lead), None)
            } else {
                (None, Some(lead))
            };
            let other = world.clone();
            let other = thread::spawn(move || other.work(second));
            world.work(first);
            other.join().unwrap();
            let served = &mut world.calls.lock().unwrap().served;
            served.sort_unstable();
            assert!(served.iter().copied().eq(0..count), "served: {served:?}");
            assert_eq!(world.crew.lock().unwrap().long_calls, []);
        });
    }
}

impl World {
    fn work(&self, lead: Option<Lead>) {
        let mut next = lead.or_else(|| self.stand_by());
        while let Some(lead) = next {
            self.lead(lead);
            next = self.stand_by();
        }
    }

    fn lead(&self, mut lead: Lead) {
        loop {
            let Some(call) = self.receive() else {
                self.crew.lock().unwrap().stopped = true;
                self.changed.notify_all();
                return;
            };
            let serving = self.turn.begin(lead, call);
            if !self.turn.is_watched() {
                let _crew = self.crew.lock().unwrap();
                self.turn.set_watched();
                self.changed.notify_all();
            }
            self.serve(call);
            match self.turn.end(serving) {
                Ok(next) => lead = next,
                Err(relieved) => {
                    let expected = Call {
                        id: call,
                        order: relieved.order,
                    };
                    let long_calls = &mut self.crew.lock().unwrap().long_calls;
                    let known = long_calls.iter().position(|call| *call == expected);
                    long_calls.remove(known.expect("a long call that nobody knows of"));
                    return;
                }
            }
        }
    }

    fn receive(&self) -> Option<u64> {
        let before = self.receivers.fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "two threads receive");
        let mut calls = self.calls.lock().unwrap();
        let call = calls.received;
        let is_one = call < calls.count;
        calls.received += u64::from(is_one);
        drop(calls);
        self.receivers.fetch_sub(1, Ordering::Relaxed);
        is_one.then_some(call)
    }

    fn serve(&self, call: u64) {
        let mut calls = self.calls.lock().unwrap();
        while calls.waiting == Some(call) && !calls.served.contains(&(call + 1)) {
            calls = self.served.wait(calls).unwrap();
        }
        calls.served.push(call);
        self.served.notify_all();
    }

    fn stand_by(&self) -> Option<Lead> {
        let mut crew = self.crew.lock().unwrap();
        if crew.standing_by {
            return None;
        }
        crew.standing_by = true;
        let mut watch = self.turn.watch();
        let mut lead = None;
        while !crew.stopped && lead.is_none() {
            if !self.turn.is_watched() {
                crew = self.changed.wait(crew).unwrap();
                continue;
            }
            drop(crew);
            thread::yield_now();
            crew = self.crew.lock().unwrap();
            lead = self.turn.tick(&mut watch).map(|(call, lead)| {
                crew.long_calls.push(call);
                lead
            });
        }
        crew.standing_by = false;
        lead
    }
}

#[test]
fn short_calls() {
    explore(2, None);
}

#[test]
fn a_call_that_waits_for_the_next() {
    explore(2, Some(0));
}

#[test]
fn a_late_call_that_waits_for_the_next() {
    explore(3, Some(1));
}

/// When a call begins as the one who stands by stops to tick, the leader notices, or the other does.
#[test]
fn a_call_begins_when_the_watch_ends() {
    for leader_goes_first in [true, false] {
        loom::model(move || {
            let (turn, lead) = Turn::new();
            let turn = Arc::new(turn);
            turn.set_watched();
            let (of_leader, of_watch) = (turn.clone(), turn.clone());
            let watch = turn.watch();
            let begin = move || {
                of_leader.begin(lead, 0);
                of_leader.is_watched()
            };
            let tick = move || assert!(of_watch.tick(&mut { watch }).is_none());
            let was_watched = if leader_goes_first {
                let other = thread::spawn(tick);
                let was_watched = begin();
                other.join().unwrap();
                was_watched
            } else {
                let other = thread::spawn(begin);
                tick();
                other.join().unwrap()
            };
            assert!(!was_watched || turn.is_watched(), "nobody watches");
        });
    }
}
