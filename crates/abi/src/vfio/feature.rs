//! Features of a device: one command, many subjects.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// Reads, sets or looks for a feature, with [`VfioDeviceFeature`].
pub const VFIO_DEVICE_FEATURE: u32 = request(117);

bitflags! {
    /// `VFIO_DEVICE_FEATURE_…`: what to do, beside the feature's number in the low 16 bits.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDeviceFeatureFlags: u32 {
        /// The bits of the number, a [`VfioFeature`].
        const MASK = 0xffff;
        /// Read it.
        const GET = 1 << 16;
        /// Set it.
        const SET = 1 << 17;
        /// Tell only whether it can be done.
        const PROBE = 1 << 18;
    }
}

open_enum! {
    /// `VFIO_DEVICE_FEATURE_…`: the features.
    pub struct VfioFeature(u16) {
        /// The token between a physical function and its virtual ones: 16 bytes.
        PCI_VF_TOKEN = 0,
        /// What migration can do: [`VfioDeviceFeatureMigration`](super::migration::VfioDeviceFeatureMigration).
        MIGRATION = 1,
        /// The state: [`VfioDeviceFeatureMigState`](super::migration::VfioDeviceFeatureMigState).
        MIG_DEVICE_STATE = 2,
        /// Power may be saved.
        LOW_POWER_ENTRY = 3,
        /// Power may be saved until something happens: [`VfioDeviceLowPowerEntryWithWakeup`].
        LOW_POWER_ENTRY_WITH_WAKEUP = 4,
        /// Power may no longer be saved.
        LOW_POWER_EXIT = 5,
        /// The device starts to log its writes:
        /// [`VfioDeviceFeatureDmaLoggingControl`](super::migration::VfioDeviceFeatureDmaLoggingControl).
        DMA_LOGGING_START = 6,
        /// It stops.
        DMA_LOGGING_STOP = 7,
        /// It tells: [`VfioDeviceFeatureDmaLoggingReport`](super::migration::VfioDeviceFeatureDmaLoggingReport).
        DMA_LOGGING_REPORT = 8,
        /// How much state there is: [`VfioDeviceFeatureMigDataSize`](super::migration::VfioDeviceFeatureMigDataSize).
        MIG_DATA_SIZE = 9,
        /// DMA of a device without PCI's bit for it: [`VfioDeviceFeatureBusMaster`].
        BUS_MASTER = 10,
        /// A dma-buf of a region: [`VfioDeviceFeatureDmaBuf`].
        DMA_BUF = 11,
        /// `VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`: the flags of
        /// [`VfioPrecopyInfo`](super::migration::VfioPrecopyInfo) count.
        MIG_PRECOPY_INFOV2 = 12,
        /// Errors of s390: [`VfioDeviceFeatureZpciErr`].
        ZPCI_ERROR = 13,
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_FEATURE`]; the data of the feature follow.
    pub struct VfioDeviceFeature = "vfio_device_feature" {
        /// Bytes of this struct and the data.
        pub argsz: u32,
        /// [`VfioDeviceFeatureFlags`].
        pub flags: u32,
    }
}

impl VfioDeviceFeature {
    /// The feature's number.
    pub const fn feature(&self) -> VfioFeature {
        let [low, high, ..] = self.flags.to_le_bytes();
        VfioFeature(u16::from_le_bytes([low, high]))
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::LOW_POWER_ENTRY_WITH_WAKEUP`].
    pub struct VfioDeviceLowPowerEntryWithWakeup = "vfio_device_low_power_entry_with_wakeup" {
        /// The caller's eventfd to signal when the device wakes.
        pub wakeup_eventfd: i32,
        /// 0.
        pub reserved: u32,
    }
}

open_enum! {
    /// What to do with the DMA of a device.
    pub struct VfioBusMasterOp(u32) {
        /// `VFIO_DEVICE_FEATURE_CLEAR_MASTER`: forbid it.
        CLEAR_MASTER = 0,
        /// `VFIO_DEVICE_FEATURE_SET_MASTER`: allow it.
        SET_MASTER = 1,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::BUS_MASTER`].
    pub struct VfioDeviceFeatureBusMaster = "vfio_device_feature_bus_master" {
        /// [`VfioBusMasterOp`].
        pub op: u32,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::DMA_BUF`]; an array of [`VfioRegionDmaRange`] follows.
    pub struct VfioDeviceFeatureDmaBuf = "vfio_device_feature_dma_buf" {
        /// Which region.
        pub region_index: u32,
        /// Flags for the new descriptor, as of `open(2)`.
        pub open_flags: u32,
        /// 0.
        pub flags: u32,
        /// Entries of the array.
        pub nr_ranges: u32,
    }
}

uapi_struct! {
    /// A part of a region.
    pub struct VfioRegionDmaRange = "vfio_region_dma_range" {
        /// Bytes from the start of the region.
        pub offset: u64,
        /// Bytes of the part.
        pub length: u64,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::ZPCI_ERROR`].
    pub struct VfioDeviceFeatureZpciErr = "vfio_device_feature_zpci_err" {
        /// Pointer to a buffer for the record.
        pub data: u64,
    }
}
