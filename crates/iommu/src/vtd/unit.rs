//! One VT-d unit.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};

use swiommu_abi::Errno;
use swiommu_abi::hw_info::{IommuHwInfoType, IommuHwInfoVtd, IommuHwInfoVtdFlags};
use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::fmt::{VtdSs, X86_64};
use swiommu_pgtable::{Format, PageTable};

use super::domain::{Table, of_domain};
use super::nested::out_of_domains;
use super::spec::{AddressWidth, Capability, ExtendedCapability};
use super::{VtdFirstStage, VtdNested, VtdSecondStage, VtdSettings};
use crate::numbers::Numbers;
use crate::{
    Caches, DomainFeatures, DriverError, Endpoint, Epochs, HwInfo, NestedDomain, NestedRequest,
    PagingDomain, PagingFlags, PagingRequest, TableDomain, Tables, Unit,
};

/// Whose domains these are.
pub(super) const DRIVER: &str = "vtd";

/// The bits of a host physical address.
const PHYSICAL_BITS: u8 = 52;

/// What the parts of a unit have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) memory: Arc<PhysicalMemory>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) caches: Caches,
    pub(super) settings: VtdSettings,
    numbers: Numbers,
}

/// The number of a domain in the unit (DID). It is free again when this goes, and nothing is cached under it then.
pub(super) struct DomainNumber {
    shared: Weak<Shared>,
    number: u16,
}

impl DomainNumber {
    /// The lowest free number. 0 is for pass-through, 1 for first stages of the kernel's own, so that 2 is the first.
    fn allocate(shared: &Arc<Shared>) -> Result<Self, DriverError> {
        Ok(Self {
            shared: Arc::downgrade(shared),
            number: shared.numbers.take().ok_or_else(out_of_domains)?,
        })
    }

    pub(super) fn get(&self) -> u16 {
        self.number
    }
}

const FIRST_DOMAIN: u16 = 2;

impl Drop for DomainNumber {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.caches.invalidate(&of_domain(self.number));
            shared.numbers.release(self.number);
        }
    }
}

impl fmt::Debug for DomainNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DID {}", self.number)
    }
}

/// One VT-d unit, in scalable mode.
#[derive(Debug)]
pub struct VtdUnit {
    pub(super) shared: Arc<Shared>,
}

impl VtdUnit {
    /// A unit whose page tables are in this memory, and are walked by the readers of `epochs`.
    pub fn new(
        memory: &Arc<PhysicalMemory>,
        epochs: &Arc<Epochs>,
        settings: VtdSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                memory: memory.clone(),
                epochs: epochs.clone(),
                caches: Caches::new(
                    settings.caches,
                    settings.structures.unwrap_or(settings.caches),
                ),
                settings,
                numbers: Numbers::new(FIRST_DOMAIN..=u16::MAX),
            }),
        })
    }

    /// How it was set up.
    pub fn settings(&self) -> &VtdSettings {
        &self.shared.settings
    }

    fn table<F: Format>(
        &self,
        format: F,
        features: DomainFeatures,
    ) -> Result<Table<F>, DriverError> {
        let shared = &self.shared;
        let table = PageTable::new(format, Tables::new(&shared.memory))
            .map_err(|error| DriverError::new(Errno::ENOMEM, error.to_string()))?;
        Ok(Table {
            domain: TableDomain::new(DRIVER, features, table, &shared.epochs),
            number: DomainNumber::allocate(shared)?,
            shared: shared.clone(),
        })
    }

    /// A first stage of our own has the lower half of the addresses.
    fn first_stage(&self) -> Result<Arc<dyn PagingDomain>, DriverError> {
        let format = match self.shared.settings.width {
            AddressWidth::Bits57 => X86_64::five_level(),
            AddressWidth::Bits39 | AddressWidth::Bits48 => X86_64::four_level(),
        };
        let format = format.with_lower_half().with_output_bits(PHYSICAL_BITS);
        let table = self.table(format, DomainFeatures::ENFORCE_CACHE_COHERENCY)?;
        Ok(Arc::new(VtdFirstStage::new(table)))
    }

    fn second_stage(&self, flags: PagingFlags) -> Result<Arc<dyn PagingDomain>, DriverError> {
        let format = match self.shared.settings.width {
            AddressWidth::Bits39 => VtdSs::three_level(),
            AddressWidth::Bits48 => VtdSs::four_level(),
            AddressWidth::Bits57 => VtdSs::five_level(),
        };
        let mut format = format.with_output_bits(PHYSICAL_BITS).with_snoop_control();
        let mut features = DomainFeatures::ENFORCE_CACHE_COHERENCY;
        if flags.contains(PagingFlags::NEST_PARENT) {
            features |= DomainFeatures::NEST_PARENT;
            format = format.with_force_writable();
        }
        if flags.contains(PagingFlags::DIRTY_TRACKING) {
            features |= DomainFeatures::DIRTY_TRACKING;
        }
        let table = self.table(format, features)?;
        Ok(Arc::new(VtdSecondStage::new(table)))
    }
}

