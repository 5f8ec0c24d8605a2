//! The place of one entry, read while another thread writes it.

use super::Tag;
use super::entry::{Entry, Page, Target};
use super::sync::{AtomicU64, Ordering, fence};

/// The page of a slot without an entry.
const EMPTY: u64 = 0;

/// The place of one entry. Many read it, and one at a time writes it, under the lock of its TLB.
///
/// An entry is there while its page is. To write one, the page is taken away, the version raised, then tag and target are
/// written, and last the page. A reader takes version, page, tag, target and the version again. If the page was the right one,
/// the version read before it is not newer than that entry (a newer one is seen only by who also sees that the page is gone); and if tag
/// or target are those of a later entry, the version read after them is later too. So equal versions mean one entry.
///
/// All zeroes are a slot without an entry.
#[derive(Debug)]
#[cfg_attr(not(all(loom, test)), derive(zerocopy::FromZeros))]
pub(super) struct Slot {
    version: AtomicU64,
    page: AtomicU64,
    tag: AtomicU64,
    target: AtomicU64,
}

impl Slot {
    #[cfg(all(loom, test))]
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            version: zero(),
            page: AtomicU64::new(EMPTY),
            tag: zero(),
            target: zero(),
        }
    }

    /// Whether it has an entry for this page, of some tag: a hint for where to look.
    #[inline]
    pub(super) fn has(&self, page: Page) -> bool {
        self.page.load(Ordering::Relaxed) == page.word()
    }

    /// The target, if the slot has the entry of this tag and page. It may miss an entry that is being written.
    #[inline]
    pub(super) fn find(&self, tag: Tag, page: Page) -> Option<Target> {
        let version = self.version.load(Ordering::Acquire);
        if self.page.load(Ordering::Acquire) != page.word()
            || self.tag.load(Ordering::Relaxed) != tag.number()
        {
            return None;
        }
        let target = self.target.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (self.version.load(Ordering::Relaxed) == version).then_some(Target(target))
    }

    /// Puts an entry here. For the writer only, as all below.
    pub(super) fn put(&self, entry: &Entry) {
        self.remove();
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Release);
        fence(Ordering::Release);
        self.tag.store(entry.tag.number(), Ordering::Relaxed);
        self.target.store(entry.target.0, Ordering::Relaxed);
        self.page.store(entry.page.word(), Ordering::Release);
    }

    /// Lets the entry that is here lead elsewhere.
    pub(super) fn retarget(&self, target: Target) {
        self.target.store(target.0, Ordering::Release);
    }

    /// Takes the entry away.
    pub(super) fn remove(&self) {
        self.page.store(EMPTY, Ordering::Release);
    }

    /// Whether there is no entry here.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.page.load(Ordering::Relaxed) == EMPTY
    }

    /// The entry that is here.
    pub(super) fn entry(&self) -> Option<Entry> {
        let page = Page::from_word(self.page.load(Ordering::Relaxed))?;
        Some(Entry {
            tag: self.tag.load(Ordering::Relaxed).into(),
            page,
            target: Target(self.target.load(Ordering::Relaxed)),
        })
    }
}
