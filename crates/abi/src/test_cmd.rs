//! `IOMMU_TEST_CMD`: the operations of the mock IOMMU.
//!
//! One command carries them all: [`IommuTestCmd::op`] says which, and so what the union [`TestBody`] holds. The structs here are
//! the members of that union.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::{Field, FieldType, Kind, UapiStruct, uapi_struct};
use crate::open_enum::open_enum;
use crate::request;

mod ops;

pub use ops::*;

/// `IOMMU_TEST_CMD`: an operation of the mock IOMMU, with [`IommuTestCmd`].
pub const IOMMU_TEST_CMD: u32 = request(0xa0);

open_enum! {
    /// `IOMMU_TEST_OP_…`: the operations.
    pub struct IommuTestOp(u32) {
        /// Reserves IOVAs of an IOAS: [`AddReserved`].
        ADD_RESERVED = 1,
        /// Makes a mock device and attaches it: [`MockDomain`].
        MOCK_DOMAIN = 2,
        /// Compares mappings with memory: [`CheckMap`].
        MD_CHECK_MAP = 3,
        /// Compares pin counts with a number: [`CheckRefs`].
        MD_CHECK_REFS = 4,
        /// Makes a software access: [`CreateAccess`].
        CREATE_ACCESS = 5,
        /// Unpins: [`DestroyAccessPages`].
        DESTROY_ACCESS_PAGES = 6,
        /// Pins: [`AccessPages`].
        ACCESS_PAGES = 7,
        /// Reads or writes: [`AccessRw`].
        ACCESS_RW = 8,
        /// Limits the memory of a batch: [`MemoryLimit`].
        SET_TEMP_MEMORY_LIMIT = 9,
        /// Attaches a mock device elsewhere: [`MockDomainReplace`].
        MOCK_DOMAIN_REPLACE = 10,
        /// Moves an access to another IOAS: [`AccessReplaceIoas`].
        ACCESS_REPLACE_IOAS = 11,
        /// As `MOCK_DOMAIN`, with flags: [`MockDomainFlags`].
        MOCK_DOMAIN_FLAGS = 12,
        /// Dirties pages: [`Dirty`].
        DIRTY = 13,
        /// Compares an IOTLB entry of a nested domain: [`CheckIotlb`].
        MD_CHECK_IOTLB = 14,
        /// Raises a page request: [`TriggerIopf`].
        TRIGGER_IOPF = 15,
        /// Compares a cache entry of a device: [`CheckDevCache`].
        DEV_CHECK_CACHE = 16,
        /// Raises an event of a vIOMMU: [`TriggerVevent`].
        TRIGGER_VEVENT = 17,
        /// Attaches a PASID: [`PasidAttach`].
        PASID_ATTACH = 18,
        /// Attaches a PASID elsewhere: [`PasidReplace`].
        PASID_REPLACE = 19,
        /// Detaches a PASID: [`PasidDetach`].
        PASID_DETACH = 20,
        /// Compares what a PASID is attached to: [`PasidCheck`].
        PASID_CHECK_HWPT = 21,
        /// Makes a dma-buf: [`DmabufGet`].
        DMABUF_GET = 22,
        /// Revokes a dma-buf, or ends that: [`DmabufRevoke`].
        DMABUF_REVOKE = 23,
    }
}

/// The union of [`IommuTestCmd`]: what it holds depends on the operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct TestBody([u8; 48]);

impl Default for TestBody {
    fn default() -> Self {
        Self([0; 48])
    }
}

impl FieldType for TestBody {
    const KIND: Kind = Kind::Union;
}

impl TestBody {
    /// The union holding `member`, and zeros behind it.
    pub fn new<T: UapiStruct>(member: T) -> Self {
        let mut body = Self::default();
        body.set(member);
        body
    }

    /// The union read as one of its members.
    pub fn get<T: UapiStruct>(&self) -> T {
        const { assert!(size_of::<T>() <= size_of::<Self>()) };
        let mut member = T::new_zeroed();
        member
            .as_mut_bytes()
            .copy_from_slice(&self.0[..size_of::<T>()]);
        member
    }

