//! Disjoint ranges of numbers with a value each, kept by extent.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};

use smallvec::SmallVec;

/// What extents are made of.
pub(crate) trait Number: Copy + Ord {
    /// The number after this.
    fn after(self) -> Option<Self>;

    /// The number before this, which is not 0.
    fn before(self) -> Self;

    /// How far it lies above `start`.
    fn distance(self, start: Self) -> u64;
}

impl Number for u64 {
    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn before(self) -> Self {
        self - 1
    }

    fn distance(self, start: Self) -> u64 {
        self - start
    }
}

impl Number for u32 {
    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn before(self) -> Self {
        self - 1
    }

    fn distance(self, start: Self) -> u64 {
        u64::from(self - start)
    }
}

/// What an extent may carry.
pub(crate) trait Value: Copy + Eq {
    /// The value of the part of the extent that starts `numbers` later. Two extents merge when the second is the first's
    /// continuation.
    #[must_use]
    fn skip(self, numbers: u64) -> Self;
}

/// `first..=last` with one value throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent<V, N = u64> {
    pub(crate) first: N,
    pub(crate) last: N,
    pub(crate) value: V,
}

/// A piece of a looked-up range: an extent, or a gap between extents.
pub(crate) type Piece<V, N = u64> = Extent<Option<V>, N>;

/// Sorted, disjoint and merged extents: whatever the order of updates, equal contents have equal extents.
///
/// One extent, the common case of a pages object, needs no allocation.
#[derive(Debug)]
pub(crate) enum ExtentMap<V, N = u64> {
    One(Extent<V, N>),
    Many(Option<Box<Tree<V, N>>>),
}

/// First number of the extent → last number and value.
type Tree<V, N> = BTreeMap<N, (N, V)>;

/// The extent at or below a number, and the one that starts right behind the number.
type Around<V, N> = (Option<Extent<V, N>>, Option<Extent<V, N>>);

