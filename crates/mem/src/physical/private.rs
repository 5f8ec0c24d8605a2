//! The physical addresses of private memory: identified by `mm` and virtual address, reached by system calls only.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Weak;

use smallvec::{SmallVec, smallvec};
use swiommu_addr::{Hva, HvaRange, Pa, PaRange, PageSize};

use super::directory::{Directory, Owner};
use super::files::push_run;
use super::region::Region;
use super::slots::{GIB, GIB_LOG2};
use crate::process::Mm;
use crate::{PAGE, Runs, SpaceId};

/// Physical addresses are dealt out for the whole virtual area around a request, up to this much.
const GENEROUS: u64 = 64 * GIB;

/// The private memory of one address space.
///
/// Virtual and physical addresses are equal modulo a gigabyte, and contiguous areas stay contiguous where they can. A page
/// that its process has given back while it was pinned keeps its physical address until it is unpinned; what the process maps
/// there next gets the same place in another gigabyte, the next *generation*.
#[derive(Debug)]
pub(super) struct PrivateWindow {
    space: SpaceId,
    mm: Weak<Mm>,
    /// Number of the virtual gigabyte → physical addresses of its generations.
    gigabytes: BTreeMap<u64, SmallVec<[u64; 1]>>,
}

/// How a page that has several generations is judged.
pub(super) trait Judge {
    /// Whether this physical page stands for memory that the process has given back.
    fn is_retired(&self, page: PaRange) -> bool;

    /// Whether anything pins this physical page.
    fn is_pinned(&self, page: PaRange) -> bool;

    /// Whether any page of this range may be retired: a quick look.
    fn may_be_retired(&self, memory: PaRange) -> bool;
}

impl PrivateWindow {
    pub(super) fn new(space: SpaceId, mm: Weak<Mm>) -> Self {
        Self {
            space,
            mm,
            gigabytes: BTreeMap::new(),
        }
    }

    pub(super) fn mm(&self) -> &Weak<Mm> {
        &self.mm
    }

    /// The memory of whole pages, or `None` when some have no physical address yet.
    pub(super) fn ready(
        &self,
        pages: HvaRange,
        page: PageSize,
        judge: &impl Judge,
    ) -> Option<Runs> {
        let mut runs = Runs::new();
        for part in by_gigabyte(pages) {
            let generations = self.gigabytes.get(&(part.start().get() >> GIB_LOG2))?;
            if let Some(memory) = simple(generations, part, judge) {
                push_run(&mut runs, memory, page);
                continue;
            }
            for one in by_page(part) {
                push_run(&mut runs, current(generations, one, judge)?, page);
            }
        }
        Some(runs)
    }

    /// Where pages that have physical addresses lie; others are left out.
    pub(super) fn find(&self, pages: HvaRange, judge: &impl Judge) -> Runs {
        let mut runs = Runs::new();
        let numbers = pages.start().get() >> GIB_LOG2..=pages.last().get() >> GIB_LOG2;
        for (&number, generations) in self.gigabytes.range(numbers) {
            let Some(part) = gigabyte(number).and_then(|whole| whole.intersection(pages)) else {
                continue;
            };
            if let Some(memory) = simple(generations, part, judge) {
                push_run(&mut runs, memory, PAGE);
                continue;
            }
            for one in by_page(part) {
                if let Some(memory) = current(generations, one, judge) {
                    push_run(&mut runs, memory, PAGE);
                }
            }
        }
        runs
    }

    /// Gives all `pages` physical addresses, and the rest of the area up to `area_last` some if there are enough.
    /// `None` when there are none left.
    pub(super) fn prepare(
        &mut self,
        pages: HvaRange,
        area_last: Hva,
        directory: &mut Directory,
        region: &Region,
        judge: &impl Judge,
    ) -> Option<()> {
        // A request that cannot be granted takes nothing.
        let is_new = |part: &HvaRange| {
            let number = part.start().get() >> GIB_LOG2;
            !self.gigabytes.contains_key(&number)
        };
        let new = by_gigabyte(pages).filter(is_new).count() as u64;
        if new > directory.free(addresses(region)) >> GIB_LOG2 {
            return None;
        }
        let generous = area_last
            .get()
            .min(pages.start().get().saturating_add(GENEROUS));
        let last = generous.max(pages.last().get()) >> GIB_LOG2;
        for part in by_gigabyte(pages) {
            let number = part.start().get() >> GIB_LOG2;
            match self.gigabytes.get(&number) {
                None => self.add(number..=last, directory, region)?,
                Some(generations) if simple(generations, part, judge).is_some() => {}
                Some(generations) => {
                    if by_page(part).any(|one| current(generations, one, judge).is_none()) {
                        let pa = self.take(number..=number, None, directory, region)?;
                        self.gigabytes.entry(number).or_default().push(pa);
                    }
                }
            }
        }
        Some(())
    }

