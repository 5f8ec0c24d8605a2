//! One SMMU.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::hw_info::{IommuHwInfoArmSmmuv3, IommuHwInfoType};
use swiommu_abi::viommu::IommuViommuType;
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::fmt::{AddressForm, ArmS1, ArmS2};
use swiommu_pgtable::{Format, PageTable};

use super::caches::Caches;
use super::domain::{Kind, Number, STAGE1_BITS, Table, input_bits};
use super::spec::IdRegisters;
use super::viommu::on_same_unit;
use super::{SmmuFeatures, SmmuSettings, SmmuStage1, SmmuStage2, SmmuViommu};
use crate::numbers::Numbers;
use crate::{
    DomainFeatures, DriverError, Endpoint, Epochs, HwInfo, PagingDomain, PagingFlags,
    PagingRequest, TableDomain, Tables, Unit, Viommu, ViommuRequest,
};

/// Whose domains these are.
pub(super) const DRIVER: &str = "smmuv3";

/// What the parts of a unit have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) memory: Arc<PhysicalMemory>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) caches: Caches,
    pub(super) settings: SmmuSettings,
    pub(super) registers: IdRegisters,
    asids: Numbers,
    vmids: Numbers,
}

impl Shared {
    pub(super) fn numbers(&self, kind: Kind) -> &Numbers {
        match kind {
            Kind::Asid => &self.asids,
            Kind::Vmid => &self.vmids,
        }
    }
}

/// One SMMUv3.
#[derive(Debug)]
pub struct SmmuUnit {
    pub(super) shared: Arc<Shared>,
}

impl SmmuUnit {
    /// A unit whose page tables are in this memory, and are walked by the readers of `epochs`.
    pub fn new(
        memory: &Arc<PhysicalMemory>,
        epochs: &Arc<Epochs>,
        settings: SmmuSettings,
    ) -> Arc<Self> {
        let registers = IdRegisters::new(&settings);
        let numbers = |bits| Numbers::new(1..=u16::MAX >> (16 - bits));
        Arc::new(Self {
            shared: Arc::new(Shared {
                memory: memory.clone(),
                epochs: epochs.clone(),
                caches: Caches::new(settings.caches),
                settings,
                registers,
                asids: numbers(registers.asid_bits()),
                vmids: numbers(registers.vmid_bits()),
            }),
        })
    }

    /// How it was set up.
    pub fn settings(&self) -> &SmmuSettings {
        &self.shared.settings
    }

    /// What it says that it can do.
    pub fn registers(&self) -> &IdRegisters {
        &self.shared.registers
    }

    fn table<F: Format>(
        &self,
        format: F,
        kind: Kind,
        features: DomainFeatures,
    ) -> Result<Table<F>, DriverError> {
        let shared = &self.shared;
        let table = PageTable::new(format, Tables::new(&shared.memory))
            .map_err(|error| DriverError::new(Errno::ENOMEM, error.to_string()))?;
        Ok(Table {
            domain: TableDomain::new(DRIVER, features, table, &shared.epochs),
            number: Number::take(shared, kind)?,
            shared: shared.clone(),
        })
    }

    fn stage1(&self, flags: PagingFlags) -> Result<Arc<dyn PagingDomain>, DriverError> {
        let output = self.settings().output.bits();
        let mut format = ArmS1::new(AddressForm::Bits48, STAGE1_BITS, output)
            .ok_or_else(|| no_format(STAGE1_BITS, output))?;
        let mut features = DomainFeatures::empty();
        if flags.contains(PagingFlags::DIRTY_TRACKING) {
            features |= DomainFeatures::DIRTY_TRACKING;
            format = format.with_dirty_tracking();
        }
        let table = self.table(format, Kind::Asid, features)?;
        Ok(Arc::new(SmmuStage1 { table }))
    }

    fn stage2(&self, flags: PagingFlags) -> Result<Arc<dyn PagingDomain>, DriverError> {
        let (input, output) = (
            input_bits(self.settings().output),
            self.settings().output.bits(),
        );
        let mut format = ArmS2::new(AddressForm::Bits48, input, output)
            .ok_or_else(|| no_format(input, output))?
            .with_two_execute_never_bits();
        let mut features = DomainFeatures::empty();
        if flags.contains(PagingFlags::NEST_PARENT) {
            features |= DomainFeatures::NEST_PARENT;
            if self.settings().has(SmmuFeatures::FORCED_WRITE_BACK) {
                format = format.with_forced_write_back();
            }
        }
        let table = self.table(format, Kind::Vmid, features)?;
        Ok(Arc::new(SmmuStage2::new(table)))
    }

    fn check_viommus(&self, viommu_type: u32) -> Result<(), DriverError> {
        let settings = self.settings();
        // Without it, a guest could make accesses incoherent.
        if !settings.nests() || !settings.has(SmmuFeatures::FORCED_WRITE_BACK) {
            return Err(DriverError::unsupported(
                "virtual IOMMUs take both stages, and forced write-back",
            ));
        }
        if viommu_type != IommuViommuType::ARM_SMMUV3.0 {
            return Err(DriverError::unsupported(format!(
                "a virtual IOMMU of type {viommu_type:#x}, where SMMUv3 has ARM_SMMUV3"
            )));
        }
        Ok(())
    }
}

fn no_format(input: u8, output: u8) -> DriverError {
    DriverError::unsupported(format!("tables from {input} to {output} bits"))
}

impl Unit for SmmuUnit {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn hw_info(
        &self,
        _endpoint: &dyn Endpoint,
        input_type: u32,
    ) -> Result<Option<HwInfo>, DriverError> {
        let IdRegisters { idr, iidr, aidr } = self.shared.registers;
        let info = IommuHwInfoArmSmmuv3 {
            flags: 0,
            __reserved: 0,
            idr,
            iidr,
            aidr,
        };
        let data_type = IommuHwInfoType::ARM_SMMUV3.0;
        HwInfo::of("SMMUv3", data_type, input_type, &info)
    }

    fn alloc_paging(
        &self,
        _endpoint: &dyn Endpoint,
        request: &PagingRequest<'_>,
    ) -> Result<Arc<dyn PagingDomain>, DriverError> {
        if request.data.is_some() {
            return Err(DriverError::unsupported("a paging domain takes no data"));
        }
        let (flags, settings) = (request.flags, self.settings());
        let has_stage1 = settings.has(SmmuFeatures::STAGE1);
        let of_stage1 = PagingFlags::DIRTY_TRACKING | PagingFlags::PASID;
        if flags.is_empty() && !has_stage1 || flags == PagingFlags::NEST_PARENT && settings.nests()
        {
            self.stage2(flags)
        } else if of_stage1.contains(flags) && has_stage1 {
            self.stage1(flags)
        } else {
            Err(DriverError::unsupported(format!("flags {flags:?}")))
        }
    }

    fn check_viommu_type(
        &self,
        _endpoint: &dyn Endpoint,
        viommu_type: u32,
    ) -> Result<(), DriverError> {
        self.check_viommus(viommu_type)
    }

    fn alloc_viommu(
        &self,
        _endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &ViommuRequest<'_>,
    ) -> Result<Arc<dyn Viommu>, DriverError> {
        self.check_viommus(request.viommu_type)?;
        let parent = on_same_unit(parent, &self.shared)?;
        Ok(SmmuViommu::new(parent))
    }
}
