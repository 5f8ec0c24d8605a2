//! The windows of files: which physical addresses a file has, and how its bytes are reached.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use swiommu_addr::{Hva, HvaRange, Pa, PaRange, PageSize};

use super::directory::{Directory, Owner};
use super::region::Region;
use super::slots::{GIB, GIB_LOG2};
use crate::file;
use crate::process::Mm;
use crate::{FileId, FileOffset, FileRange, Run, Runs};

/// A segment grows to the file's size rounded up to a power of two, but not beyond this.
const GENEROUS: u64 = 64 * GIB;

/// Segments are aligned like their size, up to this many gigabytes.
const MAX_ALIGN: u64 = GENEROUS >> GIB_LOG2;

/// Mappings remembered of a file that cannot be mapped here; when they are all gone, the processes are searched.
const MAX_ALIASES: usize = 16;

/// Where a process has a file mapped.
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub(crate) mm: Weak<Mm>,
    pub(crate) hva: Hva,
    /// The part of the file that lies there.
    pub(crate) range: FileRange,
}

impl Alias {
    fn is_same(&self, other: &Self) -> bool {
        self.mm.ptr_eq(&other.mm) && self.hva == other.hva && self.range == other.range
    }

    /// Where `offset` of the file lies, if in this mapping.
    pub(crate) fn address_of(&self, offset: u64) -> Option<Hva> {
        let distance = offset.checked_sub(self.range.start().get())?;
        (distance <= self.range.len_minus_one()).then(|| Hva::new(self.hva.get() + distance))
    }

    /// The part of the file that lies in a range of the process' memory, and where that part starts.
    pub(super) fn within(&self, range: HvaRange) -> Option<(FileRange, Hva)> {
        let start = range.start().max(self.hva);
        let last = range
            .last()
            .get()
            .min(self.hva.get() + self.range.len_minus_one());
        let first = self.range.start().get() + (start.get() - self.hva.get());
        let len = last.checked_sub(start.get())? + 1;
        Some((FileRange::from_len(FileOffset::new(first), len)?, start))
    }
}

/// What one asks of a file's window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: FileId,
    pub(crate) page: PageSize,
    /// Whole pages of the file.
    pub(crate) range: FileRange,
    /// How far the file is thought to reach, in bytes.
    pub(crate) expected_size: u64,
}

/// The physical addresses of one file.
#[derive(Debug)]
pub(super) struct FileWindow {
    page: PageSize,
    /// By the file offset at which they start; disjoint.
    segments: BTreeMap<u64, Segment>,
    source: Source,
    aliases: Vec<Alias>,
}

/// How a file's bytes are reached, apart from the memory of the processes that map it.
#[derive(Clone, Debug)]
enum Source {
    /// Not at all.
    None,
    /// By mapping it.
    Mapped(Arc<OwnedFd>),
    /// By reading and writing: it may not be mapped for both.
    Descriptor(Arc<OwnedFd>),
}

/// A piece of a file at contiguous physical addresses. Offsets and addresses are equal modulo a gigabyte.
#[derive(Clone, Copy, Debug)]
struct Segment {
    pa: u64,
    len: u64,
    /// How many bytes of it are mapped.
    mapped: u64,
}

impl FileWindow {
    pub(super) fn new(page: PageSize) -> Self {
        Self {
            page,
            segments: BTreeMap::new(),
            source: Source::None,
            aliases: Vec::new(),
        }
    }

    /// The memory of `wanted`, when it needs no preparation.
    pub(super) fn ready(&self, wanted: FileRange, region: &Region) -> Option<Runs> {
        let mut runs = Runs::new();
        let mut at = wanted.start().get();
        loop {
            let (&offset, segment) = self.segments.range(..=at).next_back()?;
            let last = wanted.last().get().min(offset + (segment.len - 1));
            let is_mapped = last - offset < segment.mapped;
            let must_be_mapped = matches!(self.source, Source::Mapped(_));
            let pa = segment.pa + (at - offset);
            if at > last || must_be_mapped && !is_mapped || lost_within(region, pa, last - at) {
                return None;
            }
            let memory = PaRange::from_len(Pa::new(pa), last - at + 1)?;
            push_run(&mut runs, memory, self.page);
            if last == wanted.last().get() {
                return Some(runs);
            }
            at = last + 1;
        }
    }

