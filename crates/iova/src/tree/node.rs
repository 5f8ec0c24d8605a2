//! What leaves and inner nodes have in common.

use alloc::boxed::Box;

use super::cover::Cover;
use super::inner::Inner;
use super::keys::{LEAF,FANOUT};
use super::leaf::Leaf;

pub(super) enum Node<V> {
    Leaf(Box<Leaf<V>>),
    Inner(Box<Inner<V>>),
}

impl<V> Node<V> {
    pub(super) fn empty() -> Self {
        Self::Leaf(Box::new(Leaf::new()))
    }

    pub(super) fn capacity(&self) -> usize {
        match self { Self::Leaf(_) => LEAF, Self::Inner(_) => FANOUT }
    }

    /// The number of entries or children.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Inner(inner) => inner.len(),
        }
    }

    pub(super) fn height(&self) -> u32 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(inner) => inner.height(),
        }
    }

    /// The start of the first entry; the node has one.
    pub(super) fn start(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.start(0),
            Self::Inner(inner) => inner.starts()[0],
        }
    }

    /// The last address of the last entry; the node has one.
    pub(super) fn last(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.last(),
            Self::Inner(inner) => inner.last(),
        }
    }

    /// How many areas start below this node.
    pub(super) fn areas(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.areas(),
            Self::Inner(inner) => inner.areas(),
        }
    }

    pub(super) fn cover(&self) -> Cover {
        match self {
            Self::Leaf(leaf) => leaf.cover(),
            Self::Inner(inner) => inner.cover(),
        }
    }

    /// Splits a full node in two and returns the right one. `addr` is where it grew: a node that grows at its end keeps
    /// more, because the next entries will probably come there too.
    pub(super) fn split_off(&mut self, addr: u64) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.split_off(kept(leaf.start(LEAF-1), addr, LEAF))),
            Self::Inner(inner) => Self::Inner(inner.split_off(kept(inner.starts()[FANOUT-1], addr, FANOUT))),
        }
    }

    /// Takes over what its right neighbour, a node of equal height, has. If that is too much for one node, the two share
    /// it and the neighbour is given back.
    pub(super) fn join(&mut self, right: Self) -> Option<Self> {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(mut right)) => {
                if left.len() + right.len() < LEAF {
                    left.append(*right);
                    return None;
                }
                left.even_out(&mut right);
                Some(Self::Leaf(right))
            }
            (Self::Inner(left), Self::Inner(mut right)) => {
                if left.len() + right.len() < FANOUT {
                    left.append(*right);
                    return None;
                }
                left.even_out(&mut right);
                Some(Self::Inner(right))
            }
            (_, right) => Some(right),
        }
    }
}

/// How many of the entries of a full node stay on the left.
fn kept(last: u64, addr: u64, size: usize) -> usize {
    if last <= addr {
        size / 4 * 3
    } else {
        size / 2
    }
}
