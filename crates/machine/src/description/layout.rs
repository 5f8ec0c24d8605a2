//! What a description means, once everything that was left open is found.

use std::collections::{BTreeMap, BTreeSet};

use super::setting::list;
use super::{Description, DescriptionError, PciAddress};
use crate::model::{DeviceModel, UnitModel};

/// A unit with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedUnit {
    /// The name.
    pub name: String,
    /// Which IOMMU it is.
    pub model: UnitModel,
}

/// A device in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedDevice {
    /// Which device it is.
    pub model: DeviceModel,
    /// The position of its IOMMU among the units.
    pub unit: usize,
    /// Where it is.
    pub address: PciAddress,
    /// Its group.
    pub group: u32,
}

/// What a machine has, with nothing left open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The IOMMUs.
    pub units: Vec<NamedUnit>,
    /// The devices: the first is `/dev/vfio/devices/vfio0`.
    pub devices: Vec<PlacedDevice>,
}

/// Which entry of a description is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Culprit {
    /// The unit at this position.
    Unit(usize),
    /// The device at this position.
    Device(usize),
}

pub(crate) type Wrong = (Culprit, DescriptionError);

impl Layout {
    pub(crate) fn of(description: &Description) -> Result<Self, Wrong> {
        let units = name(description)?;
        let devices = place(description, &units)?;
        Ok(Self { units, devices })
    }
}

fn name(description: &Description) -> Result<Vec<NamedUnit>, Wrong> {
    let mut units: Vec<NamedUnit> = Vec::new();
    for (n, unit) in description.units.iter().enumerate() {
        let name = unit.name.clone().unwrap_or_else(|| format!("iommu{n}"));
        if units.iter().any(|other| other.name == name) {
            return Err((Culprit::Unit(n), DescriptionError::NameTaken(name)));
        }
        let model = unit.model.clone();
        units.push(NamedUnit { name, model });
    }
    Ok(units)
}

fn place(description: &Description, units: &[NamedUnit]) -> Result<Vec<PlacedDevice>, Wrong> {
    let given = description.devices.iter();
    let mut addresses: BTreeSet<PciAddress> = BTreeSet::new();
    for (n, address) in given.clone().enumerate() {
        if let Some(address) = address.address
            && !addresses.insert(address)
        {
            return Err((Culprit::Device(n), DescriptionError::AddressTaken(address)));
        }
    }
    let named: BTreeSet<u32> = given.clone().filter_map(|device| device.group).collect();
    let mut own_groups = (0..).filter(|group| !named.contains(group));
    let mut behind: BTreeMap<u32, usize> = BTreeMap::new();
    let mut placed = Vec::new();
    for (n, device) in given.enumerate() {
        let wrong = |error| (Culprit::Device(n), error);
        let unit = find(units, device.unit.as_deref()).map_err(wrong)?;
        let address = device.address.or_else(|| free(&addresses));
        let address = address.ok_or_else(|| wrong(DescriptionError::NoFreeAddress))?;
        addresses.insert(address);
        let group = device
            .group
            .or_else(|| own_groups.next())
            .unwrap_or_default();
        if *behind.entry(group).or_insert(unit) != unit {
            return Err(wrong(DescriptionError::GroupSplit(group)));
        }
        placed.push(PlacedDevice {
            model: device.model.clone(),
            unit,
            address,
            group,
        });
    }
    Ok(placed)
}

/// The position of a unit; without a name, the first.
fn find(units: &[NamedUnit], name: Option<&str>) -> Result<usize, DescriptionError> {
    let mut names = units.iter().map(|unit| unit.name.as_str());
    let position = match name {
        Some(name) => names.clone().position(|other| other == name),
        None => names.next().map(|_| 0),
    };
    position.ok_or_else(|| DescriptionError::NoSuchUnit {
        name: name.unwrap_or_default().to_owned(),
        allowed: list(units.iter().map(|unit| unit.name.as_str())),
    })
}

/// The first function of the first bus, other than the root's, that has no device.
fn free(taken: &BTreeSet<PciAddress>) -> Option<PciAddress> {
    (1..=u8::MAX).find_map(|bus| {
        let first = u16::from(bus) << 8;
        let whole_bus = PciAddress::new(first)..=PciAddress::new(first | 0xff);
        let is_free = taken.range(whole_bus).next().is_none();
        is_free.then_some(PciAddress::new(first))
    })
}
