//! Graphs as text.

use std::collections::BTreeSet;

use swiommu_iommufd::{Node, ObjectId};

use super::{Graph, lines};

pub(super) fn draw_all(graphs: &[Graph]) -> String {
    let drawn = graphs
        .iter()
        .map(|graph| format!("{}\n\n{}", graph.title, draw_graph(&graph.nodes)));
    drawn.collect::<Vec<_>>().join("\n")
}

/// What refers to nothing stands on the left, and to the right of each object what refers to it.
fn draw_graph(nodes: &[Node]) -> String {
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
    let mut lines = lines(node);
    if !label.is_empty() {
        lines.insert(1, label.to_owned());
    }
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
