//! From a device's page requests to a fault queue (§6.1, routing).

use std::sync::{Arc, Weak};

use swiommu_iommu::{Endpoint, PageRequest, PageRequestHandler, PageRequestPosition, PageResponse};

use super::Device;
use crate::fault::{FaultGroup, Source};
use crate::object::Headed;

/// Takes the page requests of a bound device.
#[derive(Debug)]
pub(super) struct Router(Weak<Device>);

impl Router {
    pub(super) fn new(device: &Arc<Device>) -> Arc<Self> {
        Arc::new(Self(Arc::downgrade(device)))
    }
}

impl PageRequestHandler for Router {
    fn handle(&self, request: PageRequest) {
        if let Some(device) = self.0.upgrade() {
            device.route(request);
        }
    }
}

impl Device {
    /// Keeps a request until its group is complete, then gives the group to the queue of the page table that it is about. Where there
    /// is none, the device is told to give up.
    fn route(&self, request: PageRequest) {
        let requests = {
            let mut incomplete = self.incomplete.lock();
            if request.position == PageRequestPosition::More {
                incomplete.push(request);
                return;
            }
            let same = |earlier: &mut PageRequest| {
                earlier.group == request.group && earlier.pasid == request.pasid
            };
            let mut requests: Vec<PageRequest> = incomplete.extract_if(.., same).collect();
            requests.push(request);
            requests
        };
        let endpoint: &Arc<dyn Endpoint> = &self.endpoint;
        let PageRequest { pasid, group, .. } = request;
        let queued = self.group.with_fault_queue(self, pasid, |queue, attached| {
            let device = self.header().id();
            let source = Source {
                device,
                attached,
                endpoint: endpoint.clone(),
            };
            queue.push(FaultGroup { source, requests });
        });
        if queued.is_none() {
            endpoint.respond(pasid, group, PageResponse::Invalid);
        }
    }
}
