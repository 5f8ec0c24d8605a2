use std::num::NonZeroUsize;

use proptest::option;
use proptest::prelude::*;
use swiommu_iommu::Retention;
use swiommu_iommu::smmuv3::spec::AddressSize;
use swiommu_iommu::smmuv3::{SmmuFeatures, SmmuSettings};
use swiommu_iommu::vtd::VtdSettings;
use swiommu_iommu::vtd::spec::AddressWidth;

use swiommu_pgtable::HardwareUpdate;

use super::*;
use crate::{DmaSettings, MockSettings};

fn retention() -> impl Strategy<Value = Retention> {
    prop_oneof![
        Just(Retention::LegalMaximum),
        Just(Retention::Off),
        (1_usize..).prop_map(|entries| Retention::Small(NonZeroUsize::new(entries).unwrap())),
    ]
}

fn model() -> impl Strategy<Value = UnitModel> {
    prop_oneof![
        vtd().prop_map(UnitModel::Vtd),
        smmu().prop_map(UnitModel::Smmuv3),
        Just(UnitModel::Mock(MockSettings)),
    ]
}

fn vtd() -> impl Strategy<Value = VtdSettings> {
    let widths = [
        AddressWidth::Bits39,
        AddressWidth::Bits48,
        AddressWidth::Bits57,
    ];
    let chosen = (
        prop::sample::select(widths.to_vec()),
        retention(),
        option::of(retention()),
        any::<bool>(),
    );
    chosen.prop_map(|(width, caches, structures, erratum_772415)| VtdSettings {
        width,
        caches,
        structures,
        erratum_772415,
    })
}

fn smmu() -> impl Strategy<Value = SmmuSettings> {
    let updates = [
        HardwareUpdate::None,
        HardwareUpdate::Accessed,
        HardwareUpdate::AccessedAndDirty,
    ];
    let chosen = (
        prop::sample::select(AddressSize::ALL.to_vec()),
        0..=20_u8,
        prop::sample::select(updates.to_vec()),
        retention(),
        any::<u32>().prop_map(SmmuFeatures::from_bits_truncate),
    );
    chosen.prop_map(
        |(output, ssid_bits, updates, caches, features)| SmmuSettings {
            output,
            ssid_bits,
            updates,
            caches,
            features,
        },
    )
}

fn unit() -> impl Strategy<Value = UnitDescription> {
    (option::of("[a-zA-Z0-9_-]{1,8}"), model())
        .prop_map(|(name, model)| UnitDescription { name, model })
}

fn device() -> impl Strategy<Value = DeviceDescription> {
    let address = any::<u16>().prop_map(PciAddress::new);
    let (unit, group) = ("[a-zA-Z0-9_-]{1,8}", any::<u32>());
    (option::of(unit), option::of(address), option::of(group)).prop_map(|(unit, address, group)| {
        DeviceDescription {
            model: DeviceModel::Dma(DmaSettings),
            unit,
            address,
            group,
        }
    })
}

/// Devices that name the units that there are.
fn description() -> impl Strategy<Value = Description> {
    let units = prop::collection::vec(unit(), 0..5);
    let devices = prop::collection::vec((device(), any::<prop::sample::Index>()), 0..8);
    (units, devices).prop_map(|(units, devices)| {
        let known = Description::of(units.clone(), Vec::new()).devices;
        let place = |(mut device, index): (DeviceDescription, prop::sample::Index)| {
            device.unit = device.unit.and(index.get(&known).unit.clone());
            device
        };
        Description::of(units, devices.into_iter().map(place).collect())
    })
}

