//! From the virtual addresses of a process to physical memory, under the pinning rules of the kernel.

use std::sync::Arc;

use swiommu_addr::{Address, HvaRange, PageSize};

use super::kind::FileSystem;
use super::maps::Vma;
use super::open::open_mapped;
use super::{Process, vm};
use crate::physical::{Alias, Exhausted, Wanted, push_run};
use crate::{Access, Fault, FileId, FileOffset, FileRange, PAGE, Runs};

impl Process {
    pub(super) fn resolve_pages(&self, pages: HvaRange, access: Access) -> Result<Runs, Fault> {
        let mut runs = Runs::new();
        let mut rest = pages;
        loop {
            let at = rest.start();
            let found = self.mm.maps().at_or_above(at).map_err(|_| Fault::Gone)?;
            let vma = found.ok_or(Fault::Unmapped(at))?;
            let part = vma.range.intersection(rest).ok_or(Fault::Unmapped(at))?;
            if part.start() != at {
                return Err(Fault::Unmapped(at));
            }
            for run in self.resolve_part(&vma, part, access)? {
                push_run(&mut runs, run.memory, run.page);
            }
            let next = part
                .end()
                .and_then(|next| HvaRange::new(next, pages.last()));
            match next {
                Some(next) => rest = next,
                None => return Ok(runs),
            }
        }
    }

    /// The memory of a part of one area.
    fn resolve_part(&self, vma: &Vma, part: HvaRange, access: Access) -> Result<Runs, Fault> {
        let at = part.start();
        let allowed = match access {
            Access::Read => vma.readable,
            Access::Write => vma.writable,
        };
        if !allowed {
            return Err(Fault::Denied { at, access });
        }
        let system = vma
            .file
            .map(|(id, _)| self.systems.of(id.device, &self.directory));
        if access == Access::Write && vma.shared && system == Some(FileSystem::Tracked) {
            return Err(Fault::Special {
                at,
                why: "a shared mapping of a file system that tracks its dirty pages",
            });
        }
        // Files can be shorter than their mappings, and read-only areas can be the kernel's own: a look at the last page tells.
        if vma.readable && (vma.file.is_some() || !vma.writable) {
            let last = part.last().align_down(PAGE);
            if vm::read(self.pid(), last, &mut [0]) == 0 {
                let why = "device memory, or beyond the end of the file";
                return Err(Fault::Special { at: last, why });
            }
        }
        let page = vma.page.or(page_of(system)).unwrap_or(PAGE);
        let identified = vma
            .file
            .filter(|_| vma.shared && system != Some(FileSystem::Internal));
        let resolved = match identified {
            Some((id, offset)) => self.resolve_shared(vma, part, id, offset, page),
            None => self
                .memory
                .resolve_private(&self.mm, part, page, vma.range.last()),
        };
        resolved.map_err(|Exhausted| Fault::Exhausted)
    }

    fn resolve_shared(
        &self,
        vma: &Vma,
        part: HvaRange,
        id: FileId,
        offset: u64,
        page: PageSize,
    ) -> Result<Runs, Exhausted> {
        let file_range = |hva: HvaRange| {
            let start = offset.checked_add(hva.start().get() - vma.range.start().get())?;
            FileRange::from_len(FileOffset::new(start), hva.len()?)
        };
        let (Some(range), Some(mapped)) = (file_range(part), file_range(vma.range)) else {
            return Err(Exhausted);
        };
        let wanted = Wanted {
            id,
            page,
            range,
            expected_size: mapped.last().get(),
        };
        let alias = Alias {
            mm: Arc::downgrade(&self.mm),
            hva: vma.range.start(),
            range: mapped,
        };
        let open = || open_mapped(&self.directory, self.mm.maps(), vma, id);
        self.memory.resolve_file(&wanted, Some(alias), open)
    }
}

fn page_of(system: Option<FileSystem>) -> Option<PageSize> {
    match system {
        Some(FileSystem::Hugetlb(page)) => page,
        _ => None,
    }
}
