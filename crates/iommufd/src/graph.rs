//! The objects of a context as a graph, for people to look at.

use std::sync::OnceLock;

use swiommu_iommu::DomainFeatures;

use crate::Context;
use crate::fault::Fault;
use crate::hwpt::{HwptPaging, NestedOn};
use crate::ioas::Ioas;
use crate::object::{Headed, Held, Object, ObjectId};

/// One object as it is at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its number.
    pub id: ObjectId,
    /// The kernel's name of its type, such as `HWPT_PAGING`.
    pub type_name: &'static str,
    /// How many other objects, drivers and calls use it; with users it cannot be destroyed.
    pub users: u32,
    /// What it refers to, and as what.
    pub refers_to: Vec<Reference>,
    /// The essential numbers, each with its name.
    pub facts: Vec<(&'static str, String)>,
}

/// An arrow of the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// The object referred to.
    pub to: ObjectId,
    /// As what: empty where the types say it all, `PASID 0x1` for an attachment by PASID.
    pub label: String,
}

impl Reference {
    fn plain(to: ObjectId) -> Self {
        Self {
            to,
            label: String::new(),
        }
    }
}

impl Context {
    /// All objects in ascending order of their numbers.
    pub fn graph(&self) -> Vec<Node> {
        self.state.objects.list().iter().map(node).collect()
    }
}

fn node(object: &Object) -> Node {
    let (refers_to, facts) = match object {
        Object::Ioas(ioas) => (Vec::new(), ioas_facts(ioas)),
        Object::Paging(hwpt) => (
            with_faults(hwpt.ioas.header().id(), &hwpt.fault),
            paging_facts(hwpt),
        ),
        Object::Nested(hwpt) => {
            let on = match &hwpt.on {
                NestedOn::Paging(parent) => parent.header().id(),
                NestedOn::Viommu(viommu) => viommu.header().id(),
            };
            (
                with_faults(on, &hwpt.fault),
                vec![("driver", hwpt.domain.driver().to_owned())],
            )
        }
        Object::Device(device) => {
            let attachments = device.group.attachments_of(device);
            let refers_to = attachments.into_iter().map(|(pasid, to)| {
                let label = if pasid.is_none() {
                    String::new()
                } else {
                    pasid.to_string()
                };
                Reference { to, label }
            });
            (
                refers_to.collect(),
                vec![("driver", device.endpoint.unit().driver().to_owned())],
            )
        }
        Object::Access(access) => (
            access
                .attached_to()
                .map(Reference::plain)
                .into_iter()
                .collect(),
            Vec::new(),
        ),
        Object::Viommu(viommu) => (
            vec![Reference::plain(viommu.parent.header().id())],
            Vec::new(),
        ),
        Object::Vdevice(vdevice) => {
            let facts = vec![("virt_id", format!("{:#x}", vdevice.virt_id.0))];
            let refers_to = [vdevice.viommu.header().id(), vdevice.device.header().id()];
            (refers_to.map(Reference::plain).into(), facts)
        }
        Object::Veventq(veventq) => (
            vec![Reference::plain(veventq.viommu.header().id())],
            vec![
                ("type", format!("{:#x}", veventq.event_type)),
                ("waiting", veventq.queue.waiting().to_string()),
            ],
        ),
        Object::HwQueue(queue) => (
            vec![Reference::plain(queue.viommu.header().id())],
            vec![("index", queue.index.to_string())],
        ),
        Object::Fault(fault) => {
            let (waiting, delivered) = fault.queue.groups();
            let facts = vec![
                ("waiting", waiting.to_string()),
                ("not answered", delivered.to_string()),
            ];
            (Vec::new(), facts)
        }
        Object::Driver(_) => (Vec::new(), Vec::new()),
    };
    let id = object.header().id();
    Node {
        id,
        type_name: object.type_name(),
        users: object.header().users(),
        refers_to,
        facts,
    }
}

/// What a page table is on, and its fault queue if it has one.
fn with_faults(on: ObjectId, fault: &OnceLock<Held<Fault>>) -> Vec<Reference> {
    let queue = fault.get().map(|fault| Reference {
        to: fault.header().id(),
        label: "faults".to_owned(),
    });
    std::iter::once(Reference::plain(on)).chain(queue).collect()
}

fn ioas_facts(ioas: &Ioas) -> Vec<(&'static str, String)> {
    let (areas, bytes) = ioas.usage();
    vec![
        ("areas", areas.to_string()),
        ("bytes", format!("{bytes:#x}")),
    ]
}

fn paging_facts(hwpt: &HwptPaging) -> Vec<(&'static str, String)> {
    let mut facts = vec![("origin", hwpt.origin.to_string())];
    if hwpt.domain.features().contains(DomainFeatures::NEST_PARENT) {
        facts.push(("nesting", "parent".to_owned()));
    }
    facts.push(("aperture", hwpt.domain.aperture().to_string()));
    facts
}
