//! Which column of a picture an object stands in, and in which order.

use std::collections::BTreeMap;

use swiommu_iommufd::{Node, ObjectId};

/// The objects by columns: in the first what refers to nothing, and everything to the right of all that it refers to. Within a column
/// they stand as what they refer to does, so that arrows cross little.
pub(super) fn columns(nodes: &[Node]) -> Vec<Vec<&Node>> {
    let ranks = ranks(nodes);
    let last = ranks.values().copied().max().map_or(0, |last| last + 1);
    let mut columns: Vec<Vec<&Node>> = vec![Vec::new(); last];
    for node in nodes {
        if let Some(column) = ranks.get(&node.id).and_then(|rank| columns.get_mut(*rank)) {
            column.push(node);
        }
    }
    let mut rows: BTreeMap<ObjectId, usize> = BTreeMap::new();
    for column in &mut columns {
        column.sort_by_key(|node| {
            let upper = node
                .refers_to
                .iter()
                .filter_map(|to| rows.get(&to.to))
                .min();
            (upper.copied(), node.id)
        });
        rows.extend(column.iter().enumerate().map(|(row, node)| (node.id, row)));
    }
    columns
}

/// The length of the longest way from an object to one that refers to nothing. References to what is not there do not count.
fn ranks(nodes: &[Node]) -> BTreeMap<ObjectId, usize> {
    let mut ranks: BTreeMap<ObjectId, usize> = nodes.iter().map(|node| (node.id, 0)).collect();
    // A graph of objects has no circles; if it had, the bound would end this.
    for _ in nodes {
        let mut settled = true;
        for node in nodes {
            let below = node.refers_to.iter().filter_map(|to| ranks.get(&to.to));
            let rank = below.max().map_or(0, |below| below + 1);
            if ranks.insert(node.id, rank) != Some(rank) {
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    ranks
}
