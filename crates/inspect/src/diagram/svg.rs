//! Graphs as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;

use swiommu_iommufd::{Node, ObjectId};

use super::ranks::columns;
use super::{Graph, lines};

/// The width of a character and the height of a line, in the picture's units.
const CHARACTER: u32 = 8;
const LINE: u32 = 17;
/// From the frame of a box to its text.
const PADDING: u32 = 8;
/// Between columns, where the arrows are, and between boxes of a column.
const ACROSS: u32 = 90;
const DOWN: u32 = 16;
/// Around everything.
const MARGIN: u32 = 20;

const STYLE: &str = "\
text { font: 13px monospace } .title { font-weight: bold } .label { font-size: 11px; fill: #555 }
rect { fill: #fff; stroke: #333 } path { fill: none; stroke: #333 }
.IOAS { fill: #e8f0fe } .HWPT_PAGING { fill: #e6f4ea } .HWPT_NESTED { fill: #fef7e0 } .DEVICE { fill: #fce8e6 }
.VIOMMU, .VDEVICE { fill: #f3e8fd } .FAULT, .VEVENTQ, .HW_QUEUE, .ACCESS { fill: #f1f3f4 }";

/// Where an object's box is.
#[derive(Clone, Copy)]
struct Place {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Place {
    fn middle(self) -> u32 {
        self.y + self.height / 2
    }
}

pub(super) fn draw(graphs: &[Graph]) -> String {
    let mut body = String::new();
    let (mut width, mut top) = (0, MARGIN);
    for graph in graphs {
        let title = escaped(&graph.title);
        let baseline = top + LINE;
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            r#"<text class="title" x="{MARGIN}" y="{baseline}">{title}</text>"#
        );
        let places = place(&graph.nodes, baseline + DOWN);
        draw_arrows(&mut body, &graph.nodes, &places);
        for node in &graph.nodes {
            if let Some(place) = places.get(&node.id) {
                draw_box(&mut body, node, *place);
            }
        }
        let title_width = MARGIN + length(&graph.title) * CHARACTER;
        let right = places.values().map(|place| place.x + place.width).max();
        let bottom = places.values().map(|place| place.y + place.height).max();
        width = width.max(right.unwrap_or(0)).max(title_width);
        top = bottom.unwrap_or(baseline) + 2 * DOWN;
    }
    let (width, height) = (width + MARGIN, top + MARGIN);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<style>{STYLE}</style>
<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0,0 L8,4 L0,8"/></marker></defs>
{body}</svg>
"#
    )
}

/// The places of the objects, from `top` downwards.
fn place(nodes: &[Node], top: u32) -> BTreeMap<ObjectId, Place> {
    let mut places = BTreeMap::new();
    let mut x = MARGIN;
    for column in columns(nodes) {
        let longest = column.iter().flat_map(|node| lines(node));
        let longest = longest.map(|line| length(&line)).max().unwrap_or(0);
        let width = longest * CHARACTER + 2 * PADDING;
        let mut y = top;
        for node in column {
            let height = lines(node).iter().map(|_| LINE).sum::<u32>() + 2 * PADDING;
            places.insert(
                node.id,
                Place {
                    x,
                    y,
                    width,
                    height,
                },
            );
            y += height + DOWN;
        }
        x += width + ACROSS;
    }
    places
}

fn draw_box(out: &mut String, node: &Node, place: Place) {
    let Place {
        x,
        y,
        width,
        height,
    } = place;
    let class = escaped(node.type_name);
    let _ = writeln!(
        out,
        r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>"#
    );
    let mut baseline = y + PADDING;
    for (n, line) in lines(node).iter().enumerate() {
        baseline += LINE;
        let (x, y) = (x + PADDING, baseline - LINE / 4);
        let class = if n == 0 { "title" } else { "fact" };
        let line = escaped(line);
        let _ = writeln!(
            out,
            r#"<text class="{class}" x="{x}" y="{y}">{line}</text>"#
        );
    }
}

/// From the left of each object to the right of what it refers to.
fn draw_arrows(out: &mut String, nodes: &[Node], places: &BTreeMap<ObjectId, Place>) {
    for node in nodes {
        for reference in &node.refers_to {
            let (Some(from), Some(to)) = (places.get(&node.id), places.get(&reference.to)) else {
                continue;
            };
            let (x1, y1) = (from.x, from.middle());
            let (x2, y2) = (to.x + to.width, to.middle());
            let bend = x1.saturating_sub(ACROSS / 2);
            let turn = x2 + ACROSS / 2;
            let _ = writeln!(
                out,
                r#"<path marker-end="url(#arrow)" d="M{x1},{y1} C{bend},{y1} {turn},{y2} {x2},{y2}"/>"#
            );
            if !reference.label.is_empty() {
                let label = escaped(&reference.label);
                let x = x1.saturating_sub(length(&reference.label) * CHARACTER);
                let y = y1.saturating_sub(LINE / 4);
                let _ = writeln!(out, r#"<text class="label" x="{x}" y="{y}">{label}</text>"#);
            }
        }
    }
}

fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX / CHARACTER)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
