//! DMA through a guest's page tables and ours, on Intel VT-d and on Arm SMMUv3: what a guest changes in its tables is seen when it
//! says so, and not before.
//!
//! ```console
//! $ cargo run --package swiommu-machine --example nested
//! $ cargo run --package swiommu-machine --example nested -- smmuv3
//! ```

mod guest;
mod smmuv3;
mod vtd;

use std::error::Error;
use std::sync::Arc;

use swiommu_addr::Iova;
use swiommu_iommu::{DmaPort, Endpoint, Pasid};
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::Host;

use guest::Guest;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The address that the device uses, and one that the guest has nothing for.
const IOVA: Iova = Iova::new(0x5000);
const NOTHING: Iova = Iova::new(0x6000);

/// What the architectures have different words for.
trait Architecture {
    const NAME: &'static str;

    /// A unit, and a device behind it.
    fn new(host: &Host) -> Self;

    fn endpoint(&self) -> Arc<dyn Endpoint>;

    /// What a guest writes into an entry for a table, and for a page that may be written.
    const TABLE: u64;
    const PAGE: u64;

    /// Makes the guest's page table, whose root is [`Guest::ROOT`], an object.
    fn nest(&mut self, guest: &Guest, device: ObjectId, parent: ObjectId) -> Result<ObjectId>;

    /// What the guest's driver issues after it has changed the entry of [`IOVA`].
    fn invalidate(&self, guest: &Guest, nested: ObjectId) -> Result<()>;

    /// What the guest is told of a fault, if it is.
    fn told(&self, guest: &Guest) -> Result<Option<String>>;
}

fn read(device: &mut DmaPort) -> Result<String> {
    let mut bytes = [0; 5];
    device.read(IOVA, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    println!("  device: reads {text:?} at {IOVA}");
    Ok(text)
}

fn story<A: Architecture>() -> Result<()> {
    println!("{}", A::NAME);
    let host = Host::new()?;
    let mut machine = A::new(&host);
    let guest = Guest::new(&host)?;
    let iommu = &guest.iommu;

    println!("The guest's memory is mapped in a nesting parent.");
    let ioas = iommu.ioas_alloc()?;
    let (memory, len) = (guest.memory.at(0), guest.memory.len());
    iommu.map_fixed(ioas, memory, len, Guest::START)?;
    let device = iommu.context()?.bind(machine.endpoint())?;
    let parent = iommu.hwpt_alloc(device.id(), ioas, HwptFlags::NEST_PARENT)?;

    println!("The guest builds its own tables, and the device is attached through both.");
    let (first, second) = (Guest::page(8), Guest::page(9));
    guest.write(first, b"first")?;
    guest.write(second, b"later")?;
    guest.build_tables(A::TABLE)?;
    guest.set_leaf(first | A::PAGE)?;
    let nested = machine.nest(&guest, device.id(), parent)?;
    device.attach(Pasid::NONE, nested)?;
    let port = machine.endpoint().port(Pasid::NONE);
    let mut port = port.ok_or("the device makes no requests")?;
    assert_eq!(read(&mut port)?, "first");

    println!(
        "The guest changes the entry, and forgets to say so: the device still goes by the old one."
    );
    guest.set_leaf(second | A::PAGE)?;
    assert_eq!(read(&mut port)?, "first");

    println!("Now it says so.");
    machine.invalidate(&guest, nested)?;
    println!("  guest: invalidates the page of {IOVA}");
    assert_eq!(read(&mut port)?, "later");

    println!("What the guest has nothing for is a fault of its tables.");
    let refused = port.read(NOTHING, &mut [0]).expect_err("nothing is there");
    println!("  device: {refused}");
    if let Some(event) = machine.told(&guest)? {
        println!("  guest: takes from its event queue {event}");
    }

    println!("The second stage is emptied: nothing that was cached of both stages is left.");
    iommu.unmap_all(ioas)?;
    let refused = port.read(IOVA, &mut [0]).expect_err("nothing is mapped");
    println!("  device: {refused}");
    Ok(())
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => {
            story::<vtd::Vtd>()?;
            println!();
            story::<smmuv3::Smmuv3>()
        }
        Some("vtd") => story::<vtd::Vtd>(),
        Some("smmuv3") => story::<smmuv3::Smmuv3>(),
        Some(other) => Err(format!("{other:?} is none of `vtd` and `smmuv3`").into()),
    }
}