impl<V, N> Default for ExtentMap<V, N> {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl<V: Value, N: Number> Extent<V, N> {
    fn clip(self, first: N, last: N) -> Self {
        let start = self.first.max(first);
        Self {
            first: start,
            last: self.last.min(last),
            value: self.value.skip(start.distance(self.first)),
        }
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        self.last.after() == Some(next.first)
            && self.value.skip(next.first.distance(self.first)) == next.value
    }
}

impl<V: Value, N: Number> ExtentMap<V, N> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(None))
    }

    /// The extents that overlap `range`, clipped to it, in order.
    pub(crate) fn overlapping(
        &self,
        range: RangeInclusive<N>,
    ) -> impl Iterator<Item = Extent<V, N>> {
        let (first, last) = range.into_inner();
        let (one, tree) = match self {
            Self::One(extent) => (Some(*extent), None),
            Self::Many(tree) => (None, tree.as_deref()),
        };
        let tree = tree.into_iter().flat_map(move |tree| {
            let before = tree.range(..first).next_back();
            before
                .into_iter()
                .chain(tree.range(first..=last))
                .map(as_extent)
        });
        one.into_iter()
            .chain(tree)
            .filter(move |extent| extent.first <= last && first <= extent.last)
            .map(move |extent| extent.clip(first, last))
    }

    /// All of `range` as extents and gaps, in order.
    pub(crate) fn cover(&self, range: RangeInclusive<N>) -> impl Iterator<Item = Piece<V, N>> {
        let last = *range.end();
        let mut next = Some(*range.start());
        let mut extents = self.overlapping(range).peekable();
        std::iter::from_fn(move || {
            let first = next?;
            let piece = match extents.peek() {
                Some(extent) if extent.first == first => Piece {
                    first,
                    last: extent.last,
                    value: Some(extent.value),
                },
                Some(extent) => Piece {
                    first,
                    last: extent.first.before(),
                    value: None,
                },
                None => Piece {
                    first,
                    last,
                    value: None,
                },
            };
            if piece.value.is_some() {
                extents.next();
            }
            next = piece.last.after().filter(|_| piece.last < last);
            Some(piece)
        })
    }

    /// Calls `act` with each piece of `range` as [`cover`](Self::cover) yields it. Quicker for the common case of one piece.
    pub(crate) fn try_each<E>(
        &self,
        range: RangeInclusive<N>,
        mut act: impl FnMut(Piece<V, N>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.single(*range.start(), *range.end()) {
            Some(piece) => act(piece),
            None => self.cover(range).try_for_each(act),
        }
    }

    /// Replaces the value of every piece of `range`, gaps included.
    pub(crate) fn update(
        &mut self,
        range: RangeInclusive<N>,
        mut new_value: impl FnMut(Piece<V, N>) -> Option<V>,
    ) {
        let (first, last) = range.into_inner();
        let (below, after) = self.around(last);
        let found = below.filter(|below| below.last >= first);
        if found.is_none_or(|found| (found.first, found.last) == (first, last)) {
            let value = found.map(|found| found.value);
            match (value, new_value(Piece { first, last, value })) {
                (None, None) => {}
                (None, Some(value)) => self.fill(Extent { first, last, value }, below, after),
                (Some(_), None) => self.remove(first),
                (Some(_), Some(value)) => self.replace(Extent { first, last, value }),
            }
            return;
        }
        let pieces: SmallVec<[Piece<V, N>; 4]> = self.cover(first..=last).collect();
        let tree = self.make_tree();
        split(tree, first);
        if let Some(end) = last.after() {
            split(tree, end);
        }
        for piece in pieces {
            match new_value(piece) {
                Some(value) => tree.insert(piece.first, (piece.last, value)),
                None => tree.remove(&piece.first),
            };
        }
        merge(tree, first, last);
        self.drop_empty_tree();
    }

    /// The last extent that starts at or below `last`, and the one that starts right behind `last`.
    fn around(&self, last: N) -> Around<V, N> {
        let is_behind = |extent: &Extent<V, N>| extent.first > last;
        let end = last.after().unwrap_or(last);
        match self {
            Self::One(one) if is_behind(one) => (None, Some(*one).filter(|one| one.first == end)),
            Self::One(one) => (Some(*one), None),
            Self::Many(None) => (None, None),
            Self::Many(Some(tree)) => {
                if let Some(highest) = highest(tree).filter(|highest| !is_behind(highest)) {
                    return (Some(highest), None);
                }
                let mut extents = tree.range(..=end).rev().map(as_extent);
                match extents.next() {
                    Some(behind) if is_behind(&behind) => (extents.next(), Some(behind)),
                    below => (below, None),
                }
            }
        }
    }

    /// The last extent that starts at or below `last`.
    fn below(&self, last: N) -> Option<Extent<V, N>> {
        match self {
            Self::One(one) => Some(*one).filter(|one| one.first <= last),
            Self::Many(None) => None,
            Self::Many(Some(tree)) => highest(tree)
                .filter(|highest| highest.first <= last)
                .or_else(|| tree.range(..=last).next_back().map(as_extent)),
        }
    }

    /// The range as one piece, if it lies in one extent or in a gap.
    fn single(&self, first: N, last: N) -> Option<Piece<V, N>> {
        let found = self.below(last).filter(|below| below.last >= first);
        if found.is_some_and(|found| first < found.first || found.last < last) {
            return None;
        }
        let value = found.map(|found| found.clip(first, last).value);
        Some(Piece { first, last, value })
    }

    /// Adds an extent in the gap between `below` and, if that is adjacent, `after`.
    fn fill(
        &mut self,
        mut new: Extent<V, N>,
        below: Option<Extent<V, N>>,
        after: Option<Extent<V, N>>,
    ) {
        if self.is_empty() {
            *self = Self::One(new);
            return;
        }
        let tree = self.make_tree();
        if let Some(after) = after.filter(|after| new.is_continued_by(after)) {
            tree.remove(&after.first);
            new.last = after.last;
        }
        if let Some(before) = below.filter(|before| before.is_continued_by(&new)) {
            new = Extent {
                last: new.last,
                ..before
            };
        }
        tree.insert(new.first, (new.last, new.value));
    }

    /// Removes the extent that starts at `first`.
    fn remove(&mut self, first: N) {
        match self {
            Self::One(_) => *self = Self::default(),
            Self::Many(tree) => {
                if let Some(tree) = tree {
                    tree.remove(&first);
                }
                self.drop_empty_tree();
            }
        }
    }

    /// Gives an existing extent another value.
    fn replace(&mut self, new: Extent<V, N>) {
        match self {
            Self::One(one) => *one = new,
            Self::Many(None) => {}
            Self::Many(Some(tree)) => {
                tree.insert(new.first, (new.last, new.value));
                merge(tree, new.first, new.last);
            }
        }
    }

    /// The extents as a tree. It stays one until it is empty: going back and forth would allocate each time.
    fn make_tree(&mut self) -> &mut Tree<V, N> {
        if let Self::One(one) = *self {
            let tree = BTreeMap::from([(one.first, (one.last, one.value))]);
            *self = Self::Many(Some(Box::new(tree)));
        }
        match self {
            Self::Many(tree) => tree.get_or_insert_default(),
            Self::One(_) => unreachable!("it was made a tree"),
        }
    }

    fn drop_empty_tree(&mut self) {
        if let Self::Many(tree) = self {
            tree.take_if(|tree| tree.is_empty());
        }
    }
}

/// The last extent. It is often the one: memory is mostly mapped and pinned in ascending order, and it is found without a search.
fn highest<V: Copy, N: Number>(tree: &Tree<V, N>) -> Option<Extent<V, N>> {
    tree.last_key_value().map(as_extent)
}

fn as_extent<V: Copy, N: Copy>((&first, &(last, value)): (&N, &(N, V))) -> Extent<V, N> {
    Extent { first, last, value }
}

/// Makes `at` the start of an extent if an extent covers it.
fn split<V: Value, N: Number>(tree: &mut Tree<V, N>, at: N) {
    let Some((&first, covering)) = tree.range_mut(..at).next_back() else {
        return;
    };
    let (last, value) = *covering;
    if last >= at {
        covering.0 = at.before();
        tree.insert(at, (last, value.skip(at.distance(first))));
    }
}

/// Merges continuing extents, from the one before `first` to the one after `last`.
fn merge<V: Value, N: Number>(tree: &mut Tree<V, N>, first: N, last: N) {
    let start = tree
        .range(..first)
        .next_back()
        .map_or(first, |(&start, _)| start);
    let end = last.after().unwrap_or(last);
    let Some(mut current) = tree.range(start..=end).next().map(as_extent) else {
        return;
    };
    while current.first < end {
        let behind = (Bound::Excluded(current.first), Bound::Included(end));
        let Some(next) = tree.range(behind).next().map(as_extent) else {
            return;
        };
        if current.is_continued_by(&next) {
            tree.remove(&next.first);
            current.last = next.last;
            tree.insert(current.first, (current.last, current.value));
        } else {
            current = next;
        }
    }
}

#[cfg(test)]
mod tests;
