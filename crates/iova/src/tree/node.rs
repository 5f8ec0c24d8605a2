//! Leaves and inner nodes alike, and the children of an inner node.

use alloc::boxed::Box;

use smallvec::SmallVec;

use super::FANOUT;
use super::cover::Cover;
use super::inner::Inner;
use super::leaf::Leaf;

/// A leaf or an inner node: owned, or a reference to one.
#[derive(Clone, Copy)]
pub(super) enum Node<L, I> {
    Leaf(L),
    Inner(I),
}

pub(super) type Owned<V> = Node<Box<Leaf<V>>, Box<Inner<V>>>;
pub(super) type Shared<'a, V> = Node<&'a Leaf<V>, &'a Inner<V>>;
pub(super) type Unique<'a, V> = Node<&'a mut Leaf<V>, &'a mut Inner<V>>;

impl<V> Owned<V> {
    pub(super) fn empty() -> Self {
        Self::Leaf(Box::new(Leaf::new()))
    }

    pub(super) fn as_ref(&self) -> Shared<'_, V> {
        match self {
            Self::Leaf(leaf) => Node::Leaf(leaf),
            Self::Inner(inner) => Node::Inner(inner),
        }
    }

    pub(super) fn as_mut(&mut self) -> Unique<'_, V> {
        match self {
            Self::Leaf(leaf) => Node::Leaf(leaf),
            Self::Inner(inner) => Node::Inner(inner),
        }
    }
}

impl<V> Shared<'_, V> {
    /// The number of entries or children.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.starts().len(),
            Self::Inner(inner) => inner.starts().len(),
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
            Self::Leaf(leaf) => leaf.starts()[0],
            Self::Inner(inner) => inner.starts()[0],
        }
    }

    /// The last address of the last entry; the node has one.
    pub(super) fn last(&self) -> u64 {
        let last = self.len() - 1;
        match self {
            Self::Leaf(leaf) => leaf.last(last),
            Self::Inner(inner) => inner.summaries[last].last,
        }
    }

    /// How many areas start below this node.
    pub(super) fn areas(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.areas(),
            Self::Inner(inner) => inner.summaries.iter().map(|child| child.areas).sum(),
        }
    }

    pub(super) fn cover(&self) -> Cover {
        match self {
            Self::Leaf(leaf) => leaf.cover(),
            Self::Inner(inner) => inner.cover(),
        }
    }
}

impl<V> Unique<'_, V> {
    /// Splits a full node in two and returns the right one. `addr` is where it grew: a node that grows at its end keeps
    /// more, because the next entries will probably come there too.
    pub(super) fn split_off(self, addr: u64) -> Owned<V> {
        let kept = |last_start: u64| {
            if last_start <= addr {
                FANOUT / 4 * 3
            } else {
                FANOUT / 2
            }
        };
        match self {
            Self::Leaf(leaf) => {
                let kept = kept(leaf.starts()[FANOUT - 1]);
                Node::Leaf(Box::new(leaf.split_off(kept)))
            }
            Self::Inner(inner) => {
                let kept = kept(inner.starts()[FANOUT - 1]);
                Node::Inner(Box::new(inner.split_off(kept)))
            }
        }
    }

    /// Takes over what its right neighbour, a node of equal height, has. If that is too much for one node, the two share
    /// it and the neighbour is given back.
    pub(super) fn join(self, right: Owned<V>) -> Option<Owned<V>> {
        match (self, right) {
            (Self::Leaf(left), Node::Leaf(mut right)) => {
                if left.starts().len() + right.starts().len() < FANOUT {
                    left.append(*right);
                    return None;
                }
                left.even_out(&mut right);
                Some(Node::Leaf(right))
            }
            (Self::Inner(left), Node::Inner(mut right)) => {
                if left.starts().len() + right.starts().len() < FANOUT {
                    left.append(*right);
                    return None;
                }
                left.even_out(&mut right);
                Some(Node::Inner(right))
            }
            _ => unreachable!("{UNEVEN}"),
        }
    }
}

/// The children of an inner node. They are of equal height, so one tag serves all.
pub(super) enum Children<V> {
    Leaves(SmallVec<[Box<Leaf<V>>; FANOUT]>),
    Inners(SmallVec<[Box<Inner<V>>; FANOUT]>),
}

impl<V> Children<V> {
    /// No children yet, but of this height.
    pub(super) fn new(height: u32) -> Self {
        match height {
            0 => Self::Leaves(SmallVec::new()),
            _ => Self::Inners(SmallVec::new()),
        }
    }

    pub(super) fn get(&self, slot: usize) -> Shared<'_, V> {
        match self {
            Self::Leaves(leaves) => Node::Leaf(&leaves[slot]),
            Self::Inners(inners) => Node::Inner(&inners[slot]),
        }
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Unique<'_, V> {
        match self {
            Self::Leaves(leaves) => Node::Leaf(&mut leaves[slot]),
            Self::Inners(inners) => Node::Inner(&mut inners[slot]),
        }
    }

    pub(super) fn insert(&mut self, slot: usize, node: Owned<V>) {
        match (self, node) {
            (Self::Leaves(leaves), Node::Leaf(leaf)) => leaves.insert(slot, leaf),
            (Self::Inners(inners), Node::Inner(inner)) => inners.insert(slot, inner),
            _ => unreachable!("{UNEVEN}"),
        }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Owned<V> {
        match self {
            Self::Leaves(leaves) => Node::Leaf(leaves.remove(slot)),
            Self::Inners(inners) => Node::Inner(inners.remove(slot)),
        }
    }
}

const UNEVEN: &str = "nodes beside each other are of equal height";
