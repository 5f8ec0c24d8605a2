//! The device behind VT-d, which does DMA while the client has it attached.

use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_addr::Iova;
use swiommu_client::guest::{DMA_ADDRESS, DMA_LEN};
use swiommu_inspect::{Call, Walk};
use swiommu_iommu::{DmaPort, Pasid, Trace};
use swiommu_machine::Machine;
use swiommu_mem::PhysicalMemory;

/// The first device of the machine. Once it is attached, it reads the same address after each call of the client.
#[derive(Debug)]
pub(super) struct Device {
    memory: Arc<PhysicalMemory>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    port: DmaPort,
    attached: bool,
    /// What was told last.
    told: Option<Seen>,
}

/// What the device read, and the walk that would be now.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    read: Result<String, String>,
    walk: Trace,
    /// What lies where the walk leads.
    there: Option<String>,
}

impl Device {
    /// The first device that does DMA.
    pub(super) fn of(machine: &Machine) -> Option<Self> {
        let mut devices = machine.devices().iter();
        let port = devices.find_map(|device| device.endpoint().port(Pasid::NONE))?;
        Some(Self {
            memory: machine.memory().clone(),
            state: Mutex::new(State {
                port,
                attached: false,
                told: None,
            }),
        })
    }

    /// Reads after a call of the client. Returns what is new.
    pub(super) fn after(&self, call: &Call) -> Option<String> {
        let mut state = self.state.lock();
        match call.name.as_ref() {
            "VFIO_DEVICE_ATTACH_IOMMUFD_PT" => state.attached = call.result.is_ok(),
            "VFIO_DEVICE_DETACH_IOMMUFD_PT" => state.attached = false,
            _ => {}
        }
        if !state.attached {
            return None;
        }
        let seen = self.look(&mut state.port);
        if state.told.as_ref() == Some(&seen) {
            return None;
        }
        let told = state.told.replace(seen.clone());
        let walk = told.is_none_or(|told| told.walk != seen.walk);
        Some(tell(&seen, walk.then_some(&seen.walk)))
    }

    fn look(&self, port: &mut DmaPort) -> Seen {
        let iova = Iova::new(DMA_ADDRESS);
        let mut bytes = [0; DMA_LEN];
        let read = port.read(iova, &mut bytes);
        let read = read.map(|()| text(&bytes));
        let walk = port.trace(iova);
        let there = walk.end.as_ref().ok().and_then(|found| {
            let mut bytes = [0; DMA_LEN];
            let there = self.memory.read(found.resolve(iova), &mut bytes);
            there.ok().map(|()| text(&bytes))
        });
        Seen {
            read: read.map_err(|error| error.to_string()),
            walk,
            there,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tell(seen: &Seen, walk: Option<&Trace>) -> String {
    let news = match &seen.read {
        Err(refused) => format!("The device cannot read: {refused}."),
        Ok(read) if seen.there.as_ref() == Some(read) => {
            format!("The device reads {read:?} by DMA.")
        }
        Ok(read) => format!(
            "The device still reads {read:?}, by a stale translation: nobody has invalidated it."
        ),
    };
    let iova = Iova::new(DMA_ADDRESS);
    match walk {
        Some(trace) => format!("{news}\n{}", Walk { iova, trace }),
        None => news,
    }
}
