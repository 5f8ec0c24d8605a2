//! Graphs in the language of Graphviz.

use std::fmt::Write;

use swiommu_iommufd::Node;

use super::{Graph, lines};

pub(super) fn draw(graphs: &[Graph]) -> String {
    let mut out = String::from(
        "digraph iommufd {\n  rankdir = RL\n  node [shape = box, fontname = monospace]\n",
    );
    for (number, graph) in graphs.iter().enumerate() {
        let title = quoted(&graph.title);
        // Writing to a string does not fail.
        let _ = writeln!(out, "  subgraph cluster_{number} {{\n    label = {title}");
        for node in &graph.nodes {
            write_node(&mut out, number, node);
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    out
}

fn write_node(out: &mut String, graph: usize, node: &Node) {
    let id = node.id.0;
    let label = quoted(&lines(node).join("\n"));
    let _ = writeln!(out, "    n{graph}_{id} [label = {label}]");
    for reference in &node.refers_to {
        let to = reference.to.0;
        let label = quoted(&reference.label);
        let _ = writeln!(out, "    n{graph}_{id} -> n{graph}_{to} [label = {label}]");
    }
}

/// A string of the language.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
