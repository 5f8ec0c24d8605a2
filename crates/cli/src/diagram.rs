//! `--diagram`: the objects of each context when it had the most of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use swiommu_inspect::{Call, Format, Graph, Sink};
use swiommu_machine::{Contexts, OpenContext};

/// As many contexts are drawn, those with the most objects: more would not be looked at.
const MOST: usize = 64;

/// The objects of an open context.
pub(crate) fn graph(open: &OpenContext) -> Graph {
    let OpenContext {
        number, opened_by, ..
    } = open;
    let nodes = open.context.graph();
    let objects = match nodes.len() {
        1 => "1 object".to_owned(),
        n => format!("{n} objects"),
    };
    Graph {
        title: format!(
            "context {number}, opened by process {}: {objects}",
            opened_by.pid
        ),
        nodes,
    }
}

/// Keeps, for each context, its objects at the last moment at which it had the most.
#[derive(Debug)]
pub(crate) struct Fullest {
    contexts: Arc<Contexts>,
    graphs: Mutex<BTreeMap<u32, Graph>>,
}

impl Fullest {
    pub(crate) fn new(contexts: &Arc<Contexts>) -> Arc<Self> {
        Arc::new(Self {
            contexts: contexts.clone(),
            graphs: Mutex::default(),
        })
    }

    /// Writes the diagram.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut graphs: Vec<Graph> = self.graphs.lock().values().cloned().collect();
        let left_out = graphs.len().saturating_sub(MOST);
        if left_out > 0 {
            graphs.sort_by_key(|graph| std::cmp::Reverse(graph.nodes.len()));
            graphs.truncate(MOST);
            tracing::warn!("{left_out} contexts with fewer objects are not drawn");
        }
        let drawn = Format::of(path)?.draw(&graphs);
        fs::write(path, drawn)
            .with_context(|| format!("cannot write the diagram {}", path.display()))
    }
}

impl Sink for Fullest {
    fn record(&self, _call: &Call) {
        for open in self.contexts.open() {
            let now = graph(&open);
            let mut graphs = self.graphs.lock();
            let fuller = graphs
                .get(&open.number)
                .is_some_and(|fullest| fullest.nodes.len() > now.nodes.len());
            if !fuller && !now.nodes.is_empty() {
                graphs.insert(open.number, now);
            }
        }
    }
}
