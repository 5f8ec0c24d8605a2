//! Migration of a device: its state, its data, what it wrote meanwhile.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// On the descriptor of the migration data: tells how much is left, with [`VfioPrecopyInfo`].
pub const VFIO_MIG_GET_PRECOPY_INFO: u32 = request(121);

bitflags! {
    /// `VFIO_MIGRATION_…`: which states there are beyond running, stopped and error.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioMigrationFlags: u64 {
        /// Those for a copy while stopped.
        const STOP_COPY = 1 << 0;
        /// Those without DMA between devices.
        const P2P = 1 << 1;
        /// Those for a copy while running.
        const PRE_COPY = 1 << 2;
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::MIGRATION`](super::feature::VfioFeature::MIGRATION).
    pub struct VfioDeviceFeatureMigration = "vfio_device_feature_migration" {
        /// [`VfioMigrationFlags`].
        pub flags: u64,
    }
}

open_enum! {
    /// `enum vfio_device_mig_state`: states of a device in migration.
    pub struct VfioDeviceMigState(u32) {
        /// A transition failed; only a reset helps.
        ERROR = 0,
        /// It changes nothing, in itself or outside.
        STOP = 1,
        /// It runs.
        RUNNING = 2,
        /// Stopped; its state is read.
        STOP_COPY = 3,
        /// Stopped; its state is written.
        RESUMING = 4,
        /// It runs, but without DMA to other devices.
        RUNNING_P2P = 5,
        /// It runs; its state is read.
        PRE_COPY = 6,
        /// It runs without DMA to other devices; its state is read.
        PRE_COPY_P2P = 7,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::MIG_DEVICE_STATE`](super::feature::VfioFeature::MIG_DEVICE_STATE).
    pub struct VfioDeviceFeatureMigState = "vfio_device_feature_mig_state" {
        /// [`VfioDeviceMigState`].
        pub device_state: u32,
        /// Out: the descriptor of the migration data when a transfer began, else -1.
        pub data_fd: i32,
    }
}

bitflags! {
    /// `VFIO_PRECOPY_INFO_…`: what holds for [`VfioPrecopyInfo`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioPrecopyInfoFlags: u32 {
        /// There is initial data again.
        const REINIT = 1 << 0;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_MIG_GET_PRECOPY_INFO`].
    pub struct VfioPrecopyInfo = "vfio_precopy_info" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// Out: [`VfioPrecopyInfoFlags`].
        pub flags: u32,
        /// Out: bytes left that had to be sent from the start.
        pub initial_bytes: u64,
        /// Out: bytes left that changed since they were sent.
        pub dirty_bytes: u64,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::MIG_DATA_SIZE`](super::feature::VfioFeature::MIG_DATA_SIZE).
    pub struct VfioDeviceFeatureMigDataSize = "vfio_device_feature_mig_data_size" {
        /// Bytes of a copy while stopped, estimated.
        pub stop_copy_length: u64,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::DMA_LOGGING_START`](super::feature::VfioFeature::DMA_LOGGING_START).
    pub struct VfioDeviceFeatureDmaLoggingControl = "vfio_device_feature_dma_logging_control" {
        /// In: bytes that one bit should stand for. Out: bytes it will.
        pub page_size: u64,
        /// Entries of the array.
        pub num_ranges: u32,
        /// 0.
        pub __reserved: u32,
        /// Pointer to an array of [`VfioDeviceFeatureDmaLoggingRange`].
        pub ranges: u64,
    }
}

uapi_struct! {
    /// A range to log.
    pub struct VfioDeviceFeatureDmaLoggingRange = "vfio_device_feature_dma_logging_range" {
        /// The first IOVA.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
    }
}

uapi_struct! {
    /// Data of [`VfioFeature::DMA_LOGGING_REPORT`](super::feature::VfioFeature::DMA_LOGGING_REPORT).
    pub struct VfioDeviceFeatureDmaLoggingReport = "vfio_device_feature_dma_logging_report" {
        /// The IOVA of bit 0.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
        /// Bytes that one bit stands for.
        pub page_size: u64,
        /// Pointer to the bitmap; bits are only ever set in it.
        pub bitmap: u64,
    }
}
