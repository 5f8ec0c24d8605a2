//! What the hardware asks of the marks in entries, and does to them: sections A and C of `docs/spec/hw-formats.md`.

use swiommu_addr::{Gpa, Iova};
use swiommu_pgtable::fmt::AddressForm::Bits48;
use swiommu_pgtable::fmt::{Amdv1, ArmS1, ArmS2, Riscv, VtdSs, X86_64};
use swiommu_pgtable::{
    Access, EntryAction, Format, HardwareUpdate, HardwareWalk, Prot, Refusal, Root, WalkFault,
    Walker,
};

use crate::foreign::{Foreign, Nowhere};

const READ: Access = Access::USER_READ;
const WRITE: Access = Access::USER_WRITE;

/// A path from a root to a leaf at IOVA 0, in tables that follow each other.
struct Path {
    memory: Foreign,
    len: usize,
}

const ROOT: u64 = 0x1_0000_0000;

impl Path {
    fn new(entries: &[u64]) -> Self {
        let memory = Foreign::default();
        for (step, &entry) in entries.iter().enumerate() {
            memory.put(Self::at(step), entry);
        }
        let len = entries.len();
        Self { memory, len }
    }

    fn at(step: usize) -> u64 {
        ROOT + 0x1000 * step as u64
    }

    fn entries(&self) -> Vec<u64> {
        let entry = |step| self.memory.get(Self::at(step)).unwrap();
        (0..self.len).map(entry).collect()
    }

    fn walker<F: HardwareWalk>(&self, format: F) -> Walker<F, &Foreign> {
        let root = Root {
            table: Gpa::new(ROOT),
            levels: *format.levels().start(),
        };
        Walker::new(format, &self.memory, root).unwrap()
    }
}

/// After a walk for `wanted`, the entries are these.
#[track_caller]
fn check<F: HardwareWalk>(format: F, before: &[u64], wanted: Access, after: &[u64]) {
    let path = Path::new(before);
    let found = path.walker(format).walk(Iova::new(0), wanted).unwrap();
    assert_eq!(path.entries(), after);
    assert_eq!(found.entry, *after.last().unwrap());
    // Each entry that changed was written once, the root's first.
    let changed = (0..before.len()).filter(|&step| before[step] != after[step]);
    assert_eq!(
        path.memory.updates(),
        changed.map(Path::at).collect::<Vec<_>>()
    );
    // A second time there is nothing to be done, and a look never does anything.
    path.walker(format).walk(Iova::new(0), wanted).unwrap();
    let untouched = Path::new(before);
    untouched.walker(format).look(Iova::new(0)).unwrap();
    assert!(path.memory.updates().is_empty() && untouched.memory.updates().is_empty());
}

/// A walk for `wanted` ends at the last entry, for this reason, and changes nothing.
#[track_caller]
fn refused<F: HardwareWalk>(format: F, before: &[u64], wanted: Access, expected: Refusal) {
    assert_eq!(refusal(format, before, wanted), expected);
}

/// The reason for which a walk ends at the last entry, without having changed anything.
#[track_caller]
fn refusal<F: HardwareWalk>(format: F, before: &[u64], wanted: Access) -> Refusal {
    let path = Path::new(before);
    let result = path.walker(format).walk(Iova::new(0), wanted);
    let Err(WalkFault::Refused {
        at,
        level,
        entry,
        reason,
        ..
    }) = result
    else {
        panic!("{result:?}");
    };
    assert_eq!((at.get(), level), (Path::at(before.len() - 1), 0));
    assert_eq!(entry, *before.last().unwrap());
    assert_eq!(path.entries(), before);
    assert!(path.memory.updates().is_empty());
    reason
}

const X86_CLEAN: [u64; 4] = [0x1_0000_1007, 0x1_0000_2007, 0x1_0000_3007, 0xa_bcde_f007];

#[test]
fn x86_64_marks_all_entries_as_accessed_and_the_leaf_as_dirty() {
    let format = X86_64::four_level();
    let read = [0x1_0000_1027, 0x1_0000_2027, 0x1_0000_3027, 0xa_bcde_f027];
    check(format, &X86_CLEAN, READ, &read);
    check(format, &X86_CLEAN, Access::empty(), &read);
    let written = [read[0], read[1], read[2], 0xa_bcde_f067];
    check(format, &X86_CLEAN, WRITE, &written);
    check(format, &X86_CLEAN, READ | WRITE, &written);
    check(format, &X86_CLEAN, Access::PRIVILEGED_WRITE, &written);
    // What Linux writes needs no update.
    check(format, &written, READ, &written);
    // One entry that is not marked is enough, or two.
    for (first, second) in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)] {
        let mut path = written;
        path[first] = X86_CLEAN[first];
        path[second] = X86_CLEAN[second];
        check(format, &path, READ, &written);
    }
    // EAFE: EA, bit 10, as well.
    let extended = X86_64::four_level().with_extended_accessed_flag();
    let after = [0x1_0000_1427, 0x1_0000_2427, 0x1_0000_3427, 0xa_bcde_f467];
    check(extended, &X86_CLEAN, WRITE, &after);
}