    /// Whether the mapping adds nothing to what is known.
    pub(super) fn knows(&self, alias: Option<&Alias>) -> bool {
        let Some(alias) = alias else {
            return !matches!(self.source, Source::None);
        };
        self.is_mapped() || self.aliases.iter().any(|known| known.is_same(alias))
    }

    /// Whether the file itself is known, or the process with this mapping has been searched for it before.
    pub(super) fn has_asked(&self, alias: Option<&Alias>) -> bool {
        let is_known = |alias: &Alias| self.aliases.iter().any(|known| known.mm.ptr_eq(&alias.mm));
        !matches!(self.source, Source::None) || alias.is_some_and(is_known)
    }

    /// Notes another way to reach the file.
    pub(super) fn offer(&mut self, file: Option<OwnedFd>, alias: Option<Alias>) {
        if let (Some(file), Source::None) = (file, &self.source) {
            self.source = Source::Mapped(Arc::new(file));
        }
        if let Some(alias) = alias.filter(|_| !self.is_mapped()) {
            self.aliases.retain(|known| known.mm.strong_count() > 0);
            if !self.aliases.iter().any(|known| known.is_same(&alias)) {
                if self.aliases.len() == MAX_ALIASES {
                    self.aliases.remove(0);
                }
                self.aliases.push(alias);
            }
        }
    }

    /// Gives all of the wanted range physical addresses, and maps it if it can be mapped. `None` when there are none left.
    pub(super) fn prepare(
        &mut self,
        wanted: &Wanted,
        directory: &mut Directory,
        region: &Region,
    ) -> Option<()> {
        let mut at = wanted.range.start().get();
        loop {
            let covering = self.segments.range(..=at).next_back();
            let covered = covering.filter(|(offset, segment)| at - *offset < segment.len);
            let offset = match covered {
                Some((&offset, _)) => offset,
                None => self.add_segment(at, wanted, directory, region)?,
            };
            self.map(offset, wanted.range.last().get(), region);
            let end = offset + self.segments.get(&offset)?.len;
            if end > wanted.range.last().get() {
                return Some(());
            }
            at = end;
        }
    }

    /// Adds the segment that contains offset `at`; returns where it starts.
    fn add_segment(
        &mut self,
        at: u64,
        wanted: &Wanted,
        directory: &mut Directory,
        region: &Region,
    ) -> Option<u64> {
        let before = self.segments.range(..=at).next_back();
        let before =
            before.map(|(offset, segment)| (offset + segment.len, segment.pa + segment.len));
        let start = at & !(GIB - 1);
        let limit = self
            .segments
            .range(at..)
            .next()
            .map_or(u64::MAX, |(&next, _)| next);
        let needed = wanted
            .range
            .last()
            .get()
            .checked_next_multiple_of(GIB)?
            .max(start + GIB)
            - start;
        let expected = wanted.expected_size.saturating_sub(start).min(GENEROUS);
        let generous = expected.max(1).next_power_of_two().max(needed);
        let len = generous.next_multiple_of(GIB).min(limit - start);
        let pa = directory.take(
            region.tables_end()..region.private_start(),
            len,
            (len >> GIB_LOG2).next_power_of_two().min(MAX_ALIGN),
            before.and_then(|(end, pa)| (end == start).then_some(pa)),
            Owner::File {
                id: wanted.id,
                offset: start,
            },
        )?;
        let segment = Segment { pa, len, mapped: 0 };
        self.segments.insert(start, segment);
        Some(start)
    }

