//! A context: one open `/dev/iommu`.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};

use swiommu_addr::{Iova, IovaRange, Pa};
use swiommu_files::{Arg, Caller, Capability, Refusal};
use swiommu_iommu::Prot;
use swiommu_iommu::{Endpoint, NestedDomain, PagingDomain};
use swiommu_mem::{Accounting, AddressSpace, PhysicalMemory};

use crate::access::{AccessClient, AccessKind, SoftwareAccess};
use crate::device::{BoundDevice, Device};
use crate::driver::{DriverObject, Extension, HeldDriverObject, ReservedObject};
use crate::hwpt::{self, HwptNested, HwptPaging, HwptRequest};
use crate::ioas::{Ioas, MapRequest, Placement};
use crate::object::{Draft, Object, ObjectId};
pub use crate::state::RlimitMode;
use crate::state::State;
use crate::viommu::Viommu;
use crate::{Error, ioctl};

/// One open `/dev/iommu`: its objects, and what can be done with them.
///
/// The typed methods and [`ioctl`](Self::ioctl) are the same thing seen twice. Whoever keeps an `Arc` of it keeps it open;
/// with the last one everything in it is destroyed, leaves first.
pub struct Context {
    pub(crate) state: Arc<State>,
    extension: Option<Arc<dyn Extension>>,
}

impl Context {
    /// An empty context. Its mappings are of this memory.
    pub fn new(memory: &Arc<PhysicalMemory>) -> Self {
        Self::with_mode(memory, RlimitMode::User)
    }

    /// An empty context that charges pinned pages in this manner from the start: `Mm` for one that was opened as
    /// `/dev/vfio/vfio`.
    pub fn with_mode(memory: &Arc<PhysicalMemory>, mode: RlimitMode) -> Self {
        Self {
            state: State::new(memory.clone(), mode),
            extension: None,
        }
    }

    /// The same context with a driver's command beside its own.
    #[must_use]
    pub fn extended(mut self, extension: Arc<dyn Extension>) -> Self {
        self.extension = Some(extension);
        self
    }

    pub(crate) fn extension(&self) -> Option<&Arc<dyn Extension>> {
        self.extension.as_ref()
    }

    /// The memory that its mappings are of.
    pub fn memory(&self) -> &Arc<PhysicalMemory> {
        &self.state.memory
    }

    /// `ioctl(2)` on the file.
    ///
    /// # Errors
    /// The errno of Linux 7.3, with the reason.
    pub fn ioctl(
        self: &Arc<Self>,
        caller: &dyn Caller,
        request: u32,
        arg: Arg,
    ) -> Result<i32, Refusal> {
        ioctl::ioctl(self, caller, request, arg)
    }

    /// `IOMMU_DESTROY`.
    ///
    /// # Errors
    /// `ENOENT`; `EBUSY` for an object in use.
    pub fn destroy(&self, id: ObjectId) -> Result<(), Error> {
        let object = self.state.objects.remove_idle(id)?;
        object.teardown(&self.state);
        Ok(())
    }

    /// A virtual IOMMU stays as long as a client maps memory of it (§7.5).
    pub(crate) fn check_unmapped(&self, caller: &dyn Caller, id: ObjectId) -> Result<(), Error> {
        let viommu = match self.state.objects.get::<Viommu>(id) {
            Ok(viommu) => viommu,
            Err(error @ Error::Injected(_)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let mapped = viommu.regions.iter().any(|region| {
            region
                .place()
                .is_some_and(|(file, bytes)| caller.maps(file, bytes))
        });
        if mapped {
            Err(Error::RegionMapped(id))
        } else {
            Ok(())
        }
    }

    /// `IOMMU_IOAS_ALLOC`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn ioas_alloc(&self) -> Result<ObjectId, Error> {
        Ok(self.draft_ioas()?.publish())
    }

    pub(crate) fn draft_ioas(&self) -> Result<Draft, Error> {
        let _serial = self.state.ioas_creation.read();
        let reservation = self.state.objects.reserve(&self.state)?;
        let ioas = Ioas::new(reservation.id());
        Ok(Draft::new(reservation, Object::Ioas(ioas)))
    }

    /// The largest ranges of an IOAS without a reserved IOVA, ascending (`IOMMU_IOAS_IOVA_RANGES`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn iova_ranges(&self, ioas: ObjectId) -> Result<Vec<IovaRange>, Error> {
        Ok(self.state.objects.get::<Ioas>(ioas)?.usable_ranges())
    }