#[test]
fn amdv1_marks_what_the_device_table_entry_says() {
    use HardwareUpdate::{Accessed, AccessedAndDirty, None};
    let before = [
        0x6000_0001_0000_1401,
        0x6000_0001_0000_2201,
        0x7000_000a_bcde_f001,
    ];
    let accessed = before.map(|entry| entry | 0x20);
    let written = [accessed[0], accessed[1], accessed[2] | 0x40];
    for (update, read, write) in [
        (None, before, before),
        (Accessed, accessed, accessed),
        (AccessedAndDirty, accessed, written),
    ] {
        let format = Amdv1::new().with_hardware_update(update);
        check(format, &before, READ, &read);
        check(format, &before, WRITE, &write);
    }
}

#[test]
fn vtd_second_stage_marks_all_entries_where_ssade_says_so() {
    let before = [0x1_0000_1003, 0x1_0000_2003, 0xa_bcde_f003];
    let format = VtdSs::three_level();
    check(format, &before, WRITE, &before);
    let format = format.with_accessed_dirty();
    let accessed = [0x1_0000_1103, 0x1_0000_2103, 0xa_bcde_f103];
    check(format, &before, READ, &accessed);
    let written = [0x1_0000_1103, 0x1_0000_2103, 0xa_bcde_f303];
    check(format, &before, WRITE, &written);
    check(format, &accessed, WRITE, &written);
}

fn arm_s1() -> ArmS1<12> {
    ArmS1::new(Bits48, 39, 48).unwrap()
}

fn arm_s2() -> ArmS2<12> {
    ArmS2::new(Bits48, 39, 48).unwrap()
}

const ARM_TABLES: [u64; 2] = [0x1_0000_1003, 0x1_0000_2003];

fn arm(leaf: u64) -> [u64; 3] {
    [ARM_TABLES[0], ARM_TABLES[1], leaf]
}

#[test]
fn arm_access_flag() {
    use HardwareUpdate::{Accessed, AccessedAndDirty};
    const AF: u64 = 1 << 10;
    let leaves = [0xa_bcde_ff47, 0xa_bcde_f7ff];
    let clear = leaves.map(|leaf| leaf & !AF);
    let flag = Refusal::AccessFlag;
    // HA and AFFD are 0: a fault, also where the permission is missing.
    refused(arm_s1(), &arm(clear[0]), READ, flag);
    refused(arm_s2(), &arm(clear[1]), READ, flag);
    refused(arm_s1(), &arm(clear[0] | 1 << 7), WRITE, flag);
    refused(arm_s2(), &arm(clear[1] & !(1 << 7)), WRITE, flag);
    // AFFD.
    let ignored = arm_s1().with_access_flag_ignored();
    check(ignored, &arm(clear[0]), WRITE, &arm(clear[0]));
    let ignored = arm_s2().with_access_flag_ignored();
    check(ignored, &arm(clear[1]), WRITE, &arm(clear[1]));
    // HA: the hardware sets it, in the leaf alone.
    for update in [Accessed, AccessedAndDirty] {
        let set = arm_s1().with_hardware_update(update);
        check(set, &arm(clear[0]), READ, &arm(leaves[0]));
        let set = arm_s2().with_hardware_update(update);
        check(set, &arm(clear[1]), READ, &arm(leaves[1]));
    }
}

#[test]
fn arm_writable_and_clean() {
    use HardwareUpdate::{Accessed, AccessedAndDirty};
    const DBM: u64 = 1 << 51;
    let permission = |wanted, permitted| Refusal::Permission { wanted, permitted };
    // Stage 1: AP[2] is set, and a write clears it.
    let clean = arm(0xa_bcde_ffc7 | DBM);
    let dirty = arm(0xa_bcde_ff47 | DBM);
    let tracked = arm_s1().with_hardware_update(AccessedAndDirty);
    check(tracked, &clean, WRITE, &dirty);
    check(tracked, &clean, READ, &clean);
    check(tracked, &dirty, WRITE, &dirty);
    let read_only = Access::all().difference(Access::WRITE);
    for untracked in [arm_s1(), arm_s1().with_hardware_update(Accessed)] {
        refused(untracked, &clean, WRITE, permission(WRITE, read_only));
    }
    // Without DBM it is simply read-only.
    refused(
        tracked,
        &arm(0xa_bcde_ffc7),
        WRITE,
        permission(WRITE, read_only),
    );
    // Stage 2: S2AP[1] is clear, and a write sets it.
    let clean = arm(0xa_bcde_f77f | DBM);
    let dirty = arm(0xa_bcde_f7ff | DBM);
    let tracked = arm_s2().with_hardware_update(AccessedAndDirty);
    check(tracked, &clean, WRITE, &dirty);
    check(tracked, &clean, READ, &clean);
    for untracked in [arm_s2(), arm_s2().with_hardware_update(Accessed)] {
        refused(untracked, &clean, WRITE, permission(WRITE, read_only));
    }
    refused(
        tracked,
        &arm(0xa_bcde_f77f),
        WRITE,
        permission(WRITE, read_only),
    );
}