    /// Maps a segment up to `last` at least, and as far as the file reaches.
    fn map(&mut self, offset: u64, last: u64, region: &Region) {
        let Source::Mapped(file) = &self.source else {
            return;
        };
        let Some(segment) = self.segments.get_mut(&offset) else {
            return;
        };
        if last.min(offset + (segment.len - 1)) - offset < segment.mapped {
            return;
        }
        // Mapping a hugetlbfs file beyond its end would make it longer, so no file is mapped beyond its end.
        let size = file::size(file).unwrap_or(0).saturating_sub(offset);
        let whole = size
            .checked_next_multiple_of(self.page.bytes())
            .unwrap_or(0)
            .min(segment.len);
        if whole <= segment.mapped {
            return;
        }
        let (at, from) = (segment.pa + segment.mapped, offset + segment.mapped);
        match region.place_file(at, whole - segment.mapped, file.as_fd(), from) {
            Ok(()) => {
                segment.mapped = whole;
                for gigabyte in (0..whole).step_by(1 << GIB_LOG2) {
                    let slots = region.watched().slots();
                    slots.set(segment.pa + gigabyte, whole - gigabyte, self.page);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a file cannot be mapped; it is reached by system calls");
                self.source = Source::Descriptor(file.clone());
            }
        }
    }

    /// Maps the file's page at `pa` again, after it was lost to a truncation. Says whether the file has that page now.
    pub(super) fn map_again(&self, page: PaRange, region: &Region) -> bool {
        let (Source::Mapped(file), Some(offset), Some(len)) =
            (&self.source, self.offset_of(page.start().get()), page.len())
        else {
            return false;
        };
        let size = file::size(file).unwrap_or(0);
        offset < size
            && region
                .place_file(page.start().get(), len, file.as_fd(), offset)
                .is_ok()
    }

    /// The open file, where bytes can be read and written with it.
    pub(super) fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        match &self.source {
            Source::None => None,
            Source::Mapped(file) | Source::Descriptor(file) => Some(file.clone()),
        }
    }

    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.source, Source::Mapped(_))
    }

    pub(super) fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// All its physical addresses.
    pub(super) fn memory(&self) -> impl Iterator<Item = PaRange> {
        self.segments
            .values()
            .filter_map(|segment| PaRange::from_len(Pa::new(segment.pa), segment.len))
    }

    /// Where a part of the file lies, as far as it has physical addresses.
    pub(super) fn find(&self, range: FileRange) -> impl Iterator<Item = PaRange> {
        self.find_with_offsets(range).map(|(memory, _)| memory)
    }

    /// The same, with the file offset at which each piece starts.
    pub(super) fn find_with_offsets(
        &self,
        range: FileRange,
    ) -> impl Iterator<Item = (PaRange, u64)> {
        let (first, last) = (range.start().get(), range.last().get());
        let before = self.segments.range(..first).next_back();
        let segments = before.into_iter().chain(self.segments.range(first..=last));
        segments.filter_map(move |(&offset, segment)| {
            let start = first.max(offset);
            let end = last.min(offset + (segment.len - 1));
            let len = end.checked_sub(start)? + 1;
            let memory = PaRange::from_len(Pa::new(segment.pa + (start - offset)), len)?;
            Some((memory, start))
        })
    }

    /// Unmaps everything, and gives all physical addresses back.
    pub(super) fn close(self, directory: &mut Directory, region: &Region) {
        for segment in self.segments.values() {
            for gigabyte in (0..segment.len).step_by(1 << GIB_LOG2) {
                region.watched().slots().clear(segment.pa + gigabyte);
            }
            if segment.mapped > 0 && region.place_anonymous(segment.pa, segment.mapped).is_err() {
                tracing::debug!("a closed file stays mapped: the host has no memory");
            }
            directory.release(segment.pa, segment.len);
        }
    }

    fn offset_of(&self, pa: u64) -> Option<u64> {
        self.segments.iter().find_map(|(offset, segment)| {
            let distance = pa.checked_sub(segment.pa)?;
            (distance < segment.len).then_some(offset + distance)
        })
    }
}

/// Adds a run, merged with the one before if it continues it.
pub(crate) fn push_run(runs: &mut Runs, memory: PaRange, page: PageSize) {
    if let Some(last) = runs.last_mut()
        && last.page == page
        && last.memory.end() == Some(memory.start())
        && let Some(merged) = PaRange::new(last.memory.start(), memory.last())
    {
        last.memory = merged;
        return;
    }
    runs.push(Run { memory, page });
}

fn lost_within(region: &Region, pa: u64, len_minus_one: u64) -> bool {
    let slots = region.watched().slots();
    (pa >> GIB_LOG2..=(pa + len_minus_one) >> GIB_LOG2)
        .any(|gigabyte| slots.has_lost(gigabyte << GIB_LOG2))
}
