//! What is true of every tree between two changes.

use alloc::vec::Vec;

use super::cover::Cover;
use super::inner::Inner;
use super::leaf::Leaf;
use super::node::Shared;
use super::{FANOUT, LEAST, Tree};

/// A gap between two entries of a subtree: its first and last address, and its cover less the cover before the subtree.
type Gap = (u64, u64, i32);

impl<V> Tree<V> {
    /// Panics if the tree is not as it should be.
    pub(crate) fn verify(&self) {
        let root = self.root.as_ref();
        assert!(root.len() < FANOUT);
        assert_eq!(root.areas(), self.len);
        if let Shared::Inner(inner) = root {
            assert!(inner.starts().len() > 1);
        }
        if root.len() > 0 {
            check_node(root);
        }
    }

    /// All that is in the nodes from the root to a leaf.
    pub(crate) fn bound(&self) -> usize {
        (self.root.as_ref().height() as usize + 1) * FANOUT
    }
}

/// Checks a node and returns its gaps.
fn check_node<V>(node: Shared<'_, V>) -> Vec<Gap> {
    let gaps = match node {
        Shared::Leaf(leaf) => check_leaf(leaf),
        Shared::Inner(inner) => check_inner(inner),
    };
    for &(start, last, _) in &gaps {
        assert!(
            start <= last || start == last.wrapping_add(1),
            "an entry is inside an area"
        );
    }
    let least = gaps.iter().map(|&(_, _, cover)| cover).min();
    assert_eq!(node.cover().least, least.unwrap_or(i32::MAX));
    gaps
}

fn check_leaf<V>(leaf: &Leaf<V>) -> Vec<Gap> {
    let starts = leaf.starts();
    assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(
        leaf.areas(),
        (0..starts.len()).filter_map(|slot| leaf.area(slot)).count()
    );
    let deltas = leaf.deltas();
    assert!(deltas.is_empty() || deltas.len() == starts.len() && deltas.iter().any(|&d| d != 0));
    for (slot, &start) in starts.iter().enumerate() {
        if leaf.area(slot).is_some() {
            assert!(start <= leaf.last(slot));
        } else {
            assert_eq!(leaf.last(slot), start.wrapping_sub(1));
            assert_ne!(leaf.delta(slot), 0, "nothing happens at this entry");
        }
    }
    let mut gaps = Vec::new();
    let mut cover = 0;
    for (slot, pair) in starts.windows(2).enumerate() {
        cover += leaf.delta(slot);
        gaps.push((leaf.last(slot).wrapping_add(1), pair[1] - 1, cover));
    }
    assert_eq!(leaf.cover().total, cover + leaf.delta(starts.len() - 1));
    gaps
}

fn check_inner<V>(inner: &Inner<V>) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    let mut cover = Cover::EMPTY;
    assert!(inner.starts().windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(inner.summaries.len(), inner.starts().len());
    for (slot, (&start, summary)) in inner.starts().iter().zip(&inner.summaries).enumerate() {
        let node = inner.child(slot);
        assert_eq!(node.height() + 1, inner.height());
        assert!((LEAST..FANOUT).contains(&node.len()));
        assert_eq!(node.start(), start);
        assert_eq!(node.last(), summary.last);
        assert_eq!(node.areas(), summary.areas);
        assert_eq!(node.cover(), summary.cover);
        if slot > 0 {
            let below = inner.summaries[slot - 1].last;
            gaps.push((below.wrapping_add(1), start - 1, cover.total));
        }
        let own = check_node(node);
        check_rows(inner, slot, &own);
        gaps.extend(
            own.iter()
                .map(|&(start, last, own)| (start, last, cover.total + own)),
        );
        cover.push(summary.cover);
    }
    assert_eq!(inner.cover().total, cover.total);
    gaps
}

/// Checks those rows for the child in `slot` that are not stale; the gaps of the child are given.
fn check_rows<V>(inner: &Inner<V>, slot: usize, gaps: &[Gap]) {
    let summary = inner.summaries[slot];
    for rows in &inner.rows {
        let align = u128::from(rows.alignment.bytes());
        if summary.stale & rows.alignment.bytes() != 0 {
            continue;
        }
        let kinds = rows.kinds(slot).unwrap_or_default();
        let mut greatest = 0;
        let mut expected: Vec<u64> = kinds.iter().map(|_| 0).collect();
        for &(start, last, cover) in gaps {
            let rounded = u128::from(start).div_ceil(align) * align;
            if cover == summary.cover.least && start <= last && rounded <= u128::from(last) {
                let room = u64::try_from(u128::from(last) - rounded).unwrap();
                greatest = greatest.max(room);
                let number = usize::try_from(rounded % 0x1000 / align).unwrap();
                if let Some(kind) = expected.get_mut(number) {
                    *kind = room.max(*kind);
                }
            }
        }
        assert_eq!(rows.greatest[slot], greatest, "row for {}", rows.alignment);
        assert_eq!(kinds, expected, "row for {}", rows.alignment);
    }
}