impl VtdSettings {
    /// The Capability Register.
    pub fn capability(&self) -> Capability {
        Capability::new(self.width)
    }

    /// The Extended Capability Register.
    pub fn extended_capability(&self) -> ExtendedCapability {
        ExtendedCapability::MODEL
    }
}

impl Unit for VtdUnit {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn hw_info(
        &self,
        _endpoint: &dyn Endpoint,
        input_type: u32,
    ) -> Result<Option<HwInfo>, DriverError> {
        let settings = self.settings();
        let mut flags = IommuHwInfoVtdFlags::empty();
        flags.set(
            IommuHwInfoVtdFlags::ERRATA_772415_SPR17,
            settings.erratum_772415,
        );
        let info = IommuHwInfoVtd {
            flags: flags.bits(),
            __reserved: 0,
            cap_reg: settings.capability().0,
            ecap_reg: settings.extended_capability().0,
        };
        HwInfo::of("VT-d", IommuHwInfoType::INTEL_VTD.0, input_type, &info)
    }

    fn alloc_paging(
        &self,
        _endpoint: &dyn Endpoint,
        request: &PagingRequest<'_>,
    ) -> Result<Arc<dyn PagingDomain>, DriverError> {
        if request.data.is_some() {
            return Err(DriverError::unsupported("a paging domain takes no data"));
        }
        if PagingFlags::PASID.contains(request.flags) {
            return self.first_stage();
        }
        let known = PagingFlags::NEST_PARENT | PagingFlags::DIRTY_TRACKING | PagingFlags::PASID;
        if !known.contains(request.flags) {
            let flags = request.flags;
            return Err(DriverError::unsupported(format!("flags {flags:?}")));
        }
        self.second_stage(request.flags)
    }

    fn nests_on_paging(&self) -> bool {
        true
    }

    fn alloc_nested(
        &self,
        _endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &NestedRequest<'_>,
    ) -> Result<Arc<dyn NestedDomain>, DriverError> {
        if !PagingFlags::PASID.contains(request.flags) {
            let flags = request.flags;
            return Err(DriverError::unsupported(format!("flags {flags:?}")));
        }
        let data_type = request.data.data_type();
        if data_type != IommuHwptDataType::VTD_S1.0 {
            return Err(DriverError::unsupported(format!(
                "a guest's table of type {data_type:#x}, where VT-d has VTD_S1"
            )));
        }
        let parent: Arc<dyn Any + Send + Sync> = parent.clone();
        let second = parent
            .downcast::<VtdSecondStage>()
            .ok()
            .filter(|second| second.features().contains(DomainFeatures::NEST_PARENT))
            .ok_or_else(|| DriverError::invalid("the parent is no second stage for nesting"))?;
        let data: IommuHwptVtdS1 = request.data.read_struct()?;
        let number = DomainNumber::allocate(&self.shared)?;
        Ok(VtdNested::new(&second, number, data))
    }
}
