//! Every struct and every number of the crate, by the names of the headers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use swiommu_abi::command::COMMANDS;
use swiommu_abi::vfio::{self, container, device, feature, group, irq, migration, region, reset};
use swiommu_abi::{
    Field, UapiStruct, dirty, fault, hw_info, hw_queue, hwpt, invalidate, ioas, mock, nr, object,
    option, test_cmd, veventq, viommu,
};

/// A struct of ours.
pub(crate) struct Struct {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    /// Those that the header knows.
    pub(crate) fields: Vec<Field>,
}

fn describe<T: UapiStruct>() -> Struct {
    let known = |field: &&Field| !field.is_padding() && field.name != "body";
    Struct {
        name: T::NAME,
        size: size_of::<T>(),
        fields: T::FIELDS.iter().filter(known).copied().collect(),
    }
}

macro_rules! describe_all {
    ($($module:ident: $($name:ident)*;)*) => {
        vec![$($(describe::<$module::$name>(),)*)*]
    };
}

pub(crate) fn structs() -> Vec<Struct> {
    describe_all! {
        object: IommuDestroy;
        ioas: IommuIoasAlloc IommuIovaRange IommuIoasIovaRanges IommuIoasAllowIovas IommuIoasMap IommuIoasMapFile IommuIoasCopy
            IommuIoasUnmap IommuIoasChangeProcess IommuIoasNoiommuGetPa;
        option: IommuOption IommuVfioIoas;
        hwpt: IommuHwptAlloc IommuHwptVtdS1 IommuHwptArmSmmuv3 IommuHwptAmdGuest;
        dirty: IommuHwptSetDirtyTracking IommuHwptGetDirtyBitmap;
        hw_info: IommuHwInfo IommuHwInfoVtd IommuHwInfoArmSmmuv3 IommuHwInfoTegra241Cmdqv IommuHwInfoAmd;
        invalidate: IommuHwptInvalidate IommuHwptVtdS1Invalidate IommuViommuArmSmmuv3Invalidate;
        fault: IommuFaultAlloc IommuHwptPgfault IommuHwptPageResponse;
        viommu: IommuViommuAlloc IommuViommuTegra241Cmdqv IommuVdeviceAlloc;
        veventq: IommuVeventqAlloc IommufdVeventHeader IommuVeventArmSmmuv3 IommuVeventTegra241Cmdqv;
        hw_queue: IommuHwQueueAlloc;
        test_cmd: IommuTestCmd AddReserved MockDomain MockDomainFlags MockDomainReplace CheckMap CheckRefs CreateAccess
            DestroyAccessPages AccessPages AccessRw MemoryLimit AccessReplaceIoas Dirty CheckIotlb TriggerIopf CheckDevCache
            TriggerVevent PasidAttach PasidReplace PasidDetach PasidCheck DmabufGet DmabufRevoke;
        mock: IommuTestHwInfo IommuHwptSelftest IommuHwptInvalidateSelftest IommuViommuSelftest IommuViommuInvalidateSelftest
            IommuViommuEventSelftest;
        vfio: VfioInfoCapHeader;
        container: VfioIommuType1Info VfioIovaRange VfioIommuType1InfoCapIovaRange VfioIommuType1InfoCapMigration
            VfioIommuType1InfoDmaAvail VfioIommuType1DmaMap VfioIommuType1DmaUnmap VfioBitmap VfioIommuType1DirtyBitmap
            VfioIommuType1DirtyBitmapGet;
        group: VfioGroupStatus;
        device: VfioDeviceInfo VfioDeviceInfoCapPciAtomicComp VfioDeviceBindIommufd VfioDeviceAttachIommufdPt
            VfioDeviceDetachIommufdPt;
        region: VfioRegionInfo VfioRegionInfoCapSparseMmap VfioRegionSparseMmapArea VfioRegionInfoCapType VfioDeviceIoeventfd;
        irq: VfioIrqInfo VfioIrqSet;
        reset: VfioPciHotResetInfo VfioPciDependentDevice VfioPciHotReset;
        feature: VfioDeviceFeature VfioDeviceLowPowerEntryWithWakeup VfioDeviceFeatureBusMaster VfioDeviceFeatureDmaBuf
            VfioRegionDmaRange VfioDeviceFeatureZpciErr;
        migration: VfioDeviceFeatureMigration VfioDeviceFeatureMigState VfioPrecopyInfo VfioDeviceFeatureMigDataSize
            VfioDeviceFeatureDmaLoggingControl VfioDeviceFeatureDmaLoggingRange VfioDeviceFeatureDmaLoggingReport;
    }
}

