//! Disjoint ranges of numbers with a value each, kept by extent.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use smallvec::SmallVec;

/// What an extent may carry.
pub(crate) trait Value: Copy + Eq {
    /// The value of the part of the extent that starts `bytes` later. Two extents merge when the second is the first's continuation.
    #[must_use]
    fn skip(self, bytes: u64) -> Self;
}

/// `first..=last` with one value throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent<V> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) value: V,
}

/// A piece of a looked-up range: an extent, or a gap between extents.
pub(crate) type Piece<V> = Extent<Option<V>>;

/// Sorted, disjoint and merged extents: whatever the order of updates, equal contents have equal extents.
///
/// One extent, the common case of a pages object, needs no allocation.
#[derive(Debug)]
pub(crate) enum ExtentMap<V> {
    One(Extent<V>),
    Many(Option<Box<Tree<V>>>),
}

/// First number of the extent → last number and value.
type Tree<V> = BTreeMap<u64, (u64, V)>;

impl<V> Default for ExtentMap<V> {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl<V: Value> Extent<V> {
    fn clip(self, first: u64, last: u64) -> Self {
        let start = self.first.max(first);
        Self {
            first: start,
            last: self.last.min(last),
            value: self.value.skip(start - self.first),
        }
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        self.last.checked_add(1) == Some(next.first)
            && self.value.skip(next.first - self.first) == next.value
    }
}

impl<V: Value> ExtentMap<V> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(None))
    }

    /// The extents that overlap `range`, clipped to it, in order.
    pub(crate) fn overlapping(
        &self,
        range: RangeInclusive<u64>,
    ) -> impl Iterator<Item = Extent<V>> {
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
    pub(crate) fn cover(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = Piece<V>> {
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
                    last: extent.first - 1,
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
            next = (piece.last < last).then(|| piece.last + 1);
            Some(piece)
        })
    }

    /// Calls `act` with each piece of `range` as [`cover`](Self::cover) yields it. Quicker for the common case of one piece.
    pub(crate) fn try_each<E>(
        &self,
        range: RangeInclusive<u64>,
        mut act: impl FnMut(Piece<V>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.single(*range.start(), *range.end()) {
            Some(piece) => act(piece),
            None => self.cover(range).try_for_each(act),
        }
    }

    /// Replaces the value of every piece of `range`, gaps included.
    pub(crate) fn update(
        &mut self,
        range: RangeInclusive<u64>,
        mut new_value: impl FnMut(Piece<V>) -> Option<V>,
    ) {
        let (first, last) = range.clone().into_inner();
        let below = self.below(last);
        let found = below.filter(|below| below.last >= first);
        if found.is_none_or(|found| (found.first, found.last) == (first, last)) {
            let value = found.map(|found| found.value);
            match (value, new_value(Piece { first, last, value })) {
                (None, None) => {}
                (None, Some(value)) => self.fill(Extent { first, last, value }, below),
                (Some(_), None) => self.remove(first),
                (Some(_), Some(value)) => self.replace(Extent { first, last, value }),
            }
            return;
        }
        let pieces: SmallVec<[Piece<V>; 4]> = self.cover(range).collect();
        let mut tree = self.take_tree();
        split(&mut tree, first);
        if let Some(end) = last.checked_add(1) {
            split(&mut tree, end);
        }
        for piece in pieces {
            match new_value(piece) {
                Some(value) => tree.insert(piece.first, (piece.last, value)),
                None => tree.remove(&piece.first),
            };
        }
        merge(&mut tree, first, last);
        self.put_tree(tree);
    }

    /// The last extent that starts at or below `last`.
    fn below(&self, last: u64) -> Option<Extent<V>> {
        match self {
            Self::One(one) => Some(*one).filter(|one| one.first <= last),
            Self::Many(None) => None,
            Self::Many(Some(tree)) => tree.range(..=last).next_back().map(as_extent),
        }
    }

    /// The range as one piece, if it lies in one extent or in a gap.
    fn single(&self, first: u64, last: u64) -> Option<Piece<V>> {
        let found = self.below(last).filter(|below| below.last >= first);
        if found.is_some_and(|found| first < found.first || found.last < last) {
            return None;
        }
        let value = found.map(|found| found.clip(first, last).value);
        Some(Piece { first, last, value })
    }

    /// Adds an extent in the gap after the extent `below`.
    fn fill(&mut self, mut new: Extent<V>, below: Option<Extent<V>>) {
        if self.is_empty() {
            *self = Self::One(new);
            return;
        }
        let mut tree = self.take_tree();
        let after = new.last.checked_add(1);
        if let Some((first, &(last, value))) =
            after.and_then(|first| Some((first, tree.get(&first)?)))
            && new.is_continued_by(&Extent { first, last, value })
        {
            tree.remove(&first);
            new.last = last;
        }
        if let Some(before) = below.filter(|before| before.is_continued_by(&new)) {
            new = Extent {
                last: new.last,
                ..before
            };
        }
        tree.insert(new.first, (new.last, new.value));
        self.put_tree(tree);
    }

    /// Removes the extent that starts at `first`.
    fn remove(&mut self, first: u64) {
        if let Self::Many(Some(mut tree)) = std::mem::take(self) {
            tree.remove(&first);
            self.put_tree(tree);
        }
    }

    /// Gives an existing extent another value.
    fn replace(&mut self, new: Extent<V>) {
        if let Self::One(one) = self {
            *one = new;
            return;
        }
        let mut tree = self.take_tree();
        tree.insert(new.first, (new.last, new.value));
        merge(&mut tree, new.first, new.last);
        self.put_tree(tree);
    }

    #[expect(
        clippy::unnecessary_box_returns,
        reason = "it is boxed before and after"
    )]
    fn take_tree(&mut self) -> Box<Tree<V>> {
        match std::mem::take(self) {
            Self::Many(tree) => tree.unwrap_or_default(),
            Self::One(one) => Box::new(BTreeMap::from([(one.first, (one.last, one.value))])),
        }
    }

    /// A tree stays a tree until it is empty: going back and forth would allocate each time.
    fn put_tree(&mut self, tree: Box<Tree<V>>) {
        *self = Self::Many(Some(tree).filter(|tree| !tree.is_empty()));
    }
}

fn as_extent<V: Copy>((&first, &(last, value)): (&u64, &(u64, V))) -> Extent<V> {
    Extent { first, last, value }
}

/// Makes `at` the start of an extent if an extent covers it.
fn split<V: Value>(tree: &mut Tree<V>, at: u64) {
    let Some((&first, covering)) = tree.range_mut(..at).next_back() else {
        return;
    };
    let (last, value) = *covering;
    if last >= at {
        covering.0 = at - 1;
        tree.insert(at, (last, value.skip(at - first)));
    }
}

/// Merges continuing extents, from the one before `first` to the one after `last`.
fn merge<V: Value>(tree: &mut Tree<V>, first: u64, last: u64) {
    let start = tree
        .range(..first)
        .next_back()
        .map_or(first, |(&start, _)| start);
    let end = last.saturating_add(1);
    let Some(mut current) = tree.range(start..=end).next().map(as_extent) else {
        return;
    };
    while current.first < end {
        let Some(next) = tree.range(current.first + 1..=end).next().map(as_extent) else {
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