/// What the reference model does, section C.4.
#[test]
fn riscv_marks_leaves_or_faults() {
    const A: u64 = 1 << 6;
    const D: u64 = 1 << 7;
    let path = |leaf| [0x4000_0401, 0x4000_0801, leaf];
    let full: u64 = 0x2_af37_bcd7;
    for (faults, marks) in [
        (Riscv::sv39(), Riscv::sv39().with_accessed_dirty()),
        (Riscv::sv39x4(), Riscv::sv39x4().with_accessed_dirty()),
    ] {
        for format in [faults, marks] {
            check(format, &path(full), WRITE, &path(full));
            check(format, &path(full & !D), READ, &path(full & !D));
        }
        refused(faults, &path(full & !A), READ, Refusal::AccessFlag);
        refused(faults, &path(full & !D), WRITE, Refusal::AccessFlag);
        check(marks, &path(full & !A), READ, &path(full));
        check(marks, &path(full & !A & !D), READ, &path(full & !D));
        check(marks, &path(full & !A & !D), WRITE, &path(full));
        check(marks, &path(full & !D), WRITE, &path(full));
        // A permission that is missing comes first, and nothing is marked.
        let read_only = full & !(A | D | 1 << 2);
        let Refusal::Permission { wanted, .. } = refusal(faults, &path(read_only), WRITE) else {
            panic!("another reason");
        };
        assert_eq!(wanted, WRITE);
        assert_eq!(
            refusal(marks, &path(read_only), WRITE),
            refusal(faults, &path(read_only), WRITE)
        );
    }
}

#[test]
fn an_update_can_fault() {
    let format = X86_64::four_level();
    for fresh in 0..4 {
        // The entries above are marked already.
        let mut entries = X86_CLEAN;
        for entry in &mut entries[..fresh] {
            *entry |= 0x20;
        }
        let path = Path::new(&entries);
        path.memory.make_read_only();
        let at = Gpa::new(Path::at(fresh));
        let result = path.walker(format).walk(Iova::new(0), READ);
        let expected = WalkFault::Entry {
            iova: Iova::new(0),
            at,
            level: 3 - u8::try_from(fresh).unwrap(),
            action: EntryAction::Update,
            fault: Nowhere(at),
        };
        assert_eq!(result, Err(expected));
        assert_eq!(path.entries(), entries);
    }
    let marked = X86_CLEAN.map(|entry| entry | 0x20);
    let path = Path::new(&marked);
    path.memory.make_read_only();
    assert!(path.walker(format).walk(Iova::new(0), READ).is_ok());
}

#[test]
fn an_entry_that_changes_before_it_is_marked_is_looked_at_again() {
    // The guest clears present just before: the walk ends there, and the entry stays as the guest has it.
    let path = Path::new(&X86_CLEAN);
    path.memory.disturb(|entry| entry & !1);
    let fault = path.walker(X86_64::four_level()).walk(Iova::new(0), READ);
    let Err(WalkFault::Refused {
        at, entry, reason, ..
    }) = fault
    else {
        panic!("{fault:?}");
    };
    assert_eq!(
        (at.get(), entry, reason),
        (ROOT, X86_CLEAN[0] & !1, Refusal::NotPresent)
    );
    // It changes it in another way, once: the walk goes on with what is there then.
    let path = Path::new(&X86_CLEAN);
    path.memory.disturb(|entry| entry | 1 << 52);
    let found = path
        .walker(X86_64::four_level())
        .walk(Iova::new(0), WRITE)
        .unwrap();
    assert_eq!(found.entry, 0xa_bcde_f067 | 1 << 52);
    assert_eq!(path.memory.updates().len(), 8);
    // It never stops.
    let path = Path::new(&X86_CLEAN);
    path.memory.disturb(|entry| entry ^ 1 << 52);
    let fault = path.walker(X86_64::four_level()).walk(Iova::new(0), READ);
    let contended = matches!(
        fault,
        Err(WalkFault::Refused { at, level: 3, reason: Refusal::Contended, .. }) if at.get() == ROOT
    );
    assert!(contended, "{fault:?}");
    let attempts = path.memory.updates().len();
    assert!(attempts < 100);
    // The first time it only looked.
    assert_eq!(path.memory.reads().len(), 4 * (1 + attempts));
}