/// Numbers by name, gathered from the tables, the flags and the enumerations.
#[derive(Default)]
struct Numbers(BTreeMap<String, u32>);

impl Numbers {
    fn add(&mut self, name: &str, number: impl TryInto<u32>) {
        let number = number.try_into().ok().unwrap();
        let name = SPELLED_OTHERWISE
            .iter()
            .find_map(|(ours, theirs)| (*ours == name).then_some(*theirs))
            .unwrap_or(name);
        self.0.insert(name.to_owned(), number);
    }

    fn add_flags<F: bitflags::Flags>(&mut self, pattern: &str)
    where
        F::Bits: TryInto<u32>,
    {
        for flag in F::FLAGS {
            self.add(&pattern.replace('*', flag.name()), flag.value().bits());
        }
    }
}

/// Where the header does not follow its own pattern.
const SPELLED_OTHERWISE: &[(&str, &str)] = &[
    (
        "IOMMU_HWPT_ALLOC_FAULT_ID_VALID",
        "IOMMU_HWPT_FAULT_ID_VALID",
    ),
    (
        "IOMMU_HWPT_INVALIDATE_DATA_ARM_SMMUV3",
        "IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3",
    ),
    ("MOCK_ACCESS_RW_SYZ", "MOCK_FLAGS_ACCESS_SYZ"),
    (
        "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOV2",
        "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2",
    ),
    ("VFIO_DEVICE_IOEVENTFD_WIDTH_8", "VFIO_DEVICE_IOEVENTFD_8"),
    ("VFIO_DEVICE_IOEVENTFD_WIDTH_16", "VFIO_DEVICE_IOEVENTFD_16"),
    ("VFIO_DEVICE_IOEVENTFD_WIDTH_32", "VFIO_DEVICE_IOEVENTFD_32"),
    ("VFIO_DEVICE_IOEVENTFD_WIDTH_64", "VFIO_DEVICE_IOEVENTFD_64"),
    (
        "VFIO_IOMMU_TYPE1_INFO_CAP_DMA_AVAIL",
        "VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL",
    ),
    (
        "VFIO_RESERVED_TYPE1_NESTING_IOMMU",
        "__VFIO_RESERVED_TYPE1_NESTING_IOMMU",
    ),
    ("VFIO_SPAPR_TCE_V2_IOMMU", "VFIO_SPAPR_TCE_v2_IOMMU"),
    ("VFIO_TYPE1V2_IOMMU", "VFIO_TYPE1v2_IOMMU"),
];

macro_rules! add_enums {
    ($numbers:ident, $($pattern:literal: $module:ident::$name:ident;)*) => {
        $(for (name, value) in $module::$name::NAMED {
            $numbers.add(&$pattern.replace('*', name), value.0);
        })*
    };
}

macro_rules! add_flags {
    ($numbers:ident, $($pattern:literal: $module:ident::$name:ident;)*) => {
        $($numbers.add_flags::<$module::$name>($pattern);)*
    };
}

macro_rules! add_constants {
    ($numbers:ident, $($module:ident: $($name:ident)*;)*) => {
        $($($numbers.add(stringify!($name), $module::$name);)*)*
    };
}

macro_rules! add_values {
    ($numbers:ident, $($module:ident: $($name:ident)*;)*) => {
        $($($numbers.add(stringify!($name), $module::$name.0);)*)*
    };
}

