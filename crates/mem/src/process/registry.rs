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
    known: RwLock<BTreeMap<i32, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    process: Arc<Process>,
    /// Whether the `mm` can be taken for the process' without a closer look.
    certain: bool,
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
        if let Some(known) = self.known.read().get(&pid)
            && known.certain
            && known.process.is_alive()
        {
            return Ok(known.process.clone());
        }
        let mut known = self.known.write();
        let relatives = relatives(pid, &known);
        let sharing = relatives.iter().find(|(relative, process)| {
            process.is_alive() && vm::share_mm(pid, *relative) == Some(true)
        });
        if let Some((relative, process)) = sharing {
            let process = process.clone();
            // With several processes, the `mm` living on does not tell that this one still has it.
            for member in [pid, *relative] {
                let process = process.clone();
                let certain = false;
                known.insert(member, Known { process, certain });
            }
            return Ok(process);
        }
        if let Some(old) = known.get_mut(&pid)
            && old.process.is_alive()
            && !relatives
                .iter()
                .any(|(_, process)| Arc::ptr_eq(process, &old.process))
        {
            // Whatever was announced (an exec that failed) has not happened: nobody else keeps this `mm` alive.
            old.certain = true;
            return Ok(old.process.clone());
        }
        let process = Arc::new(Process::open(&self.memory, &self.systems, pid)?);
        let fresh = Known {
            process: process.clone(),
            certain: true,
        };
        known.retain(|_, known| known.process.is_alive());
        known.insert(pid, fresh);
        Ok(process)
    }

    /// To be called before an `execve` of this process continues: the `mm` may be another one afterwards.
    pub fn execing(&self, pid: i32) {
        let process = self.known.write().get_mut(&pid).map(|known| {
            known.certain = false;
            known.process.clone()
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
            .map(|known| known.process.clone());
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

    /// All known processes whose memory is alive, each `mm` once.
    pub fn live(&self) -> Vec<Arc<Process>> {
        let known: Vec<_> = self
            .known
            .read()
            .values()
            .map(|known| known.process.clone())
            .collect();
        let mut seen = BTreeSet::new();
        let mut live = known;
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

/// The known processes that could share the `mm` of `pid`: its parent and its children.
fn relatives(pid: i32, known: &BTreeMap<i32, Known>) -> Vec<(i32, Arc<Process>)> {
    let Ok(directory) = ProcDir::open(pid) else {
        return Vec::new();
    };
    let parent = directory
        .status_field("PPid:")
        .and_then(|pid| i32::try_from(pid).ok());
    let pids = parent.into_iter().chain(directory.children());
    let of = |relative| Some((relative, known.get(&relative)?.process.clone()));
    pids.filter_map(of).collect()
}