    /// `IOMMU_IOAS_MAP` and `IOMMU_IOAS_MAP_FILE`. Returns where.
    ///
    /// # Errors
    /// §2.5 and §2.6 of the behaviour, from step 4 on.
    pub fn map(&self, ioas: ObjectId, request: MapRequest<'_>) -> Result<Iova, Error> {
        let ioas = self.state.objects.get::<Ioas>(ioas)?;
        ioas.map(request)
    }

    /// `IOMMU_IOAS_NOIOMMU_GET_PA`: the physical address behind an IOVA, and how many bytes from there are contiguous, at most
    /// `len`.
    ///
    /// # Errors
    /// §2.22 of the behaviour, from the look-up of the IOAS on.
    pub fn noiommu_physical(
        &self,
        ioas: ObjectId,
        iova: Iova,
        len: u64,
    ) -> Result<(Pa, u64), Error> {
        self.state.objects.get::<Ioas>(ioas)?.physical(iova, len)
    }

    /// `IOMMU_IOAS_COPY`. Returns where.
    ///
    /// # Errors
    /// §2.7 of the behaviour, from step 5 on.
    pub fn copy(
        &self,
        (source, start): (ObjectId, Iova),
        len: u64,
        target: ObjectId,
        placement: Placement,
        prot: Prot,
    ) -> Result<Iova, Error> {
        let shared = self.state.objects.get::<Ioas>(source)?.share(start, len)?;
        let target = self.state.objects.get::<Ioas>(target)?;
        target.map_shared(shared, len, placement, prot)
    }

    /// The IOVA that {low 32 bits: number of an area, high 32 bits: offset} names; 0 for an area that is not there.
    ///
    /// # Errors
    /// `ENOENT` for an unknown IOAS.
    pub fn area_by_number(&self, ioas: ObjectId, name: Iova) -> Result<Iova, Error> {
        Ok(self.state.objects.get::<Ioas>(ioas)?.area_by_number(name))
    }

    /// `IOMMU_IOAS_UNMAP` of a range. Returns how many bytes were mapped in it.
    ///
    /// # Errors
    /// §2.8 of the behaviour.
    pub fn unmap(&self, ioas: ObjectId, range: IovaRange) -> Result<u64, Error> {
        self.state.objects.get::<Ioas>(ioas)?.unmap(range)
    }

    /// `IOMMU_IOAS_UNMAP` of everything. Returns how many bytes were mapped.
    ///
    /// # Errors
    /// §2.8 of the behaviour.
    pub fn unmap_all(&self, ioas: ObjectId) -> Result<u64, Error> {
        self.state
            .objects
            .get::<Ioas>(ioas)?
            .unmap_areas(IovaRange::full())
    }

    /// `IOMMU_HWPT_ALLOC`.
    ///
    /// # Errors
    /// §2.11 of the behaviour, from step 3 on.
    pub fn hwpt_alloc(&self, request: &HwptRequest<'_>) -> Result<ObjectId, Error> {
        Ok(hwpt::alloc(&self.state, request)?.publish())
    }

    /// `IOMMU_IOAS_CHANGE_PROCESS`: all mappings of the context become those of `owner`.
    ///
    /// # Errors
    /// §2.19 of the behaviour; nothing has changed then.
    pub fn change_process(&self, owner: &Arc<dyn AddressSpace>) -> Result<(), Error> {
        let _serial = self.state.ioas_creation.write();
        let all = self.state.objects.list();
        let ioases: Vec<&Arc<Ioas>> = all
            .iter()
            .filter_map(|object| match object {
                Object::Ioas(ioas) => Some(ioas),
                _ => None,
            })
            .collect();
        Ioas::change_process(&ioases, owner)
    }

    /// Who pays for pinned pages.
    pub fn rlimit_mode(&self) -> RlimitMode {
        *self.state.rlimit_mode.lock()
    }

