//! The object graph of a context, drawn.

mod dot;
mod ranks;
mod svg;
mod text;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;

use swiommu_iommufd::Node;

/// The objects of one context at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Graph {
    /// Which context, and when.
    pub title: String,
    /// Its objects.
    pub nodes: Vec<Node>,
}

/// How a graph is drawn: an object is a box with its number and essential facts, and arrows point to what it refers to, as in the
/// kernel's IOMMUFD document.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Boxes of characters. An object with several references is drawn once for each.
    #[default]
    Text,
    /// The language of Graphviz.
    Dot,
    /// A picture.
    Svg,
}

impl Format {
    /// Its name, which is also the extension of files in it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Dot => "dot",
            Self::Svg => "svg",
        }
    }

    /// The format that a file name asks for by its extension.
    ///
    /// # Errors
    /// The extension is none of `.txt`, `.dot` and `.svg`.
    pub fn of(path: &Path) -> Result<Self, UnknownFormat> {
        let extension = path.extension().and_then(OsStr::to_str);
        extension.unwrap_or_default().parse()
    }

    /// Draws graphs one below the other.
    pub fn draw(self, graphs: &[Graph]) -> String {
        match self {
            Self::Text => text::draw_all(graphs),
            Self::Dot => dot::draw(graphs),
            Self::Svg => svg::draw(graphs),
        }
    }
}

/// It is not known how to draw that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no format of diagrams: txt, dot and svg are")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let all = [Self::Text, Self::Dot, Self::Svg];
        let found = all.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// What stands in the box of an object, line by line.
fn lines(node: &Node) -> Vec<String> {
    let title = format!("{} {}", node.type_name, node.id);
    let facts = node
        .facts
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    std::iter::once(title).chain(facts).collect()
}
