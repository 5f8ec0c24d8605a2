//! The machine that the options describe, and `swiommu machine`.

use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stdout};

use anyhow::Context as _;
use swiommu_iommu::{EndpointFeatures, ReservedKind};
use swiommu_machine::{Description, Machine, MachineDevice, MachineUnit};
use swiommu_mem::install_sigbus_handler;

use crate::args::{MachineCommand, MachineOptions};

/// A machine, and what survives of it when a client truncates a mapped file.
pub(crate) fn build(description: &Description) -> anyhow::Result<Machine> {
    install_sigbus_handler().context("cannot install a handler of SIGBUS")?;
    Ok(Machine::new(description)?)
}

/// What the options say.
pub(crate) fn description(options: &MachineOptions) -> anyhow::Result<Description> {
    let Some(path) = &options.machine else {
        let description = Description::of(options.iommu.clone(), options.device.clone());
        description.layout()?;
        return Ok(description);
    };
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Description::from_toml(&text).with_context(|| name.to_string())
}

/// Prints what the options mean. Returns the exit code.
pub(crate) fn print(options: &MachineCommand) -> anyhow::Result<u8> {
    let description = description(&options.machine)?;
    let text = if options.toml {
        description.to_toml()
    } else {
        let machine = build(&description)?;
        let units = machine.units().iter().map(unit);
        let devices = machine.devices().iter().map(|it| device(it, &machine));
        units.chain(devices).collect()
    };
    // Whether anybody reads it changes nothing.
    let _ = write!(stdout(), "{text}");
    Ok(0)
}

fn unit(unit: &MachineUnit) -> String {
    let described = unit.described();
    let model = &described.model;
    let mut text = format!("{}: {}\n  {model}\n", described.name, model.meaning());
    for line in unit.summary() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn device(device: &MachineDevice, machine: &Machine) -> String {
    let described = device.described();
    let endpoint = device.endpoint();
    let unit = machine.units().get(described.unit);
    let mut text = format!(
        "{}: {} at {}, behind {}, group {}\n",
        device.vfio().path(),
        described.model,
        described.address,
        unit.map_or("nothing", |unit| &unit.described().name),
        described.group,
    );
    let mut abilities = abilities(endpoint.features());
    if endpoint.features().contains(EndpointFeatures::PASID_ATTACH) {
        abilities.push(format!("PASIDs below {:#x}", endpoint.max_pasids()));
    }
    let _ = writeln!(text, "  {}", abilities.join(", "));
    for region in endpoint.reserved_regions() {
        let reason = reason(region.kind);
        let _ = writeln!(text, "  {} is reserved: {reason}", region.range);
    }
    text
}

fn abilities(features: EndpointFeatures) -> Vec<String> {
    let named = [
        (EndpointFeatures::CACHE_COHERENCY, "coherent DMA"),
        (
            EndpointFeatures::ENFORCE_CACHE_COHERENCY,
            "coherency can be enforced",
        ),
        (EndpointFeatures::DIRTY_TRACKING, "dirty tracking"),
        (EndpointFeatures::ATS, "ATS"),
    ];
    let present = named
        .iter()
        .filter(|(feature, _)| features.contains(*feature));
    present.map(|(_, name)| (*name).to_owned()).collect()
}

fn reason(kind: ReservedKind) -> &'static str {
    match kind {
        ReservedKind::Direct => "always mapped one to one",
        ReservedKind::DirectRelaxable => "mapped one to one until its driver lets go",
        ReservedKind::Reserved => "not usable",
        ReservedKind::Msi => "the hardware takes interrupts there",
        ReservedKind::SoftwareMsi => "interrupt doorbells are mapped there",
    }
}
