//! The walk behind a translation, as text.

use std::fmt;

use swiommu_addr::Iova;
use swiommu_iommu::{Stage, Trace, TracedEntry};

/// A walk as lines to read: one for each entry of a guest's table, with the entries of the second stage that lead to it; one for
/// each entry where there is only one stage; then where it all leads.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    /// What is translated.
    pub iova: Iova,
    /// How.
    pub trace: &'a Trace,
}

impl fmt::Display for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Walk of IOVA {}, as the tables are now:", self.iova)?;
        let entries = &self.trace.entries;
        if entries.iter().all(|entry| entry.stage == Stage::Second) {
            for entry in entries {
                writeln!(f, "  {entry}")?;
            }
        } else {
            for path in entries.chunk_by(|entry, _| entry.stage == Stage::Second) {
                guest_entry(f, path)?;
            }
        }
        match &self.trace.end {
            Ok(found) => {
                let (at, size, access) = (found.resolve(self.iova), found.size, found.access);
                write!(f, "  leads to PA {at}, in a page of {size}: {access}")
            }
            Err(refused) => write!(f, "  {refused}"),
        }
    }
}

/// An entry of the first stage, or the page at the end, behind what the second stage has on the way there.
fn guest_entry(f: &mut fmt::Formatter<'_>, path: &[TracedEntry]) -> fmt::Result {
    let (last, behind) = match path {
        [behind @ .., last] if last.stage == Stage::First => (Some(last), behind),
        behind => (None, behind),
    };
    match last {
        Some(entry) => writeln!(f, "  {entry}")?,
        None => writeln!(f, "  the page")?,
    }
    if !behind.is_empty() {
        write!(f, "      through the {}:", Stage::Second)?;
        for entry in behind {
            write!(f, " {}:{:#x}", entry.level, entry.entry)?;
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use swiommu_addr::{Gpa, Pa, PageSize};
    use swiommu_iommu::{EntryAddress, Translated};

    use super::*;

    fn entry(stage: Stage, level: u8, at: u64, entry: u64) -> TracedEntry {
        let at = match stage {
            Stage::First => EntryAddress::Guest(Gpa::new(at)),
            Stage::Second => EntryAddress::Physical(Pa::new(at)),
        };
        TracedEntry {
            stage,
            level,
            at,
            entry,
        }
    }

    fn shown(entries: Vec<TracedEntry>, end: Result<Translated, String>) -> Vec<String> {
        let trace = Trace { entries, end };
        let walk = Walk {
            iova: Iova::new(0x5008),
            trace: &trace,
        };
        walk.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_guests_entries_stand_before_the_second_stage_on_their_way() {
        let lines = shown(
            vec![
                entry(Stage::Second, 1, 0x8000, 0x9003),
                entry(Stage::Second, 0, 0x9000, 0xa003),
                entry(Stage::First, 0, 0x10_0000, 0x10_8067),
                entry(Stage::Second, 1, 0x8000, 0x9003),
                entry(Stage::Second, 0, 0x9008, 0xb003),
            ],
            Ok(Translated {
                page: Pa::new(0xb000),
                size: PageSize::SIZE_4K,
                access: swiommu_iommu::Access::USER_READ,
            }),
        );
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[1].contains("first stage, level 0: 0x0000000000108067 at GPA 0x100000"));
        assert!(lines[2].ends_with("second stage: 1:0x9003 0:0xa003"));
        assert_eq!(lines[3], "  the page");
        assert!(lines[4].ends_with("1:0x9003 0:0xb003"));
        assert!(lines[5].contains("PA 0xb008"), "{}", lines[5]);
    }

    #[test]
    fn one_stage_has_a_line_for_each_entry() {
        let lines = shown(
            vec![
                entry(Stage::Second, 1, 0x8000, 0x9003),
                entry(Stage::Second, 0, 0x9000, 0),
            ],
            Err("it is not present".to_owned()),
        );
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[2].starts_with("  second stage, level 0"));
        assert_eq!(lines[3], "  it is not present");
    }
}
