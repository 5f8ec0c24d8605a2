//! A process gives memory back that is pinned: DMA must go on with the old content, and never reach what comes after it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use swiommu_addr::{Hva, HvaRange, Pa, PaRange};

use super::directory::Owner;
use super::finding::{Content, DetachCause, Finding};
use super::slots::{GIB, GIB_LOG2};
use super::snapshots::Validity;
use super::{PhysicalMemory, Windows};
use crate::process::Mm;
use crate::{FileId, VolatileSlice};

/// A copy in flight can be held up by the client itself (`userfaultfd`, FUSE). Beyond this it is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Content is copied in pieces of this many bytes.
const PIECE: usize = 1 << 16;

/// Pinned memory that a process is about to give back.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    memory: PaRange,
    hva: Hva,
}

impl PhysicalMemory {
    /// To be called before a process' own call unmaps or replaces `range`: what is pinned there gets memory of our own with
    /// the present content, at the same physical addresses, and what the process maps there next is other memory.
    pub(crate) fn detach(&self, mm: &Mm, range: HvaRange, cause: DetachCause) {
        if self.pinned_pages() == 0 {
            return;
        }
        let leaving = self.leaving(mm, range, cause);
        if !leaving.is_empty() {
            self.keep(mm, &leaving, Validity::Final, cause);
        }
    }

    /// To be called before a process executes or exits: the content of what is pinned is kept, for the case that it does.
    pub(crate) fn prepare_leave(&self, mm: &Mm, cause: DetachCause) {
        if self.pinned_pages() == 0 {
            return;
        }
        let leaving = self.leaving(mm, HvaRange::full(), cause);
        if !leaving.is_empty() {
            self.keep(mm, &leaving, Validity::Pending, cause);
        }
    }

    /// The pinned memory that only this process has, and only in this range.
    fn leaving(&self, mm: &Mm, range: HvaRange, cause: DetachCause) -> Vec<Leaving> {
        let windows = self.windows.read();
        let mut leaving = Vec::new();
        for run in windows.find_private(mm.id(), range, &self.pins) {
            for memory in self.pinned_parts(run.memory) {
                leaving.extend(windows.private_parts(memory));
            }
        }
        let shared = match cause {
            DetachCause::Madvise => Vec::new(),
            _ => self.pinned_shared(&windows, mm, range),
        };
        drop(windows);
        let search = self.search();
        leaving.extend(shared.into_iter().filter_map(|(file, offset, part)| {
            let other = search.as_ref()?.find(file, offset, Some((mm.id(), range)));
            other.is_none().then_some(part)
        }));
        leaving
    }

    /// The pinned parts of files that this process maps in the range, and that are reached through processes only.
    fn pinned_shared(
        &self,
        windows: &Windows,
        mm: &Mm,
        range: HvaRange,
    ) -> Vec<(FileId, u64, Leaving)> {
        let mut found = Vec::new();
        let slow = windows
            .files
            .iter()
            .filter(|(_, window)| window.descriptor().is_none());
        for (&id, window) in slow {
            let mine = |mm_of: &Arc<Mm>| std::ptr::eq(&raw const **mm_of, mm);
            for alias in window.aliases() {
                if !alias.mm.upgrade().is_some_and(|alias_mm| mine(&alias_mm)) {
                    continue;
                }
                let Some((inside, hva)) = alias.within(range) else {
                    continue;
                };
                for (piece, offset) in window.find_with_offsets(inside) {
                    for memory in self.pinned_parts(piece) {
                        let distance = memory.start().get() - piece.start().get();
                        let offset = offset + distance;
                        let hva = Hva::new(hva.get() + (offset - inside.start().get()));
                        found.push((id, offset, Leaving { memory, hva }));
                    }
                }
            }
        }
        found
    }

    fn pinned_parts(&self, memory: PaRange) -> Vec<PaRange> {
        let pins = self.pins.lock();
        let counts = pins.counts(memory).filter(|count| count.objects > 0);
        counts.map(|count| count.memory).collect()
    }

    fn keep(&self, mm: &Mm, leaving: &[Leaving], validity: Validity, cause: DetachCause) {
        // From here on no copy of this process' memory is in flight, and none starts before the snapshots count.
        let gate = mm.gate().try_write_for(PATIENCE);
        if gate.is_none() {
            tracing::warn!(
                pid = mm.pid(),
                "a copy of this process' memory does not end; not waiting for it"
            );
        }
        self.has_snapshots.store(true, Ordering::Relaxed);
        for part in leaving {
            self.keep_part(mm, part, validity, cause);
        }
    }

    fn keep_part(&self, mm: &Mm, part: &Leaving, validity: Validity, cause: DetachCause) {
        let bytes = part.memory.len_minus_one() + 1;
        let windows = self.windows.read();
        let is_final = windows.snapshots.is_retired(part.memory);
        let affordable = windows.snapshots.kept().saturating_add(bytes) <= self.kept;
        drop(windows);
        if is_final || !affordable && validity == Validity::Pending {
            return;
        }
        let Ok(placed) = self.region.place_empty(part.memory) else {
            tracing::error!(memory = %part.memory, "no memory to keep the content of what a process gives back");
            return;
        };
        let content = if affordable && copy_from(mm, part.hva, placed.slice(&self.region)) {
            Content::Kept
        } else {
            Content::Lost
        };
        self.windows
            .write()
            .snapshots
            .add(&placed, validity, content);
        if let (Validity::Final, Some(hva)) = (validity, HvaRange::from_len(part.hva, bytes)) {
            self.record(Finding::Detached {
                space: mm.id(),
                hva,
                memory: part.memory,
                cause,
                content,
            });
        }
    }

    /// Gives up the snapshots in these ranges that nothing pins any more.
    pub(super) fn drop_unpinned_snapshots(&self, ranges: &[PaRange]) {
        let mut windows = self.windows.write();
        for range in ranges {
            for snapshot in windows.snapshots.within(*range) {
                let counts: Vec<_> = self.pins.lock().counts(snapshot).collect();
                for count in counts.iter().filter(|count| count.objects == 0) {
                    windows.snapshots.drop_range(count.memory, &self.region);
                }
            }
        }
        self.has_snapshots
            .store(!windows.snapshots.is_empty(), Ordering::Relaxed);
    }
}

impl Windows {
    /// Private memory by the gigabyte, with its virtual addresses.
    fn private_parts(&self, memory: PaRange) -> Vec<Leaving> {
        let numbers = memory.start().get() >> GIB_LOG2..=memory.last().get() >> GIB_LOG2;
        let parts = numbers.filter_map(|number| {
            let whole = PaRange::from_len(Pa::new(number << GIB_LOG2), GIB)?;
            let memory = whole.intersection(memory)?;
            let Owner::Private { hva, .. } = self.directory.owner(memory.start().get())? else {
                return None;
            };
            let within = memory.start().get() & (GIB - 1);
            Some(Leaving {
                memory,
                hva: Hva::new(hva + within),
            })
        });
        parts.collect()
    }
}

/// Copies the content of memory that is about to go; pages of zeroes are left out. Says whether all could be read.
fn copy_from(mm: &Mm, from: Hva, into: VolatileSlice<'_>) -> bool {
    let mut bytes = vec![0; PIECE.min(into.len())];
    for start in (0..into.len()).step_by(PIECE) {
        let piece = &mut bytes[..PIECE.min(into.len() - start)];
        if mm.read(Hva::new(from.get() + start as u64), piece).is_err() {
            return false;
        }
        if piece.iter().any(|&byte| byte != 0) {
            into.write(start, piece);
        }
    }
    true
}
