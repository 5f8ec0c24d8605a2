//! `swiommu try`: the main job in one command.
//!
//! A small client is run under supervision as any program would be. What is printed is its trace, the object graph whenever a
//! device has come to be attached somewhere else, and what the VFIO device reads: nothing is told that did not happen.

mod device;

use std::collections::BTreeSet;
use std::io::{Stdout, Write, stdout};
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use swiommu_inspect::{Call, Format, Graph, Sink, Story, traced};
use swiommu_iommufd::{Node, ObjectId};
use swiommu_machine::{Contexts, Description};
use swiommu_mem::Processes;
use swiommu_supervisor::Config;

use self::device::Device;
use crate::args::TryOptions;
use crate::machine;
use crate::run::trace_file;

/// Prints calls, and the graph when attachments change.
#[derive(Debug)]
struct Tour {
    story: Story<Stdout>,
    contexts: Arc<Contexts>,
    attachments: Mutex<BTreeSet<(ObjectId, ObjectId)>>,
    device: Device,
}

impl Sink for Tour {
    fn record(&self, call: &Call) {
        self.story.record(call);
        let mut nodes: Vec<Node> = self
            .contexts
            .open()
            .iter()
            .flat_map(|open| open.context.graph())
            .collect();
        // The test's own handles on its devices are not objects of IOMMUFD.
        nodes.retain(|node| node.type_name != "SELFTEST");
        let now = attachments(&nodes);
        let mut before = self.attachments.lock();
        if !now.is_subset(&before) {
            // Nobody reads on: that is no reason to disturb the client.
            let _ = writeln!(stdout(), "\n{}", draw(&nodes));
        }
        *before = now;
        if let Some(news) = self.device.after(call) {
            let _ = writeln!(stdout(), "\n{news}\n");
        }
    }
}

fn draw(nodes: &[Node]) -> String {
    Format::Text.draw(&[Graph {
        title: "The objects now:".to_owned(),
        nodes: nodes.to_vec(),
    }])
}

/// Which device is attached to which page table.
fn attachments(nodes: &[Node]) -> BTreeSet<(ObjectId, ObjectId)> {
    let devices = nodes.iter().filter(|node| node.type_name == "DEVICE");
    devices
        .flat_map(|node| node.refers_to.iter().map(|r| (node.id, r.to)))
        .collect()
}

/// Runs the client and shows what it does.
pub(crate) fn show(options: &TryOptions) -> anyhow::Result<u8> {
    let machine = machine::build(&Description::default())?;
    let tour = Tour {
        story: Story::new(stdout()),
        contexts: machine.contexts().clone(),
        attachments: Mutex::default(),
        device: Device::of(&machine).context("no device of the machine does DMA")?,
    };
    let mut paths = traced(machine.paths(), &(Arc::new(tour) as Arc<dyn Sink>));
    if let Some(path) = &options.trace {
        paths = traced(&paths, &trace_file(path)?);
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let spaces = Processes::new(machine.memory());
    let mut config = Config::new(own, Arc::new(paths), spaces);
    config.arguments = vec!["try-client".into()];
    let outcome = swiommu_supervisor::run(config)?;
    Ok(outcome.exit_code())
}

/// What the client does.
pub(crate) fn client() -> anyhow::Result<u8> {
    swiommu_client::tour()?;
    Ok(0)
}