    /// Chooses who pays for pinned pages. `mode` is asked for only when it may be chosen.
    ///
    /// # Errors
    /// `EBUSY` once there is an object; then the error of `mode`.
    pub fn set_rlimit_mode(
        &self,
        mode: impl FnOnce() -> Result<RlimitMode, Error>,
    ) -> Result<(), Error> {
        if !self.state.objects.is_empty() {
            return Err(Error::HasObjects);
        }
        *self.state.rlimit_mode.lock() = mode()?;
        Ok(())
    }

    /// How mappings made by this caller are charged (§3.8).
    pub fn accounting(&self, caller: &dyn Caller) -> Accounting {
        if caller.capable(Capability::IpcLock) {
            return Accounting::None;
        }
        match self.rlimit_mode() {
            RlimitMode::User => Accounting::User,
            RlimitMode::Mm => Accounting::Mm,
        }
    }
}

/// What external drivers call.
impl Context {
    /// Binds an endpoint (`iommufd_device_bind`, §4.1).
    ///
    /// # Errors
    /// `EINVAL` for a device whose DMA is not coherent, `EPERM` for one whose interrupts are not isolated.
    pub fn bind(&self, endpoint: Arc<dyn Endpoint>) -> Result<BoundDevice, Error> {
        BoundDevice::bind(&self.state, endpoint)
    }

    /// Makes a software access, attached to nothing yet (`iommufd_access_create`, §5.1).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn access(
        &self,
        kind: AccessKind,
        client: Weak<dyn AccessClient>,
    ) -> Result<SoftwareAccess, Error> {
        SoftwareAccess::new(&self.state, kind, client)
    }

    /// Takes a number for an object of the driver's own.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn reserve_object(&self) -> Result<ReservedObject, Error> {
        Ok(ReservedObject(self.state.objects.reserve(&self.state)?))
    }

    /// An object of the driver's own.
    ///
    /// # Errors
    /// `ENOENT`, also for an object of another type.
    pub fn driver_object<T: Any + Send + Sync>(
        &self,
        id: ObjectId,
    ) -> Result<HeldDriverObject<T>, Error> {
        HeldDriverObject::new(self.state.objects.get::<DriverObject>(id)?, id)
    }

    /// The page table of a `HWPT_PAGING`.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn paging_domain(&self, id: ObjectId) -> Result<Arc<dyn PagingDomain>, Error> {
        Ok(self.state.objects.get::<HwptPaging>(id)?.domain.clone())
    }

    /// The guest's page table of a `HWPT_NESTED`.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn nested_domain(&self, id: ObjectId) -> Result<Arc<dyn NestedDomain>, Error> {
        Ok(self.state.objects.get::<HwptNested>(id)?.domain.clone())
    }

    /// The endpoint of a DEVICE.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn endpoint(&self, id: ObjectId) -> Result<Arc<dyn Endpoint>, Error> {
        Ok(self.state.objects.get::<Device>(id)?.endpoint.clone())
    }

    /// Whether an object is an IOAS.
    ///
    /// # Errors
    /// `ENOENT` when it is not.
    pub fn check_ioas(&self, id: ObjectId) -> Result<(), Error> {
        self.state.objects.get::<Ioas>(id)?;
        Ok(())
    }

    /// Reserves a range of an IOAS until that is destroyed.
    ///
    /// # Errors
    /// `ENOENT`; `EADDRINUSE` when it meets an area or an allowed range.
    pub fn reserve_iova(&self, ioas: ObjectId, range: IovaRange) -> Result<(), Error> {
        self.state
            .objects
            .get::<Ioas>(ioas)?
            .reserve_for_test(range)
    }

    /// The IOAS for the VFIO type1 ioctls, if one was chosen.
    pub fn vfio_ioas(&self) -> Option<ObjectId> {
        self.state.vfio_ioas()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.state.teardown();
        // A file that stays open here keeps its memory: huge pages that the client gave back would not be free.
        self.state.memory.close_idle();
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.state.objects.list();
        let mut map = f.debug_map();
        for object in &objects {
            map.entry(&object.header().id(), &object.type_name());
        }
        map.finish()
    }
}
