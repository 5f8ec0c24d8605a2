//! The calls by which a process gives memory back: they run natively, after what is mapped for DMA has been told.

use std::io::{BufRead, BufReader};

use swiommu_addr::{Address, Hva, HvaRange, PageSize};
use swiommu_mem::DetachCause;

use super::Service;
use crate::listener::{Notification, Reply};
use crate::threads::Thread;

impl Service {
    pub(super) fn gives_back(&self, notification: &Notification) -> Reply {
        if let Ok(thread) = self.threads.of(&self.listener, notification)
            && self.threads.known_space(&thread).is_some()
        {
            for (range, cause) in given_back(notification, &thread) {
                tracing::trace!(%range, ?cause, "memory goes");
                self.threads.detach(&thread, range, cause);
            }
        }
        Reply::Continue
    }
}

/// What the call may take away, in whole pages.
fn given_back(notification: &Notification, thread: &Thread) -> Vec<(HvaRange, DetachCause)> {
    let [first, second, third, fourth, fifth, _] = notification.args;
    let has = |bits: u64, flag: i32| bits & u64::from(flag.cast_unsigned()) != 0;
    let one = |range: Option<HvaRange>, cause| range.map(|range| (range, cause));
    match notification.number {
        libc::SYS_munmap => one(pages(first, second), DetachCause::Munmap)
            .into_iter()
            .collect(),
        libc::SYS_madvise => one(pages(first, second), DetachCause::Madvise)
            .into_iter()
            .collect(),
        libc::SYS_mmap if has(fourth, libc::MAP_FIXED) => {
            one(pages(first, second), DetachCause::MapFixed)
                .into_iter()
                .collect()
        }
        libc::SYS_mremap => {
            let fixed = has(fourth, libc::MREMAP_FIXED);
            let moves = has(fourth, libc::MREMAP_MAYMOVE)
                && (third > second || fixed || has(fourth, libc::MREMAP_DONTUNMAP));
            let old = if moves {
                pages(first, second)
            } else {
                // Shrinks in place.
                second
                    .checked_sub(third)
                    .and_then(|less| pages(first.checked_add(third)?, less))
            };
            let new = fixed.then(|| pages(fifth, third)).flatten();
            [old, new]
                .into_iter()
                .filter_map(|range| one(range, DetachCause::Mremap))
                .collect()
        }
        libc::SYS_brk => {
            let heap = mapping(thread, |_, name| name == "[heap]");
            let left = Hva::new(first).align_up(PageSize::SIZE_4K);
            let gone = heap
                .zip(left)
                .and_then(|(heap, left)| HvaRange::new(left.max(heap.start()), heap.last()));
            one(gone, DetachCause::Brk).into_iter().collect()
        }
        libc::SYS_shmdt => {
            let attached = mapping(thread, |range, _| range.start() == Hva::new(first));
            one(attached, DetachCause::Munmap).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The whole pages from `start` on, or `None` when the kernel would refuse the range.
fn pages(start: u64, len: u64) -> Option<HvaRange> {
    let start = Hva::new(start);
    if !start.is_aligned(PageSize::SIZE_4K) {
        return None;
    }
    HvaRange::from_len(
        start,
        len.checked_next_multiple_of(PageSize::SIZE_4K.bytes())?,
    )
}

/// The first mapping of the thread's process that is wanted, by its range and name.
fn mapping(thread: &Thread, wanted: impl Fn(HvaRange, &str) -> bool) -> Option<HvaRange> {
    let maps = BufReader::new(std::fs::File::from(thread.proc("maps").ok()?));
    maps.lines().map_while(Result::ok).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        let range = HvaRange::new(Hva::new(address(start)?), Hva::new(address(end)? - 1))?;
        wanted(range, fields.nth(4).unwrap_or_default()).then_some(range)
    })
}
