//! The object graph of a context as text, in the manner of the kernel's IOMMUFD document: an object is a box, and an arrow
//! points to what it refers to.

use std::collections::BTreeSet;

use swiommu_iommufd::{Node, ObjectId};

/// Draws the graph: what refers to nothing stands on the left, and to the right of each object what refers to it.
///
/// An object with several references is drawn once for each.
pub fn diagram(nodes: &[Node]) -> String {
    let mut block: Vec<String> = Vec::new();
    let referred = |node: &Node| {
        node.refers_to
            .iter()
            .any(|r| nodes.iter().any(|n| n.id == r.to))
    };
    for root in nodes.iter().filter(|node| !referred(node)) {
        block.extend(draw(nodes, root, "", &mut BTreeSet::new()));
    }
    let lines = block.iter().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// The row of a box at which arrows meet it: its title.
const TITLE: usize = 1;

/// A box with all that refers to it on its right. `path` guards against a circle, which a graph of objects never has.
fn draw(nodes: &[Node], node: &Node, label: &str, path: &mut BTreeSet<ObjectId>) -> Vec<String> {
    let own = boxed(node, label);
    if !path.insert(node.id) {
        return own;
    }
    let children: Vec<Vec<String>> = nodes
        .iter()
        .flat_map(|child| {
            child
                .refers_to
                .iter()
                .map(move |reference| (child, reference))
        })
        .filter(|(_, reference)| reference.to == node.id)
        .map(|(child, reference)| draw(nodes, child, &reference.label, path))
        .collect();
    path.remove(&node.id);
    beside(own, children)
}

fn boxed(node: &Node, label: &str) -> Vec<String> {
    let mut lines = vec![format!("{} {}", node.type_name, node.id)];
    if !label.is_empty() {
        lines.push(label.to_owned());
    }
    lines.extend(
        node.facts
            .iter()
            .map(|(name, value)| format!("{name} {value}")),
    );
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let rule = "─".repeat(width + 2);
    let mut drawn = vec![format!("┌{rule}┐")];
    drawn.extend(lines.iter().map(|line| format!("│ {line:<width$} │")));
    drawn.push(format!("└{rule}┘"));
    drawn
}

/// Puts blocks to the right of a box, one below the other, with arrows from each to the box.
fn beside(own: Vec<String>, children: Vec<Vec<String>>) -> Vec<String> {
    if children.is_empty() {
        return own;
    }
    let width = own.first().map_or(0, |line| line.chars().count());
    let titles: Vec<usize> = children
        .iter()
        .scan(0, |top, child| {
            let title = *top + TITLE;
            *top += child.len();
            Some(title)
        })
        .collect();
    let last = titles.last().copied().unwrap_or(TITLE);
    let mut right = children.into_iter().flatten();
    let mut drawn = Vec::new();
    for row in 0.. {
        let (left, block) = (own.get(row), right.next());
        if left.is_none() && block.is_none() {
            break;
        }
        let arrow = match (titles.contains(&row), row) {
            (true, TITLE) if last == TITLE => "◄────",
            (true, TITLE) => "◄──┬─",
            (true, _) if row == last => "   └─",
            (true, _) => "   ├─",
            (false, _) if row > TITLE && row < last => "   │ ",
            (false, _) => "     ",
        };
        let left = left.map_or_else(|| " ".repeat(width), Clone::clone);
        drawn.push(format!("{left}{arrow}{}", block.unwrap_or_default()));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use swiommu_iommufd::Reference;

    use super::*;

    fn node(id: u32, type_name: &'static str, refers_to: &[u32]) -> Node {
        let reference = |to: &u32| Reference {
            to: ObjectId(*to),
            label: String::new(),
        };
        Node {
            id: ObjectId(id),
            type_name,
            users: 0,
            refers_to: refers_to.iter().map(reference).collect(),
            facts: Vec::new(),
        }
    }

    #[test]
    fn what_refers_stands_to_the_right_of_what_is_referred_to() {
        let nodes = [
            node(1, "IOAS", &[]),
            node(3, "DEVICE", &[6]),
            node(4, "HWPT_PAGING", &[1]),
            node(6, "HWPT_NESTED", &[4]),
            node(7, "HWPT_NESTED", &[4]),
        ];
        let expected = "\
┌────────┐     ┌───────────────┐     ┌───────────────┐     ┌──────────┐
│ IOAS 1 │◄────│ HWPT_PAGING 4 │◄──┬─│ HWPT_NESTED 6 │◄────│ DEVICE 3 │
└────────┘     └───────────────┘   │ └───────────────┘     └──────────┘
                                   │ ┌───────────────┐
                                   └─│ HWPT_NESTED 7 │
                                     └───────────────┘
";
        assert_eq!(diagram(&nodes), expected);
    }

    #[test]
    fn an_object_with_two_references_is_drawn_at_both() {
        let mut device = node(3, "DEVICE", &[1, 2]);
        device.refers_to[1].label = "PASID 0x5".to_owned();
        let drawn = diagram(&[
            node(1, "HWPT_PAGING", &[]),
            node(2, "HWPT_PAGING", &[]),
            device,
        ]);
        assert_eq!(drawn.matches("DEVICE 3").count(), 2);
        assert_eq!(drawn.matches("PASID 0x5").count(), 1);
    }

    #[test]
    fn references_to_objects_that_are_gone_make_a_root() {
        assert!(diagram(&[node(3, "DEVICE", &[9])]).contains("DEVICE 3"));
    }
}
