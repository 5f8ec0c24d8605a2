//! Whole two-stage translations: section A.6. A walk of the first stage reads its entries through a walk of the second.

use std::cell::Cell;
use std::fmt;

use swiommu_pgtable::fmt::AddressForm::Bits48;
use swiommu_pgtable::fmt::{Amdv1, ArmS1, ArmS2, Riscv, VtdSs, X86_64};
use swiommu_pgtable::{
    Access, EntryAction, EntryMemory, Exchange, NoTableMemory, PhysicalEntries, Refusal, WalkFault,
};

use super::*;

const SECTION: &str = "A.6";

/// Where the second stage has the guest's tables, its context structure and the page.
const TABLES: Map = (0x1_0000_0000, 0x2_4000_0000, 2 * M, Prot::empty());
const CONTEXT: Map = (0x8000_0000, 0x3_6666_6000, 4 * K, Prot::empty());
const PAGE: Map = (0xa_bcde_f000, 0x3_5555_5000, 4 * K, Prot::empty());

const SECOND_STAGE_ROOT: u64 = 0x5_0000_0000;
const RESULT: Pa = Pa::new(0x3_5555_5678);

/// Physical memory, in which all entries are that somebody reads.
struct Host {
    second_stage: HeapTables,
    /// The guest's memory, by physical address.
    guest: Foreign,
    reads: Cell<usize>,
}

/// What the guest's tables are read through.
struct ThroughSecondStage<'a, F> {
    host: &'a Host,
    walker: Walker<F, Counted<'a>>,
}

/// The second stage's own tables.
struct Counted<'a>(PhysicalEntries<&'a HeapTables>, &'a Cell<usize>);

impl EntryMemory for Counted<'_> {
    type Address = Pa;
    type Fault = NoTableMemory;

    fn read(&self, at: Pa) -> Result<u64, NoTableMemory> {
        self.1.set(self.1.get() + 1);
        self.0.read(at)
    }

    fn compare_exchange(&self, at: Pa, old: u64, new: u64) -> Result<Exchange, NoTableMemory> {
        self.0.compare_exchange(at, old, new)
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum GuestFault {
    SecondStage(WalkFault<Pa, NoTableMemory>),
    NoMemory(Pa),
}

impl fmt::Display for GuestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecondStage(fault) => write!(f, "second stage: {fault}"),
            Self::NoMemory(pa) => write!(f, "no memory at {pa}"),
        }
    }
}

impl<F: HardwareWalk> ThroughSecondStage<'_, F> {
    fn translate(&self, gpa: Gpa, wanted: Access) -> Result<Pa, GuestFault> {
        let input = Iova::new(gpa.get());
        let found = self.walker.walk(input, wanted);
        Ok(found.map_err(GuestFault::SecondStage)?.resolve(input))
    }
}

impl<F: HardwareWalk> EntryMemory for ThroughSecondStage<'_, F> {
    type Address = Gpa;
    type Fault = GuestFault;

    fn read(&self, at: Gpa) -> Result<u64, GuestFault> {
        let pa = self.translate(at, Access::USER_READ)?;
        self.host.reads.set(self.host.reads.get() + 1);
        let entry = self.host.guest.get(pa.get());
        entry.ok_or(GuestFault::NoMemory(pa))
    }

    fn compare_exchange(&self, at: Gpa, old: u64, new: u64) -> Result<Exchange, GuestFault> {
        let pa = self.translate(at, Access::USER_WRITE)?;
        let updated = self
            .host
            .guest
            .compare_exchange(Gpa::new(pa.get()), old, new);
        updated.map_err(|_| GuestFault::NoMemory(pa))
    }
}

/// The second stage of the set, in the order in which it was made for each format.
pub(super) fn map_second_stage<F: HardwareWalk>(
    table: &PageTable<F, &HeapTables>,
    prot: Prot,
    maps: &[Map],
) {
    for &(gpa, pa, len, _) in maps {
        map(table, (gpa, pa, len, prot));
    }
}

pub(super) const VTD_AND_AMD: &[Map] = &[TABLES, PAGE, CONTEXT];
pub(super) const ARM: &[Map] = &[TABLES, CONTEXT, PAGE];
pub(super) const RISCV: &[Map] = &[TABLES, PAGE];

