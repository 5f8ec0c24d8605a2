//! Software accesses: the operations of `IOMMU_TEST_CMD` on them.

use swiommu_abi::test_cmd::{
    AccessPages, AccessReplaceIoas, AccessRw, CreateAccess, DestroyAccessPages, IommuTestOp,
    MockAccessRw, MockFlagsAccessCreate,
};
use swiommu_addr::{Hva, Iova};
use swiommu_files::FdNumber;
use swiommu_iommufd::{AccessKind, ObjectId};

use super::{Client, Result};

/// The descriptor of a software access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access(pub FdNumber);

/// How an access copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyPath {
    /// For the caller.
    Caller,
    /// As if another process called (`MOCK_ACCESS_RW_SLOW_PATH`).
    Slow,
}

impl CopyPath {
    fn flags(self) -> MockAccessRw {
        match self {
            Self::Caller => MockAccessRw::empty(),
            Self::Slow => MockAccessRw::SLOW_PATH,
        }
    }
}

/// Each method is one operation; its errors are that operation's.
impl Client {
    /// `CREATE_ACCESS`.
    ///
    /// # Errors
    /// The operation's.
    pub fn create_access(&self, ioas: ObjectId, kind: AccessKind) -> Result<Access> {
        let flags = match kind {
            AccessKind::Pins => MockFlagsAccessCreate::NEEDS_PIN_PAGES,
            AccessKind::Copies => MockFlagsAccessCreate::empty(),
        };
        let body = CreateAccess {
            flags: flags.bits(),
            ..Default::default()
        };
        let out = self.test(IommuTestOp::CREATE_ACCESS, ioas.0, body)?;
        Ok(Access(FdNumber(out.out_access_fd.cast_signed())))
    }

    /// Closes an access.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn destroy_access(&self, access: Access) -> Result<()> {
        self.process().close(access.0)
    }

    /// `ACCESS_PAGES` for reading. Returns the number of the pin.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_pages(
        &self,
        access: Access,
        iova: Iova,
        length: u64,
        memory: Hva,
    ) -> Result<u32> {
        let body = AccessPages {
            iova: iova.get(),
            length,
            uptr: memory.get(),
            ..Default::default()
        };
        let id = access.0.0.cast_unsigned();
        let out = self.test(IommuTestOp::ACCESS_PAGES, id, body)?;
        Ok(out.out_access_pages_id)
    }

    /// `DESTROY_ACCESS_PAGES`.
    ///
    /// # Errors
    /// The operation's.
    pub fn destroy_access_pages(&self, access: Access, pin: u32) -> Result<()> {
        let body = DestroyAccessPages {
            access_pages_id: pin,
        };
        let id = access.0.0.cast_unsigned();
        self.test(IommuTestOp::DESTROY_ACCESS_PAGES, id, body)
            .map(drop)
    }

    /// `ACCESS_RW`, reading from IOVAs.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_read(
        &self,
        access: Access,
        iova: Iova,
        len: usize,
        path: CopyPath,
    ) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let buffer = self.place(&bytes)?;
        self.access_rw(access, iova, len as u64, buffer.at(0), path.flags())?;
        buffer.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// `ACCESS_RW`, writing to IOVAs.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_write(
        &self,
        access: Access,
        iova: Iova,
        bytes: &[u8],
        path: CopyPath,
    ) -> Result<()> {
        let buffer = self.place(bytes)?;
        let flags = path.flags() | MockAccessRw::WRITE;
        self.access_rw(access, iova, bytes.len() as u64, buffer.at(0), flags)
    }

    /// `ACCESS_RW`.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_rw(
        &self,
        access: Access,
        iova: Iova,
        length: u64,
        buffer: Hva,
        flags: MockAccessRw,
    ) -> Result<()> {
        let body = AccessRw {
            iova: iova.get(),
            length,
            uptr: buffer.get(),
            flags: flags.bits(),
            ..Default::default()
        };
        let id = access.0.0.cast_unsigned();
        self.test(IommuTestOp::ACCESS_RW, id, body).map(drop)
    }

    /// `ACCESS_REPLACE_IOAS`.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_replace_ioas(&self, access: Access, ioas: ObjectId) -> Result<()> {
        let body = AccessReplaceIoas { ioas_id: ioas.0 };
        let id = access.0.0.cast_unsigned();
        self.test(IommuTestOp::ACCESS_REPLACE_IOAS, id, body)
            .map(drop)
    }
}