    /// Overwrites one of the members. Bytes behind it stay.
    pub fn set<T: UapiStruct>(&mut self, member: T) {
        const { assert!(size_of::<T>() <= size_of::<Self>()) };
        self.0[..size_of::<T>()].copy_from_slice(member.as_bytes());
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_TEST_CMD`].
    pub struct IommuTestCmd = "iommu_test_cmd" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommuTestOp`].
        pub op: u32,
        /// The object, or for an access its descriptor.
        pub id: u32,
        /// Ignored.
        pub __reserved: u32,
        /// The union.
        pub body: TestBody,
        /// Ignored.
        pub last: u32,
        /// Inserted by the C compiler.
        pub _padding: u32,
    }
}

/// An operation as data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TestOp {
    /// Which.
    pub op: IommuTestOp,
    /// The fields of its member of the union, from the start of the union.
    pub fields: &'static [Field],
    /// What is written back when it succeeds.
    pub reply: TestReply,
}

/// What a successful operation writes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestReply {
    /// The whole struct.
    Struct,
    /// Nothing.
    Nothing,
}

impl TestOp {
    const fn new<T: UapiStruct>(op: IommuTestOp, reply: TestReply) -> Self {
        Self {
            op,
            fields: T::FIELDS,
            reply,
        }
    }

    /// The operation of this number, if there is one.
    pub fn find(op: IommuTestOp) -> Option<&'static Self> {
        TEST_OPS.iter().find(|entry| entry.op == op)
    }
}

/// All operations, by number.
pub const TEST_OPS: &[TestOp] = &[
    TestOp::new::<AddReserved>(IommuTestOp::ADD_RESERVED, TestReply::Nothing),
    TestOp::new::<MockDomain>(IommuTestOp::MOCK_DOMAIN, TestReply::Struct),
    TestOp::new::<CheckMap>(IommuTestOp::MD_CHECK_MAP, TestReply::Nothing),
    TestOp::new::<CheckRefs>(IommuTestOp::MD_CHECK_REFS, TestReply::Nothing),
    TestOp::new::<CreateAccess>(IommuTestOp::CREATE_ACCESS, TestReply::Struct),
    TestOp::new::<DestroyAccessPages>(IommuTestOp::DESTROY_ACCESS_PAGES, TestReply::Nothing),
    TestOp::new::<AccessPages>(IommuTestOp::ACCESS_PAGES, TestReply::Struct),
    TestOp::new::<AccessRw>(IommuTestOp::ACCESS_RW, TestReply::Nothing),
    TestOp::new::<MemoryLimit>(IommuTestOp::SET_TEMP_MEMORY_LIMIT, TestReply::Nothing),
    TestOp::new::<MockDomainReplace>(IommuTestOp::MOCK_DOMAIN_REPLACE, TestReply::Struct),
    TestOp::new::<AccessReplaceIoas>(IommuTestOp::ACCESS_REPLACE_IOAS, TestReply::Nothing),
    TestOp::new::<MockDomainFlags>(IommuTestOp::MOCK_DOMAIN_FLAGS, TestReply::Struct),
    TestOp::new::<Dirty>(IommuTestOp::DIRTY, TestReply::Struct),
    TestOp::new::<CheckIotlb>(IommuTestOp::MD_CHECK_IOTLB, TestReply::Nothing),
    TestOp::new::<TriggerIopf>(IommuTestOp::TRIGGER_IOPF, TestReply::Nothing),
    TestOp::new::<CheckDevCache>(IommuTestOp::DEV_CHECK_CACHE, TestReply::Nothing),
    TestOp::new::<TriggerVevent>(IommuTestOp::TRIGGER_VEVENT, TestReply::Nothing),
    TestOp::new::<PasidAttach>(IommuTestOp::PASID_ATTACH, TestReply::Struct),
    TestOp::new::<PasidReplace>(IommuTestOp::PASID_REPLACE, TestReply::Struct),
    TestOp::new::<PasidDetach>(IommuTestOp::PASID_DETACH, TestReply::Nothing),
    TestOp::new::<PasidCheck>(IommuTestOp::PASID_CHECK_HWPT, TestReply::Nothing),
    TestOp::new::<DmabufGet>(IommuTestOp::DMABUF_GET, TestReply::Nothing),
    TestOp::new::<DmabufRevoke>(IommuTestOp::DMABUF_REVOKE, TestReply::Nothing),
];

#[cfg(test)]
mod tests;