/// The guest's table, as the guest made it, with one page.
fn guest_entries<F: HardwareWalk>(format: F, iova: u64, prot: Prot) -> Foreign {
    let memory = HeapTables::new();
    let table = PageTable::new(format, &memory).unwrap();
    map(&table, (iova, PAGE.0, 4 * K, prot));
    let guest = Foreign::default();
    for word in 0..memory.in_use() / 8 {
        let entry = entry(&memory, ROOT, usize::try_from(word).unwrap());
        guest.put(TABLES.1 + 8 * word, entry);
    }
    guest
}

struct Case<F1, F2> {
    guest: F1,
    guest_prot: Prot,
    iova: u64,
    second_stage: F2,
    prot: Prot,
    maps: &'static [Map],
}

impl<F1: HardwareWalk, F2: HardwareWalk> Case<F1, F2> {
    /// Runs `act` with a walker for the guest's table.
    fn run(&self, act: impl FnOnce(&Host, &Walker<F1, ThroughSecondStage<'_, F2>>)) {
        let host = Host {
            second_stage: HeapTables::starting_at(Pa::new(SECOND_STAGE_ROOT)),
            guest: guest_entries(self.guest, self.iova & !0xfff, self.guest_prot),
            reads: Cell::new(0),
        };
        let table = PageTable::new(self.second_stage, &host.second_stage).unwrap();
        map_second_stage(&table, self.prot, self.maps);
        let entries = Counted(PhysicalEntries::new(&host.second_stage), &host.reads);
        let walker = Walker::new(self.second_stage, entries, table.root()).unwrap();
        let guest_memory = ThroughSecondStage {
            host: &host,
            walker,
        };
        let root = Root {
            table: Gpa::new(ROOT),
            levels: *self.guest.levels().start(),
        };
        act(&host, &Walker::new(self.guest, guest_memory, root).unwrap());
    }

    /// A read at the IOVA leads to the page, after so many reads of entries. `context` is how many context structures of the
    /// guest are read first.
    fn check(&self, context: usize, reads: usize) {
        self.run(|host, walker| {
            let second = walker.memory();
            for _ in 0..context {
                let found = second.translate(Gpa::new(CONTEXT.0), Access::USER_READ);
                assert_eq!(found, Ok(Pa::new(CONTEXT.1)));
                host.reads.set(host.reads.get() + 1);
            }
            let iova = Iova::new(self.iova);
            let found = walker.walk(iova, Access::USER_READ).unwrap();
            let gpa = found.resolve(iova);
            assert_eq!(gpa, Gpa::new(PAGE.0 + self.iova % 0x1000), "{SECTION}");
            assert_eq!(second.translate(gpa, Access::USER_READ), Ok(RESULT));
            assert_eq!(host.reads.get(), reads, "{SECTION}");
        });
    }
}

const VTD: Case<X86_64, VtdSs> = Case {
    guest: X86_64::four_level(),
    guest_prot: Prot::RW,
    iova: 0x1234_5678,
    second_stage: VtdSs::four_level(),
    prot: Prot::RW,
    maps: VTD_AND_AMD,
};

#[test]
fn vtd() {
    VTD.check(0, 20);
}

#[test]
fn amd() {
    let case = Case {
        guest: X86_64::four_level().with_lower_half(),
        guest_prot: Prot::RW,
        iova: 0x7fff_1234_5678,
        second_stage: Amdv1::new().with_force_coherence(),
        prot: Prot::RW,
        maps: VTD_AND_AMD,
    };
    case.check(1, 19);
}

#[test]
fn arm() {
    let case = Case {
        guest: ArmS1::<12>::new(Bits48, 48, 44).unwrap(),
        guest_prot: Prot::RW | Prot::CACHE,
        iova: 0x1234_5678,
        second_stage: ArmS2::<12>::new(Bits48, 44, 44).unwrap(),
        prot: Prot::RW | Prot::CACHE,
        maps: ARM,
    };
    case.check(1, 25);
}

#[test]
fn riscv() {
    let case = Case {
        guest: Riscv::sv39(),
        guest_prot: Prot::RW,
        iova: 0x1234_5678,
        second_stage: Riscv::sv39x4(),
        prot: Prot::RW | Prot::NOEXEC,
        maps: RISCV,
    };
    case.check(0, 12);
}

#[test]
fn a_fault_of_the_second_stage_is_told_from_one_of_the_first() {
    VTD.run(|host, walker| {
        let iova = Iova::new(VTD.iova);
        // The third table moves to where the second stage has nothing.
        let at = Gpa::new(ROOT + 0x1000);
        host.guest.put(TABLES.1 + 0x1000, 0x1_9000_0027);
        let Err(WalkFault::Entry {
            at: descriptor,
            level: 1,
            action: EntryAction::Read,
            fault: GuestFault::SecondStage(fault),
            ..
        }) = walker.walk(iova, Access::USER_READ)
        else {
            panic!("no fault of the second stage");
        };
        assert_eq!(descriptor, Gpa::new(0x1_9000_0000 + 8 * 0x91));
        let absent = matches!(
            fault,
            WalkFault::Refused { iova, level: 2, reason: Refusal::NotPresent, .. }
                if iova.get() == descriptor.get()
        );
        assert!(absent, "{fault:?}");
        // The guest has nothing there.
        host.guest.put(TABLES.1 + 0x1000, 0);
        let fault = walker.walk(iova, Access::USER_READ).unwrap_err();
        let absent = matches!(
            fault,
            WalkFault::Refused { at: here, level: 2, reason: Refusal::NotPresent, .. } if here == at
        );
        assert!(absent, "{fault:?}");
    });
}

/// A descriptor is read with read permission; marking it takes write permission, and is a write for the second stage too.
#[test]
fn an_update_is_a_write_for_the_second_stage() {
    let second_stage = VtdSs::four_level().with_accessed_dirty();
    let clean = |host: &Host| {
        let leaf = TABLES.1 + 0x3000 + 8 * 0x145;
        let entry = host.guest.get(leaf).unwrap();
        host.guest.put(leaf, entry & !0x40);
        leaf
    };
    let iova = Iova::new(VTD.iova);
    Case {
        second_stage,
        ..VTD
    }
    .run(|host, walker| {
        let leaf = clean(host);
        let second = walker.memory().walker.look(Iova::new(TABLES.0)).unwrap();
        assert_eq!(second.entry & 0x300, 0);
        walker.walk(iova, Access::USER_READ).unwrap();
        let second = walker.memory().walker.look(Iova::new(TABLES.0)).unwrap();
        assert_eq!(second.entry & 0x300, 0x100, "accessed, not dirty");
        walker.walk(iova, Access::USER_WRITE).unwrap();
        assert_eq!(host.guest.get(leaf).unwrap() & 0x40, 0x40);
        let second = walker.memory().walker.look(Iova::new(TABLES.0)).unwrap();
        assert_eq!(second.entry & 0x300, 0x300);
    });
    let prot = Prot::READ;
    Case { prot, ..VTD }.run(|host, walker| {
        let leaf = clean(host);
        walker.walk(iova, Access::USER_READ).unwrap();
        let Err(WalkFault::Entry {
            level: 0,
            action: EntryAction::Update,
            fault: GuestFault::SecondStage(WalkFault::Refused { reason, .. }),
            ..
        }) = walker.walk(iova, Access::USER_WRITE)
        else {
            panic!("the second stage let a write pass");
        };
        assert!(matches!(reason, Refusal::Permission { .. }));
        assert_eq!(host.guest.get(leaf).unwrap() & 0x40, 0);
    });
}

#[test]
fn vtd_second_stage_entries() {
    let memory = HeapTables::starting_at(Pa::new(SECOND_STAGE_ROOT));
    let table = PageTable::new(VtdSs::four_level(), &memory).unwrap();
    map_second_stage(&table, Prot::RW, VTD_AND_AMD);
    assert_entries(
        &memory,
        &[
            (SECOND_STAGE_ROOT, 0x000, 0x000, 0x5_0000_1003),
            (SECOND_STAGE_ROOT + 0x1000, 0x002, 0x002, 0x5_0000_5003),
            (SECOND_STAGE_ROOT + 0x1000, 0x004, 0x004, 0x5_0000_2003),
            (SECOND_STAGE_ROOT + 0x1000, 0x02a, 0x02a, 0x5_0000_3003),
            (SECOND_STAGE_ROOT + 0x2000, 0x000, 0x000, 0x2_4000_0083),
            (SECOND_STAGE_ROOT + 0x3000, 0x1e6, 0x1e6, 0x5_0000_4003),
            (SECOND_STAGE_ROOT + 0x4000, 0x1ef, 0x1ef, 0x3_5555_5003),
            (SECOND_STAGE_ROOT + 0x5000, 0x000, 0x000, 0x5_0000_6003),
            (SECOND_STAGE_ROOT + 0x6000, 0x000, 0x000, 0x3_6666_6003),
        ],
    );
}