/// The reasons, in the words that a person reads.
#[test]
fn a_fault_says_what_is_wrong_and_where() {
    let text = |entries: &[u64], wanted| {
        let path = Path::new(entries);
        let walker = path.walker(X86_64::four_level());
        walker
            .walk(Iova::new(0x123), wanted)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(
            &[0x1_0000_1025, 0x1_0000_2027, 0x1_0000_3027, 0xa_bcde_f067],
            WRITE
        ),
        "0x123: entry 0x0000000100001025 at 0x100000000, level 3: it permits r-x/rwx, not -w-/---"
    );
    assert_eq!(
        text(&[0x1_0000_1027, 0], READ),
        "0x123: entry 0x0000000000000000 at 0x100001000, level 2: it is not present"
    );
    assert_eq!(
        text(&[0x1_0000_1027, 0x8000_0000_0000_0027], READ),
        "0x123: entry 0x8000000000000027 at 0x100001000, level 2: reserved bits 0x8000000000000000 are set"
    );
    assert_eq!(
        text(&[0x1_0000_1027], READ),
        "0x123: cannot read the entry at 0x100001000, level 2: nothing at 0x100001000"
    );
    let path = Path::new(&X86_CLEAN);
    path.memory.make_read_only();
    let walker = path.walker(X86_64::four_level());
    let fault = walker.walk(Iova::new(0x123), READ).unwrap_err().to_string();
    assert_eq!(
        fault,
        "0x123: cannot update the entry at 0x100000000, level 3: nothing at 0x100000000"
    );
    let fault = walker.walk(Iova::new(1 << 47), READ).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "0x800000000000 is not an input address of the table"
    );
}

/// What a write leaves in an entry, and what a dirty read takes away again: the marks of the manuals, for the owner of a table.
#[test]
fn dirty_marks_are_those_of_the_manuals() {
    #[track_caller]
    fn marks<F: HardwareWalk>(format: F, clean: u64, dirty: u64) {
        assert!(!format.is_dirty(clean) && format.is_dirty(dirty));
        assert!(format.dirty_bits(clean) == 0 && format.dirty_bits(dirty) != 0);
        assert_eq!(
            (format.dirtied(clean), format.dirtied(dirty)),
            (dirty, dirty)
        );
        assert_eq!(
            (format.cleaned(clean), format.cleaned(dirty)),
            (clean, clean)
        );
        // What is absent was not written, whatever else is in the entry.
        assert!(!format.is_dirty(0) && !format.is_dirty(clean ^ dirty));
    }
    marks(Amdv1::new(), 0x7000_0000_4001_7e01, 0x7000_0000_4001_7e41);
    marks(X86_64::four_level(), 0xa_bcde_f027, 0xa_bcde_f067);
    marks(
        VtdSs::four_level().with_accessed_dirty(),
        0xa_bcde_f103,
        0xa_bcde_f303,
    );
    marks(Riscv::sv39(), 0x2_af37_bc57, 0x2_af37_bcd7);
    // DBM says that a leaf can be written: AP[2] clear, or S2AP[1] set, that it was.
    let s1 = ArmS1::<12>::new(Bits48, 48, 48).unwrap();
    let s2 = ArmS2::<12>::new(Bits48, 48, 48).unwrap();
    let dbm = 1 << 51;
    marks(s1, dbm | 0xa_bcde_ffc3, dbm | 0xa_bcde_ff43);
    marks(s2, dbm | 0xa_bcde_f77f, dbm | 0xa_bcde_f7ff);
    let tracked = s2.with_dirty_tracking();
    let cached = Prot::READ | Prot::CACHE;
    assert_eq!(tracked.attributes(cached), Some(0x77c));
    assert_eq!(tracked.attributes(cached | Prot::WRITE), Some(dbm | 0x7fc));
    // Without DBM, the hardware marks nothing.
    for leaf in [0xa_bcde_ff43, 0xa_bcde_ffc3] {
        assert_eq!((s1.is_dirty(leaf), s1.dirtied(leaf)), (false, leaf));
    }
    for leaf in [0xa_bcde_f7ff, 0xa_bcde_f77f] {
        assert_eq!((s2.is_dirty(leaf), s2.dirtied(leaf)), (false, leaf));
    }
}