pub(crate) fn numbers() -> BTreeMap<String, u32> {
    let mut numbers = Numbers::default();
    for command in COMMANDS {
        numbers.add(command.name, command.request);
        if command.request != test_cmd::IOMMU_TEST_CMD {
            let name = command.name.replacen("IOMMU_", "IOMMUFD_CMD_", 1);
            numbers.add(&name, nr(command.request));
        }
    }
    for commands in [container::COMMANDS, group::COMMANDS, device::COMMANDS] {
        for command in commands {
            numbers.add(command.name, command.request);
        }
    }
    add_enums! { numbers,
        "IOMMU_OPTION_*": option::IommufdOption;
        "IOMMU_OPTION_OP_*": option::IommufdOptionOps;
        "IOMMU_VFIO_IOAS_*": option::IommufdVfioIoasOp;
        "IOMMU_HWPT_DATA_*": hwpt::IommuHwptDataType;
        "IOMMU_HW_INFO_TYPE_*": hw_info::IommuHwInfoType;
        "IOMMU_HWPT_INVALIDATE_DATA_*": invalidate::IommuHwptInvalidateDataType;
        "IOMMUFD_PAGE_RESP_*": fault::IommufdPageResponseCode;
        "IOMMU_VIOMMU_TYPE_*": viommu::IommuViommuType;
        "IOMMU_VEVENTQ_TYPE_*": veventq::IommuVeventqType;
        "IOMMU_HW_QUEUE_TYPE_*": hw_queue::IommuHwQueueType;
        "IOMMU_TEST_OP_*": test_cmd::IommuTestOp;
        "MOCK_IOMMUPT_*": mock::MockIommupt;
        "VFIO_*": container::VfioExtension;
        "VFIO_IOMMU_TYPE1_INFO_CAP_*": container::VfioIommuType1InfoCap;
        "VFIO_DEVICE_INFO_CAP_*": device::VfioDeviceInfoCap;
        "VFIO_PCI_*_REGION_INDEX": region::VfioPciRegionIndex;
        "VFIO_REGION_INFO_CAP_*": region::VfioRegionInfoCap;
        "VFIO_PCI_*_IRQ_INDEX": irq::VfioPciIrqIndex;
        "VFIO_DEVICE_FEATURE_*": feature::VfioFeature;
        "VFIO_DEVICE_FEATURE_*": feature::VfioBusMasterOp;
        "VFIO_DEVICE_STATE_*": migration::VfioDeviceMigState;
    }
    add_flags! { numbers,
        "IOMMU_IOAS_MAP_*": ioas::IommufdIoasMapFlags;
        "IOMMU_HWPT_ALLOC_*": hwpt::IommufdHwptAllocFlags;
        "IOMMU_VTD_S1_*": hwpt::IommuHwptVtdS1Flags;
        "IOMMU_HWPT_DIRTY_TRACKING_*": dirty::IommufdHwptSetDirtyTrackingFlags;
        "IOMMU_HWPT_GET_DIRTY_BITMAP_*": dirty::IommufdHwptGetDirtyBitmapFlags;
        "IOMMU_HW_INFO_FLAG_*": hw_info::IommufdHwInfoFlags;
        "IOMMU_HW_CAP_*": hw_info::IommufdHwCapabilities;
        "IOMMU_HW_INFO_VTD_*": hw_info::IommuHwInfoVtdFlags;
        "IOMMU_HW_INFO_ARM_SMMUV3_*": hw_info::IommuHwInfoArmSmmuv3Flags;
        "IOMMU_VTD_INV_FLAGS_*": invalidate::IommuHwptVtdS1InvalidateFlags;
        "IOMMU_PGFAULT_FLAGS_*": fault::IommuHwptPgfaultFlags;
        "IOMMU_PGFAULT_PERM_*": fault::IommuHwptPgfaultPerm;
        "IOMMU_VEVENTQ_FLAG_*": veventq::IommuVeventqFlag;
        "MOCK_FLAGS_DEVICE_*": test_cmd::MockFlagsDevice;
        "MOCK_FLAGS_ACCESS_CREATE_*": test_cmd::MockFlagsAccessCreate;
        "MOCK_FLAGS_ACCESS_*": test_cmd::MockFlagsAccess;
        "MOCK_ACCESS_RW_*": test_cmd::MockAccessRw;
        "IOMMU_TEST_INVALIDATE_FLAG_*": mock::IommuTestInvalidateFlags;
        "VFIO_IOMMU_INFO_*": container::VfioIommuInfoFlags;
        "VFIO_DMA_MAP_FLAG_*": container::VfioDmaMapFlags;
        "VFIO_DMA_UNMAP_FLAG_*": container::VfioDmaUnmapFlags;
        "VFIO_IOMMU_DIRTY_PAGES_FLAG_*": container::VfioIommuDirtyPagesFlags;
        "VFIO_GROUP_FLAGS_*": group::VfioGroupFlags;
        "VFIO_DEVICE_FLAGS_*": device::VfioDeviceFlags;
        "VFIO_PCI_ATOMIC_*": device::VfioPciAtomicComp;
        "VFIO_DEVICE_BIND_FLAG_*": device::VfioDeviceBindFlags;
        "VFIO_DEVICE_ATTACH_*": device::VfioDeviceAttachFlags;
        "VFIO_DEVICE_DETACH_*": device::VfioDeviceDetachFlags;
        "VFIO_REGION_INFO_FLAG_*": region::VfioRegionInfoFlags;
        "VFIO_DEVICE_IOEVENTFD_*": region::VfioDeviceIoeventfdFlags;
        "VFIO_IRQ_INFO_*": irq::VfioIrqInfoFlags;
        "VFIO_IRQ_SET_*": irq::VfioIrqSetFlags;
        "VFIO_PCI_HOT_RESET_FLAG_*": reset::VfioPciHotResetFlags;
        "VFIO_DEVICE_FEATURE_*": feature::VfioDeviceFeatureFlags;
        "VFIO_MIGRATION_*": migration::VfioMigrationFlags;
        "VFIO_PRECOPY_INFO_*": migration::VfioPrecopyInfoFlags;
    }
    add_constants! { numbers,
        mock: MOCK_APERTURE_START MOCK_APERTURE_LAST MOCK_PAGE_SIZE MOCK_HUGE_PAGE_SIZE MOCK_PASID_WIDTH IOMMU_TEST_PASID_RESERVED
            MOCK_NESTED_DOMAIN_IOTLB_NUM MOCK_NESTED_DOMAIN_IOTLB_ID_MAX IOMMU_TEST_IOTLB_DEFAULT MOCK_DEV_CACHE_NUM
            MOCK_DEV_CACHE_ID_MAX IOMMU_TEST_DEV_CACHE_DEFAULT IOMMU_TEST_HW_QUEUE_MAX IOMMU_HW_INFO_SELFTEST_REGVAL;
        container: VFIO_API_VERSION VFIO_IOMMU_DIRTY_PAGES;
        region: VFIO_PCI_NUM_REGIONS VFIO_REGION_TYPE_PCI_VENDOR_TYPE VFIO_REGION_TYPE_PCI_VENDOR_MASK;
        irq: VFIO_PCI_NUM_IRQS;
        reset: VFIO_PCI_DEVID_OWNED VFIO_PCI_DEVID_NOT_OWNED;
        migration: VFIO_MIG_GET_PRECOPY_INFO;
    }
    add_values! { numbers,
        mock: IOMMU_HW_INFO_TYPE_SELFTEST IOMMU_HWPT_DATA_SELFTEST IOMMU_HWPT_INVALIDATE_DATA_SELFTEST
            IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST
            IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID IOMMU_VIOMMU_TYPE_SELFTEST IOMMU_VEVENTQ_TYPE_SELFTEST
            IOMMU_HW_QUEUE_TYPE_SELFTEST;
    }
    numbers.0
}

/// The text between `before` and `after`, wherever both stand on a line of a source file.
fn in_sources(folder: &Path, before: &str, after: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_sources(&path, before, after, found);
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let rest = line.split_once(before).map(|(_, rest)| rest);
            let text = rest.and_then(|rest| rest.split_once(after));
            found.extend(text.map(|(text, _)| text.to_owned()));
        }
    }
}

#[test]
fn the_list_of_structs_is_complete() {
    let mut defined = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    in_sources(&sources, " = \"", "\" {", &mut defined);
    let listed: BTreeSet<_> = structs().iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(listed, defined);
}

#[test]
fn the_list_of_numbers_is_complete() {
    let mut defined = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    in_sources(&sources, "pub const IOMMU", ":", &mut defined);
    let numbers = numbers();
    for name in defined {
        assert!(numbers.contains_key(&format!("IOMMU{name}")), "IOMMU{name}");
    }
    let mut defined = BTreeSet::new();
    in_sources(&sources, "pub const VFIO", ":", &mut defined);
    for name in defined {
        assert!(numbers.contains_key(&format!("VFIO{name}")), "VFIO{name}");
    }
}
