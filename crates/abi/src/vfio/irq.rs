//! Interrupts of a device.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// Describes an interrupt index, with [`VfioIrqInfo`].
pub const VFIO_DEVICE_GET_IRQ_INFO: u32 = request(109);
/// Sets eventfds, masks, unmasks or triggers, with [`VfioIrqSet`].
pub const VFIO_DEVICE_SET_IRQS: u32 = request(110);

/// `VFIO_PCI_NUM_IRQS`: how many interrupt indexes every PCI device has.
pub const VFIO_PCI_NUM_IRQS: u32 = 5;

open_enum! {
    /// `VFIO_PCI_…_IRQ_INDEX`: the interrupt indexes of a PCI device.
    pub struct VfioPciIrqIndex(u32) {
        /// The legacy line.
        INTX = 0,
        /// MSI.
        MSI = 1,
        /// MSI-X.
        MSIX = 2,
        /// An uncorrectable error.
        ERR = 3,
        /// The host wants the device back.
        REQ = 4,
    }
}

bitflags! {
    /// `VFIO_IRQ_INFO_…`: what an interrupt index can do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioIrqInfoFlags: u32 {
        /// Signal an eventfd.
        const EVENTFD = 1 << 0;
        /// Be masked and unmasked.
        const MASKABLE = 1 << 1;
        /// Mask itself when it fires.
        const AUTOMASKED = 1 << 2;
        /// Not grow while it is enabled.
        const NORESIZE = 1 << 3;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_GET_IRQ_INFO`].
    pub struct VfioIrqInfo = "vfio_irq_info" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// Out: [`VfioIrqInfoFlags`].
        pub flags: u32,
        /// Which index: for PCI [`VfioPciIrqIndex`].
        pub index: u32,
        /// Out: how many interrupts it has; 0 when it is absent.
        pub count: u32,
    }
}

bitflags! {
    /// `VFIO_IRQ_SET_…`: one kind of data and one action.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioIrqSetFlags: u32 {
        /// No data: act on all.
        const DATA_NONE = 1 << 0;
        /// A byte for each interrupt: act where it is not 0.
        const DATA_BOOL = 1 << 1;
        /// A descriptor (`i32`) for each interrupt: bind the action to this eventfd, or to none with -1.
        const DATA_EVENTFD = 1 << 2;
        /// Mask.
        const ACTION_MASK = 1 << 3;
        /// Unmask.
        const ACTION_UNMASK = 1 << 4;
        /// Trigger.
        const ACTION_TRIGGER = 1 << 5;
        /// `VFIO_IRQ_SET_DATA_TYPE_MASK`.
        const DATA_TYPE_MASK = Self::DATA_NONE.bits() | Self::DATA_BOOL.bits() | Self::DATA_EVENTFD.bits();
        /// `VFIO_IRQ_SET_ACTION_TYPE_MASK`.
        const ACTION_TYPE_MASK = Self::ACTION_MASK.bits() | Self::ACTION_UNMASK.bits() | Self::ACTION_TRIGGER.bits();
    }
}

uapi_struct! {
    /// Argument of [`VFIO_DEVICE_SET_IRQS`]; the data follow.
    pub struct VfioIrqSet = "vfio_irq_set" {
        /// Bytes of this struct and the data.
        pub argsz: u32,
        /// [`VfioIrqSetFlags`].
        pub flags: u32,
        /// Which index: for PCI [`VfioPciIrqIndex`].
        pub index: u32,
        /// The first interrupt of the index.
        pub start: u32,
        /// How many.
        pub count: u32,
    }
}