proptest! {
    #[test]
    fn an_entry_reads_as_it_is_shown(unit in unit(), device in device()) {
        prop_assert_eq!(unit.to_string().parse(), Ok(unit));
        prop_assert_eq!(device.to_string().parse(), Ok(device));
    }

    #[test]
    fn a_file_reads_as_it_is_written(description in description()) {
        let read = Description::from_toml(&description.to_toml());
        match description.layout() {
            Ok(layout) => {
                let read = read.unwrap();
                prop_assert_eq!(read.layout(), Ok(layout));
                prop_assert_eq!(read, description);
            }
            Err(error) => prop_assert_eq!(read.unwrap_err().problem, error.into()),
        }
    }

    #[test]
    fn a_layout_leaves_nothing_open(description in description()) {
        if let Ok(Layout { units, devices }) = description.layout() {
            for (n, device) in devices.iter().enumerate() {
                prop_assert!(device.unit < units.len());
                let others = || devices.iter().enumerate().filter(move |(m, _)| *m != n);
                prop_assert!(others().all(|(_, other)| other.address != device.address));
                let alone = description.devices[n].group.is_none();
                prop_assert!(!alone || others().all(|(_, other)| other.group != device.group));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(vtd|smmuv3|mock|dma|)[:,]?((aw|caches|name|oas|ssid-bits|ats|at|group)[=,:]?.{0,6},?){0,3}") {
        let _ = text.parse::<UnitDescription>();
        let _ = text.parse::<DeviceDescription>();
        let _ = text.parse::<PciAddress>();
    }

    #[test]
    fn no_file_makes_it_panic(file in "(\\[\\[?(iommu|device|x)\\]?\\]\n|(kind|aw|at|unit|ä)( ?= ?)(\"(vtd|dma|é)\"|[0-9]{1,30}|0x1|1\\.5|true|\\[\\]|\\{\\})\n|.{0,9}){0,9}") {
        if let Err(error) = Description::from_toml(&file) {
            prop_assert!(error.line <= file.matches('\n').count() + 1);
        }
    }
}

fn wrong<E: Entry>(text: &str) -> String {
    text.parse::<E>().unwrap_err().to_string()
}

#[test]
fn an_error_says_what_is_allowed() {
    for (text, message) in [
        (
            "amdvi",
            "there is no IOMMU of kind `amdvi`: there are `vtd`, `smmuv3`, `mock`",
        ),
        (
            "",
            "there is no IOMMU of kind ``: there are `vtd`, `smmuv3`, `mock`",
        ),
        ("vtd:aw=50", "`aw` cannot be `50`: it is 39, 48 or 57"),
        ("vtd:aw", "`aw` is not of the form SETTING=VALUE"),
        ("vtd:", "`` is not of the form SETTING=VALUE"),
        ("vtd:aw=39,aw=39", "`aw` is set twice"),
        ("mock,x=1", "`mock` has no setting `x`: there are `name`"),
    ] {
        assert_eq!(wrong::<UnitDescription>(text), message, "{text}");
    }
    for (text, message) in [
        (
            "dma:at=1:00.0",
            "`at` cannot be `1:00.0`: it is BUS:DEVICE.FUNCTION, such as 01:00.0",
        ),
        (
            "dma:group=-1",
            "`group` cannot be `-1`: it is a number below 4294967296",
        ),
        (
            "dma:unit=",
            "`unit` cannot be ``: it is the name of an IOMMU",
        ),
    ] {
        assert_eq!(wrong::<DeviceDescription>(text), message, "{text}");
    }
}

#[test]
fn an_error_in_a_file_says_where() {
    let dma = "[[device]]\nkind = \"dma\"\n";
    for (text, message) in [
        (
            "[[iommu]]\n",
            "line 1, column 1: `kind` is missing: it is one of `vtd`, `smmuv3`, `mock`",
        ),
        (
            "[iommu]\n",
            "line 1, column 1: `iommu` is table, where tables `[[iommu]]` belong",
        ),
        (
            "x = 1\n",
            "line 1, column 1: there are tables `[[iommu]]` and `[[device]]`, but no `x`",
        ),
        (
            "[[iommu]]\nkind = \"vtd\"\naw = 50\n",
            "line 3, column 6: `aw` cannot be `50`: it is 39, 48 or 57",
        ),
        (
            "[[iommu]]\nkind = \"vtd\"\naw = 1.5\n",
            "line 3, column 6: a value is text, a whole number, true or false, and not float",
        ),
        (
            "[[iommu]]\n  höhe = 1\nkind = \"mock\"\n",
            "line 2, column 4: invalid unquoted key",
        ),
        (
            "[[iommu]]\nname = \"ä\" # ö\nkind = \"mock\"\n",
            "line 2, column 8: `name` cannot be `ä`",
        ),
        (
            &format!("{dma}unit = \"host\"\n"),
            "line 1, column 1: there is no IOMMU `host`: there are `iommu0`",
        ),
        (
            &format!("{dma}at = \"01:00.0\"\n\n{dma}at = \"0000:01:00.0\"\n"),
            "line 5, column 1: two devices have the address 0000:01:00.0",
        ),
    ] {
        let error = Description::from_toml(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}{error}");
    }
}

#[test]
fn a_name_of_digits_stays_as_it_is() {
    let description = Description::of(entries(&["vtd:name=007"]), entries(&["dma:unit=007"]));
    let read = Description::from_toml(&description.to_toml());
    assert_eq!(read.as_ref(), Ok(&description));
    // Without quotes it would be a number, which TOML does not begin with a zero.
    let bare = description.to_toml().replace("\"007\"", "7");
    assert_eq!(
        Description::from_toml(&bare).unwrap().units[0]
            .name
            .as_deref(),
        Some("7")
    );
}

fn entries<E: Entry>(texts: &[&str]) -> Vec<E> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn layout(units: &[&str], devices: &[&str]) -> Result<Layout, DescriptionError> {
    Description::of(entries(units), entries(devices)).layout()
}

#[test]
fn what_is_left_open_is_found() {
    let places = |units: &[&str], devices: &[&str]| -> Vec<(usize, String, u32)> {
        let placed = layout(units, devices).unwrap().devices.into_iter();
        placed
            .map(|device| (device.unit, device.address.to_string(), device.group))
            .collect()
    };
    let at = |address: &str| format!("0000:{address}");
    assert_eq!(places(&[], &[]), [(0, at("01:00.0"), 0)]);
    assert_eq!(
        places(&["vtd", "mock:name=m"], &[]),
        [(0, at("01:00.0"), 0), (1, at("02:00.0"), 1)]
    );
    assert_eq!(
        places(
            &["vtd", "vtd"],
            &[
                "dma:at=01:1f.7,group=0",
                "dma",
                "dma:unit=iommu1",
                "dma:group=0"
            ]
        ),
        [
            (0, at("01:1f.7"), 0),
            (0, at("02:00.0"), 1),
            (1, at("03:00.0"), 2),
            (0, at("04:00.0"), 0),
        ]
    );
}

#[test]
fn parts_do_not_contradict_each_other() {
    for (units, devices, message) in [
        (
            &["vtd:name=a", "mock:name=a"][..],
            &[][..],
            "two IOMMUs have the name `a`",
        ),
        (
            &["vtd:name=iommu1", "mock"],
            &[],
            "two IOMMUs have the name `iommu1`",
        ),
        (
            &["vtd", "vtd"],
            &["dma:group=7", "dma:unit=iommu1,group=7"],
            "group 7 has devices behind several IOMMUs, which no group can have",
        ),
    ] {
        let error = layout(units, devices).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let many = vec!["dma"; 256];
    assert_eq!(layout(&[], &many), Err(DescriptionError::NoFreeAddress));
    assert!(layout(&[], &many[1..]).is_ok());
}
