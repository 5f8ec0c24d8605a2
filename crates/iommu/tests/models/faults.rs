//! Which fault it is, and where.

use swiommu_addr::{Address, Gpa, Iova};
use swiommu_iommu::{DmaError, Prot, Retention};

use crate::guest::{PAGE, SCRATCH, pages};
use crate::model::{Changed, Kind, Model, Rights, Why};
use crate::nested::{Nested, read, says, write};
use crate::tables::ROOT;

/// The page of IOVAs that is looked at; its index is another at each level.
const AT: u64 = 1 << 27 | 2 << 18 | 3 << 9 | 4;

/// The guest's page behind it, and the data behind that.
const TO: u64 = 0x123;
const DATA: u64 = 5;

fn nested<M: Model>() -> Nested<M> {
    let mut nested = Nested::new(Retention::LegalMaximum);
    nested.map_first(0, AT, TO, Rights::Write);
    nested.map_second(TO, DATA, Prot::RW);
    nested
}

/// Asserts that reading, or writing, fails in this way; the text has to name these places.
fn fails<M: Model>(nested: &Nested<M>, page: u64, wanted: Rights, why: &Why, places: &[String]) {
    let mut port = nested.port(M::REQUESTERS[0]);
    let ended = match wanted {
        Rights::Read => read(&mut port, page).map(drop),
        Rights::Write => write(&mut port, page, 1),
    };
    let error = ended.expect_err("this is not translated");
    says::<M>(&error, page, why).unwrap();
    for place in places {
        assert!(error.to_string().contains(place), "{error}: no {place}");
    }
}

/// How texts name an entry.
fn entry(at: Gpa, level: u8) -> String {
    format!("at {at}, level {level}")
}

/// How they name the guest's address that an access goes to.
fn target(wanted: Rights) -> String {
    let offset = match wanted {
        Rights::Read => 0,
        Rights::Write => SCRATCH,
    };
    Gpa::new(TO * PAGE + offset).to_string()
}

pub(crate) fn each_fault_names_its_stage_level_and_address<M: Model>() {
    let both = [Rights::Read, Rights::Write];
    for (level, wanted) in (0..=ROOT).flat_map(|level| both.map(|wanted| (level, wanted))) {
        let kind = Kind::NotPresent;
        let nested = nested::<M>();
        let at = nested.tables.entry(level, AT).unwrap();
        nested.guest.write(at, 0);
        let absent = Why::Entry { level, kind };
        fails(&nested, AT, wanted, &absent, &[entry(at, level)]);

        let nested = self::nested::<M>();
        let at = nested.tables.entry(level, AT).unwrap();
        nested.unmap_second(at.get() / PAGE);
        fails(
            &nested,
            AT,
            wanted,
            &Why::Table { level },
            &[at.to_string()],
        );
    }
    let mut n = nested::<M>();
    n.unmap_second(TO);
    let unmapped = Why::Second {
        kind: Kind::NotPresent,
    };
    for wanted in both {
        fails(&n, AT, wanted, &unmapped, &[target(wanted)]);
    }
    n.map_second(TO, DATA, Prot::RW);
    n.map_first(0, AT, TO, Rights::Read);
    let leaf = n.tables.entry(0, AT).unwrap();
    let read_only = Why::Entry {
        level: 0,
        kind: Kind::NotWritable,
    };
    fails(&n, AT, Rights::Write, &read_only, &[entry(leaf, 0)]);
    let malformed = Why::Entry {
        level: 0,
        kind: Kind::Malformed,
    };
    for word in M::malformed(Gpa::new(TO * PAGE)) {
        n.guest.write(leaf, word);
        fails(&n, AT, Rights::Read, &malformed, &[entry(leaf, 0)]);
    }
    // Neither half of the addresses.
    fails(&n, 1 << 35, Rights::Read, &Why::Input, &[]);
    for prot in M::PARENT_PROTS {
        let n = nested::<M>();
        n.unmap_second(TO);
        n.map_second(TO, DATA, *prot);
        let needed = [
            (Rights::Read, Prot::READ, Kind::NotReadable),
            (Rights::Write, Prot::WRITE, Kind::NotWritable),
        ];
        for (wanted, permission, kind) in needed {
            if !prot.contains(permission) {
                fails(&n, AT, wanted, &Why::Second { kind }, &[target(wanted)]);
            }
        }
    }
}

pub(crate) fn a_fault_of_stage_1_comes_before_one_of_stage_2<M: Model>() {
    let mut n = nested::<M>();
    n.map_first(0, AT, TO, Rights::Read);
    n.unmap_second(TO);
    let read_only = Why::Entry {
        level: 0,
        kind: Kind::NotWritable,
    };
    fails(&n, AT, Rights::Write, &read_only, &[]);
    let unmapped = Why::Second {
        kind: Kind::NotPresent,
    };
    fails(&n, AT, Rights::Read, &unmapped, &[]);
}

/// What comes before it has been written.
pub(crate) fn the_fault_is_that_of_the_first_page_that_fails<M: Model>() {
    let mut n = nested::<M>();
    n.map_first(0, AT + 1, TO + 1, Rights::Write);
    n.map_first(0, AT + 2, TO, Rights::Write);
    let mut port = n.port(M::REQUESTERS[0]);
    let start = Iova::new(AT * PAGE);
    let bytes = [0xee; 3 * 4096];
    let unmapped = Why::Second {
        kind: Kind::NotPresent,
    };
    let error = port.write(start, &bytes).unwrap_err();
    says::<M>(&error, AT + 1, &unmapped).unwrap();
    let DmaError::Fault { iova, .. } = error else {
        unreachable!("it is a fault");
    };
    assert_eq!(iova, start.wrapping_add(PAGE), "its first byte");
    let written = u64::from_le_bytes([0xee; 8]);
    assert_eq!(n.guest.read_data(DATA, PAGE - 8), written);
    n.guest.write(n.tables.entry(0, AT + 2).unwrap(), 0);
    n.invalidate(Changed::Leaves(pages(AT + 2, 1)));
    n.map_second(TO + 1, DATA + 1, Prot::RW);
    let absent = Why::Entry {
        level: 0,
        kind: Kind::NotPresent,
    };
    let error = port.write(start, &bytes).unwrap_err();
    says::<M>(&error, AT + 2, &absent).unwrap();
    assert_eq!(n.guest.read_data(DATA + 1, PAGE - 8), written);
    assert_eq!(n.guest.read_data(DATA + 2, 8), 0);
}
