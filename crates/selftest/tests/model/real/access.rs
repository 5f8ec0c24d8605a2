//! Calls on software accesses.

use swiommu_abi::test_cmd::{
    AccessPages, AccessReplaceIoas, AccessRw, CreateAccess, DestroyAccessPages, IommuTestOp,
};
use swiommu_files::FdNumber;

use super::{Real, Result};
use crate::ground::Ground;
use crate::reference::Reference;
use crate::reply::{Reply, words};
use crate::step::Step;

impl Real<'_> {
    pub(super) fn run_access(&mut self, step: &Step, names: &Reference) -> Option<Reply> {
        if let Step::CloseAccess { access } = step {
            let fd = self.accesses[names.open_access(*access)?];
            self.world.process.close(fd).unwrap();
            return Some(Ok(vec![]).into());
        }
        Some(self.run_open(step, names).into())
    }

    fn run_open(&mut self, step: &Step, names: &Reference) -> Result<Vec<u64>> {
        match *step {
            Step::CreateAccess { ioas, flags } => {
                let body = CreateAccess {
                    flags,
                    ..Default::default()
                };
                let ioas = names.pick_ioas(ioas);
                let body = self.test(IommuTestOp::CREATE_ACCESS, ioas, body)?;
                self.accesses
                    .push(FdNumber(body.out_access_fd.cast_signed()));
            }
            Step::AccessReplace { access, ioas } => {
                let body = AccessReplaceIoas {
                    ioas_id: names.pick_ioas(ioas),
                };
                self.test(
                    IommuTestOp::ACCESS_REPLACE_IOAS,
                    self.access(access, names),
                    body,
                )?;
            }
            Step::AccessPages {
                access,
                span,
                memory,
                flags,
            } => {
                let ioas = names.ioas_of_file(names.open_access(access));
                let (iova, length) = names.span(ioas, span);
                let uptr = names.address(memory, names.behind(ioas, iova));
                let body = AccessPages {
                    flags,
                    iova,
                    length,
                    uptr,
                    ..Default::default()
                };
                let fd = self.access(access, names);
                let body = self.test(IommuTestOp::ACCESS_PAGES, fd, body)?;
                return Ok(vec![body.out_access_pages_id.into()]);
            }
            Step::UnpinPages { access, item } => {
                let body = DestroyAccessPages {
                    access_pages_id: item,
                };
                self.test(
                    IommuTestOp::DESTROY_ACCESS_PAGES,
                    self.access(access, names),
                    body,
                )?;
            }
            Step::AccessRw {
                access,
                span,
                fill,
                flags,
            } => {
                let ioas = names.ioas_of_file(names.open_access(access));
                let (iova, length) = names.span(ioas, span);
                let bytes: Vec<u8> = (0..length.min(Ground::SCRATCH))
                    .map(|n| fill.wrapping_add(n.to_le_bytes()[0]))
                    .collect();
                self.place(&bytes, 0);
                let body = AccessRw {
                    iova,
                    length,
                    uptr: self.world.ground.scratch,
                    flags,
                    ..Default::default()
                };
                self.test(IommuTestOp::ACCESS_RW, self.access(access, names), body)?;
                let writes = flags & 1 != 0;
                let read = if writes {
                    0
                } else {
                    usize::try_from(length).unwrap()
                };
                return Ok(words(&self.scratch(read)));
            }
            _ => {}
        }
        Ok(vec![])
    }
}
