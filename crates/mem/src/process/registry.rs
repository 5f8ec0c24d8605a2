//! Which process has which `mm`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use swiommu_addr::HvaRange;

use super::directory::ProcDir;
use super::kind::FileSystems;
use super::{Process, vm};
use crate::physical::{Alias, Search};
use crate::{
    AddressSpace, DetachCause, FileId, FileOffset, FileRange, PAGE, PhysicalMemory, SpaceId,
};

/// The processes of one machine, by process id.
#[derive(Debug)]
pub struct Processes {
    memory: Arc<PhysicalMemory>,
    systems: Arc<FileSystems>,
    known: RwLock<BTreeMap<i32, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    process: Arc<Process>,
    /// Whether the process was about to execute when it was last seen: the `mm` may be another's by now.
    announced: bool,
}

impl Processes {
    /// No processes yet. They become the place where `memory` looks for shared memory that it cannot map.
    pub fn new(memory: &Arc<PhysicalMemory>) -> Arc<Self> {
        let processes = Arc::new(Self {
            memory: memory.clone(),
            systems: Arc::new(FileSystems::new()),
            known: RwLock::default(),
        });
        let weak: Weak<Self> = Arc::downgrade(&processes);
        memory.set_search(weak);
        processes
    }

    /// The memory of the process with this id (`tgid`) now: the same object as before unless it has executed, or is another
    /// process with a reused id. Processes that share their memory (`CLONE_VM`) get the same object.
    ///
    /// # Errors
    /// When the process is gone, or may not be looked at (`ptrace(2)` access is needed).
    pub fn get(&self, pid: i32) -> io::Result<Arc<Process>> {
        if let Some(entry) = self.known.read().get(&pid)
            && !entry.announced
            && entry.process.is_alive()
        {
            return Ok(entry.process.clone());
        }
        let mut known = self.known.write();
        if let Some(entry) = known.get(&pid)
            && entry.process.is_alive()
            && still_has(pid, entry, &known)
        {
            return Ok(entry.process.clone());
        }
        let process = match shared_with(pid, &known) {
            Some(process) => process,
            None => Arc::new(Process::open(&self.memory, &self.systems, pid)?),
        };
        known.retain(|_, entry| entry.process.is_alive());
        let entry = Entry {
            process: process.clone(),
            announced: false,
        };
        known.insert(pid, entry);
        Ok(process)
    }

    /// To be called before an `execve` of this process continues: the `mm` may be another one afterwards.
    pub fn execing(&self, pid: i32) {
        let process = self.known.write().get_mut(&pid).map(|entry| {
            entry.announced = true;
            entry.process.clone()
        });
        if let Some(process) = process {
            process.prepare_leave(DetachCause::Exec);
        }
    }

    /// To be called before an `exit_group` of this process continues.
    pub fn exiting(&self, pid: i32) {
        let process = self
            .known
            .read()
            .get(&pid)
            .map(|entry| entry.process.clone());
        if let Some(process) = process {
            process.prepare_leave(DetachCause::Exit);
        }
    }

    /// To be called when a process is known to have exited. Files that only it had mapped are given up.
    pub fn exited(&self, pid: i32) {
        let gone = self.known.write().remove(&pid);
        if gone.is_some() {
            self.memory.close_idle();
        }
    }

    /// The memory of this process, if it has been asked for before and lives.
    pub fn known(&self, pid: i32) -> Option<Arc<Process>> {
        let known = self.known.read();
        let process = &known.get(&pid)?.process;
        process.is_alive().then(|| process.clone())
    }

    /// Gives up the processes whose memory is gone: to be called when some may have been killed.
    pub fn forget_dead(&self) {
        let mut known = self.known.write();
        let before = known.len();
        known.retain(|_, entry| entry.process.is_alive());
        let some_died = known.len() < before;
        drop(known);
        if some_died {
            self.memory.close_idle();
        }
    }

    /// All known processes whose memory is alive, each `mm` once.
    pub fn live(&self) -> Vec<Arc<Process>> {
        let known = self.known.read();
        let mut live: Vec<_> = known.values().map(|entry| entry.process.clone()).collect();
        drop(known);
        let mut seen = BTreeSet::new();
        live.retain(|process| seen.insert(process.id()) && process.is_alive());
        live
    }

    /// Meets the processes that have not called yet: the children of those that have, and our own.
    fn meet_children(&self) -> Vec<Arc<Process>> {
        let mut seen: BTreeSet<i32> = self.known.read().keys().copied().collect();
        let mut parents: Vec<i32> = seen.iter().copied().collect();
        parents.push(i32::try_from(std::process::id()).unwrap_or(0));
        let mut met = Vec::new();
        while let Some(parent) = parents.pop() {
            let Ok(directory) = ProcDir::open(parent) else {
                continue;
            };
            for child in directory.children() {
                if seen.insert(child) {
                    parents.push(child);
                    met.extend(self.get(child));
                }
            }
        }
        met
    }
}

impl Search for Processes {
    fn find(
        &self,
        file: FileId,
        offset: u64,
        except: Option<(SpaceId, HvaRange)>,
    ) -> Option<Alias> {
        let in_process = |process: &Arc<Process>| {
            let excepted = except.filter(|(space, _)| *space == process.id());
            let excepted = excepted.map(|(_, range)| range);
            let hva = process.mm.maps().find(file, offset, excepted)?;
            Some(Alias {
                mm: Arc::downgrade(&process.mm),
                hva,
                range: FileRange::from_len(FileOffset::new(offset & !PAGE.mask()), PAGE.bytes())?,
            })
        };
        let known = self.live();
        known
            .iter()
            .find_map(in_process)
            .or_else(|| self.meet_children().iter().find_map(in_process))
    }
}

/// Whether a process still has the `mm` that it had before it announced an exec, which lives on.
fn still_has(pid: i32, entry: &Entry, known: &BTreeMap<i32, Entry>) -> bool {
    if !entry.announced {
        return true;
    }
    let mut sharers = known.iter().filter(|(other, theirs)| {
        **other != pid && !theirs.announced && Arc::ptr_eq(&theirs.process, &entry.process)
    });
    // Without anybody else to keep it, the `mm` would be gone after an exec.
    sharers.all(|(other, _)| vm::share_mm(pid, *other) == Some(true))
}

/// The memory of a known process that a newly met one shares (`CLONE_VM`): its parent's, or that of one of its children.
fn shared_with(pid: i32, known: &BTreeMap<i32, Entry>) -> Option<Arc<Process>> {
    let directory = ProcDir::open(pid).ok()?;
    let parent = directory.status_field("PPid:");
    let parent = parent.and_then(|parent| i32::try_from(parent).ok());
    let relatives = parent.into_iter().chain(directory.children());
    let relatives = relatives.filter_map(|relative| Some((relative, known.get(&relative)?)));
    let mut sharing = relatives.filter(|(relative, entry)| {
        entry.process.is_alive() && vm::share_mm(pid, *relative) == Some(true)
    });
    sharing.next().map(|(_, entry)| entry.process.clone())
}
