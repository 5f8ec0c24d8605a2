//! Dma-bufs of the mock: the operations of `IOMMU_TEST_CMD` on them.

use swiommu_abi::UapiStruct;
use swiommu_abi::test_cmd::{
    DmabufGet, DmabufRevoke, IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp, TestBody,
};
use swiommu_files::FdNumber;

use super::{Client, Result};

/// Whether a dma-buf can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revoked {
    /// It cannot.
    Yes,
    /// It can.
    No,
}

/// Each method is one operation; its errors are that operation's.
impl Client {
    /// `DMABUF_GET`.
    ///
    /// # Errors
    /// The operation's.
    pub fn dma_buf_get(&self, length: u32) -> Result<FdNumber> {
        let body = DmabufGet {
            length,
            open_flags: 0,
        };
        let mut cmd = IommuTestCmd {
            size: IommuTestCmd::SIZE,
            op: IommuTestOp::DMABUF_GET.0,
            body: TestBody::new(body),
            ..Default::default()
        };
        self.ioctl(IOMMU_TEST_CMD, &mut cmd).map(FdNumber)
    }

    /// `DMABUF_REVOKE`. Whatever is set, all mappings of the buffer end.
    ///
    /// # Errors
    /// The operation's.
    pub fn dma_buf_revoke(&self, buf: FdNumber, revoked: Revoked) -> Result<()> {
        let body = DmabufRevoke {
            dmabuf_fd: buf.0,
            revoked: u32::from(revoked == Revoked::Yes),
        };
        self.test(IommuTestOp::DMABUF_REVOKE, 0, body).map(drop)
    }
}