    /// Adds the first gigabyte of `numbers`, and those after it as far as they are new and there are enough.
    fn add(
        &mut self,
        numbers: RangeInclusive<u64>,
        directory: &mut Directory,
        region: &Region,
    ) -> Option<()> {
        let first = *numbers.start();
        let known = self.gigabytes.range(numbers.clone()).next();
        let last = known.map_or(*numbers.end(), |(&next, _)| next - 1);
        let before = first
            .checked_sub(1)
            .and_then(|before| self.gigabytes.get(&before));
        let preferred = before.and_then(|generations| Some(generations.first()? + GIB));
        let (start, last) = match self.take(first..=last, preferred, directory, region) {
            Some(start) => (start, last),
            None => (
                self.take(first..=first, preferred, directory, region)?,
                first,
            ),
        };
        for number in first..=last {
            self.gigabytes
                .insert(number, smallvec![start + (number - first) * GIB]);
        }
        Some(())
    }

    fn take(
        &self,
        numbers: RangeInclusive<u64>,
        preferred: Option<u64>,
        directory: &mut Directory,
        region: &Region,
    ) -> Option<u64> {
        let owner = Owner::Private {
            space: self.space,
            hva: numbers.start() << GIB_LOG2,
        };
        let len = (numbers.end() - numbers.start() + 1) << GIB_LOG2;
        directory.take(addresses(region), len, 1, preferred, owner)
    }

    /// All its physical addresses.
    pub(super) fn memory(&self) -> impl Iterator<Item = PaRange> {
        let starts = self.gigabytes.values().flatten();
        starts.filter_map(|&pa| PaRange::from_len(Pa::new(pa), GIB))
    }

    pub(super) fn close(self, directory: &mut Directory) {
        for memory in self.memory() {
            directory.release(memory.start().get(), GIB);
        }
    }
}

/// The physical addresses of private memory.
fn addresses(region: &Region) -> Range<u64> {
    region.private_start()..region.end()
}

/// Where a part of a gigabyte lies that never had another place.
fn simple(generations: &[u64], part: HvaRange, judge: &impl Judge) -> Option<PaRange> {
    let [only] = generations else {
        return None;
    };
    in_gigabyte(*only, part).filter(|&memory| !judge.may_be_retired(memory))
}

/// Which of its places a page has now: the one that is pinned, if its process has not given that back; else the first free one.
fn current(generations: &[u64], page: HvaRange, judge: &impl Judge) -> Option<PaRange> {
    let places = generations.iter().filter_map(|&pa| in_gigabyte(pa, page));
    let usable: SmallVec<[PaRange; 4]> = places.filter(|&place| !judge.is_retired(place)).collect();
    let pinned = usable.iter().find(|&&place| judge.is_pinned(place));
    pinned.or_else(|| usable.first()).copied()
}

/// Where a part of a virtual gigabyte lies in the physical gigabyte at `pa`.
fn in_gigabyte(pa: u64, part: HvaRange) -> Option<PaRange> {
    let offset = part.start().get() & (GIB - 1);
    PaRange::from_len(Pa::new(pa + offset), part.len_minus_one() + 1)
}

fn gigabyte(number: u64) -> Option<HvaRange> {
    HvaRange::from_len(Hva::new(number << GIB_LOG2), GIB)
}

fn by_gigabyte(range: HvaRange) -> impl Iterator<Item = HvaRange> {
    let numbers = range.start().get() >> GIB_LOG2..=range.last().get() >> GIB_LOG2;
    numbers.filter_map(move |number| gigabyte(number)?.intersection(range))
}

fn by_page(range: HvaRange) -> impl Iterator<Item = HvaRange> {
    let pages = (range.start().get()..=range.last().get()).step_by(1 << PAGE.log2());
    pages.filter_map(|start| HvaRange::from_len(Hva::new(start), PAGE.bytes()))
}
