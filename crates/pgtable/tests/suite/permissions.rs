//! Who may do what, in every format: sections A and C of `docs/spec/hw-formats.md`.

use swiommu_addr::{Gpa, Iova};
use swiommu_pgtable::fmt::AddressForm::{Bits48, Bits52};
use swiommu_pgtable::fmt::{Amdv1, ArmS1, ArmS2, Riscv, VtdSs, X86_64};
use swiommu_pgtable::{
    Access, Entry, Format, HardwareUpdate, HardwareWalk, MemoryType, Prot, Refusal, Root,
    WalkFault, Walker,
};

use crate::foreign::Foreign;

const ROOT: u64 = 0x1_0000_0000;
const ALL: Access = Access::all();
const RX: Access = ALL.difference(Access::WRITE);
const RW: Access = Access::READ.union(Access::WRITE);

/// A walker for a path of entries in tables that follow each other, to a leaf at IOVA 0.
fn walk<F: HardwareWalk, T>(
    format: F,
    entries: &[u64],
    act: impl FnOnce(&Walker<F, &Foreign>) -> T,
) -> T {
    let memory = Foreign::default();
    for (step, &entry) in entries.iter().enumerate() {
        memory.put(ROOT + 0x1000 * step as u64, entry);
    }
    let root = Root {
        table: Gpa::new(ROOT),
        levels: *format.levels().start(),
    };
    act(&Walker::new(format, &memory, root).unwrap())
}

/// What a path permits, and that exactly this is let through.
#[track_caller]
fn permits<F: HardwareWalk>(format: F, entries: &[u64], expected: Access) {
    walk(format, entries, |walker| {
        let found = walker.look(Iova::new(0)).unwrap();
        assert_eq!(found.access, expected, "{} {expected}", found.access);
        for wanted in Access::all().iter() {
            let through = walker.walk(Iova::new(0), wanted).is_ok();
            assert_eq!(through, expected.contains(wanted), "{wanted}");
        }
    });
}

/// The path with bits of one entry changed.
fn with(path: &[u64], step: usize, set: u64, clear: u64) -> Vec<u64> {
    let mut path = path.to_vec();
    path[step] = path[step] & !clear | set;
    path
}

#[test]
fn x86_64_permissions_are_those_of_every_entry() {
    const RW_BIT: u64 = 1 << 1;
    const US: u64 = 1 << 2;
    const XD: u64 = 1 << 63;
    let path = [0x1_0000_1027, 0x1_0000_2027, 0x1_0000_3027, 0xa_bcde_f067];
    let format = X86_64::four_level().with_execute_disable();
    permits(format, &path, ALL);
    for step in 0..4 {
        let read_only = with(&path, step, 0, RW_BIT);
        permits(format, &read_only, ALL.difference(Access::USER_WRITE));
        permits(format.with_write_protect(), &read_only, RX);
        permits(format, &with(&path, step, 0, US), Access::PRIVILEGED);
        permits(format, &with(&path, step, XD, 0), RW);
        permits(
            format,
            &with(&path, step, XD, US | RW_BIT),
            Access::PRIVILEGED.intersection(RW),
        );
        // SMEP: no privileged fetches from what is a user's on the whole path.
        let smep = format.with_smep();
        permits(smep, &path, ALL.difference(Access::PRIVILEGED_EXECUTE));
        permits(smep, &with(&path, step, 0, US), Access::PRIVILEGED);
    }
}

#[test]
fn the_first_entry_that_forbids_is_named() {
    let path = [0x1_0000_1027, 0x1_0000_2025, 0x1_0000_3027, 0xa_bcde_f025];
    walk(X86_64::four_level(), &path, |walker| {
        let wanted = Access::USER_WRITE;
        let expected = WalkFault::Refused {
            iova: Iova::new(0),
            at: Gpa::new(ROOT + 0x1000),
            level: 2,
            entry: path[1],
            reason: Refusal::Permission {
                wanted,
                permitted: ALL.difference(Access::USER_WRITE),
            },
        };
        assert_eq!(walker.walk(Iova::new(0), wanted), Err(expected));
    });
    // What is absent further down is the reason all the same.
    let absent = [path[0], path[1], path[2], 0];
    walk(X86_64::four_level(), &absent, |walker| {
        let fault = walker.walk(Iova::new(0), Access::USER_WRITE).unwrap_err();
        let not_present = matches!(
            fault,
            WalkFault::Refused {
                level: 0,
                reason: Refusal::NotPresent,
                ..
            }
        );
        assert!(not_present, "{fault:?}");
    });
    // What only the whole path forbids is the leaf's fault.
    walk(X86_64::four_level().with_smep(), &path, |walker| {
        let fault = walker.walk(Iova::new(0), Access::PRIVILEGED_EXECUTE);
        let Err(WalkFault::Refused { level, reason, .. }) = fault else {
            panic!("{fault:?}");
        };
        let permitted = ALL
            .difference(Access::USER_WRITE)
            .difference(Access::PRIVILEGED_EXECUTE);
        let wanted = Access::PRIVILEGED_EXECUTE;
        assert_eq!(
            (level, reason),
            (0, Refusal::Permission { wanted, permitted })
        );
    });
}

#[test]
fn host_tables_permit_to_everybody_what_every_entry_does() {
    let read = RX;
    let amd = [
        0x6000_0001_0000_1401,
        0x6000_0001_0000_2201,
        0x6000_000a_bcde_f001,
    ];
    let vtd = [0x1_0000_1003, 0x1_0000_2003, 0xa_bcde_f003];
    permits(Amdv1::new(), &amd, ALL);
    permits(VtdSs::three_level(), &vtd, ALL);
    for step in 0..3 {
        permits(Amdv1::new(), &with(&amd, step, 0, 1 << 62), read);
        permits(Amdv1::new(), &with(&amd, step, 0, 1 << 61), Access::WRITE);
        permits(Amdv1::new(), &with(&amd, step, 0, 3 << 61), Access::empty());
        permits(VtdSs::three_level(), &with(&vtd, step, 0, 1 << 1), read);
        permits(
            VtdSs::three_level(),
            &with(&vtd, step, 0, 1 << 0),
            Access::WRITE,
        );
    }
    // Reading permitted by one entry, writing by another.
    let crossed = [vtd[0] & !1, vtd[1], vtd[2] & !2];
    permits(VtdSs::three_level(), &crossed, Access::empty());
}

const ARM_TABLES: [u64; 2] = [0x1_0000_1003, 0x1_0000_2003];

#[test]
fn arm_stage_1_permissions() {
    const AP1: u64 = 1 << 6;
    const AP2: u64 = 1 << 7;
    const PXN: u64 = 1 << 53;
    const UXN: u64 = 1 << 54;
    let format = ArmS1::<12>::new(Bits48, 39, 48).unwrap();
    let path = [ARM_TABLES[0], ARM_TABLES[1], 0xa_bcde_ff47];
    let leaf = |set, clear| with(&path, 2, set, clear);
    let user_data = Access::USER_READ.union(Access::USER_WRITE);
    // What users may write, privileged requesters never execute.
    permits(format, &path, ALL.difference(Access::PRIVILEGED_EXECUTE));
    permits(format, &leaf(AP2, 0), RX);
    permits(format, &leaf(0, AP1), ALL.difference(user_data));
    permits(format, &leaf(AP2, AP1), RX.difference(Access::USER_READ));
    permits(
        format,
        &leaf(AP2 | PXN, 0),
        RX.difference(Access::PRIVILEGED_EXECUTE),
    );
    permits(
        format,
        &leaf(AP2 | UXN, 0),
        RX.difference(Access::USER_EXECUTE),
    );
    permits(format, &leaf(PXN | UXN, 0), RW);
    // WXN: what may be written is not executed.
    let wxn = format.with_write_execute_never();
    permits(wxn, &path, RW);
    permits(wxn, &leaf(AP2, 0), RX);
    let not_user = ALL
        .difference(user_data)
        .difference(Access::PRIVILEGED_EXECUTE);
    permits(wxn, &leaf(0, AP1), not_user);
    // PAN: what users may read, privileged requesters do not.
    let pan = format.with_privileged_access_never();
    permits(pan, &path, Access::USER);
    permits(pan, &leaf(0, AP1), ALL.difference(user_data));
}

#[test]
fn arm_stage_1_tables_can_forbid() {
    let format = ArmS1::<12>::new(Bits48, 39, 48).unwrap();
    let path = [ARM_TABLES[0], ARM_TABLES[1], 0xa_bcde_ff47];
    let unrestricted = ALL.difference(Access::PRIVILEGED_EXECUTE);
    let user_data = Access::USER_READ.union(Access::USER_WRITE);
    for step in 0..2 {
        for (bit, expected) in [
            (59, unrestricted),
            (60, unrestricted.difference(Access::USER_EXECUTE)),
            // Once users may not write it, it can be executed.
            (61, ALL.difference(user_data)),
            (62, RX),
            (63, unrestricted),
        ] {
            let path = with(&path, step, 1 << bit, 0);
            permits(format, &path, expected);
            permits(format.with_hierarchy_ignored(), &path, unrestricted);
        }
        let no_fetches = with(&path, step, 1 << 59 | 1 << 62, 0);
        permits(
            format,
            &no_fetches,
            RX.difference(Access::PRIVILEGED_EXECUTE),
        );
    }
}

#[test]
fn arm_stage_2_permissions() {
    let format = ArmS2::<12>::new(Bits48, 39, 48).unwrap();
    let path = [ARM_TABLES[0], ARM_TABLES[1], 0xa_bcde_f7ff];
    let leaf = |set, clear| with(&path, 2, set, clear);
    permits(format, &path, ALL);
    permits(format, &leaf(0, 1 << 7), RX);
    permits(format, &leaf(0, 1 << 6), ALL.difference(Access::READ));
    let xnx = format.with_two_execute_never_bits();
    for (xn, one_bit, two_bits) in [
        (0_u64, ALL, ALL),
        (1, ALL, ALL.difference(Access::PRIVILEGED_EXECUTE)),
        (2, RW, RW),
        (3, RW, ALL.difference(Access::USER_EXECUTE)),
    ] {
        permits(format, &leaf(xn << 53, 0), one_bit);
        permits(xnx, &leaf(xn << 53, 0), two_bits);
    }
    // Tables forbid nothing.
    for bit in 59..64 {
        permits(format, &with(&path, 0, 1 << bit, 0), ALL);
    }
}

#[test]
fn riscv_permissions_are_those_of_the_leaf() {
    const R: u64 = 1 << 1;
    const W: u64 = 1 << 2;
    const X: u64 = 1 << 3;
    const U: u64 = 1 << 4;
    let path = [0x4000_0401, 0x4000_0801, 0x2_af37_bcdf];
    let leaf = |clear| with(&path, 2, 0, clear);
    let (first, guest) = (Riscv::sv39(), Riscv::sv39x4());
    let user = Access::USER;
    permits(first, &path, user);
    permits(first, &leaf(W), user.difference(Access::WRITE));
    permits(first, &leaf(X), user.difference(Access::EXECUTE));
    permits(first, &leaf(R | W), Access::USER_EXECUTE);
    permits(first, &leaf(U), Access::PRIVILEGED);
    permits(first, &leaf(U | W), Access::PRIVILEGED.intersection(RX));
    let sum = first.with_sum();
    permits(sum, &path, ALL.difference(Access::PRIVILEGED_EXECUTE));
    permits(sum, &leaf(U), Access::PRIVILEGED);
    // The guest stage takes everybody as a user, and all that is not a user's is nobody's.
    permits(guest, &path, ALL);
    permits(guest.with_sum(), &leaf(W), RX);
    permits(guest, &leaf(U), Access::empty());
}

#[test]
fn memory_types_are_those_of_the_leaf() {
    fn is<F: HardwareWalk>(format: F, entries: &[u64], expected: u8) {
        let found = walk(format, entries, |walker| walker.look(Iova::new(0)).unwrap());
        assert_eq!(found.memory_type, MemoryType(expected));
    }
    let x86 = [0x1_0000_1027, 0x1_0000_2027, 0x1_0000_3027, 0xa_bcde_f067];
    let large = [0x1_0000_1027, 0x1_0000_2027, 0x4020_00e7];
    for (bits, small, index) in [
        (0, 0, 0),
        (1 << 3, 1 << 3, 1),
        (1 << 4, 1 << 4, 2),
        (1 << 12, 1 << 7, 4),
    ] {
        is(X86_64::four_level(), &with(&large, 2, bits, 0), index);
        is(X86_64::four_level(), &with(&x86, 3, small, 0), index);
    }
    let vtd = [0x1_0000_1003, 0x1_0000_2003, 0xa_bcde_f003];
    is(
        VtdSs::three_level(),
        &with(&vtd, 2, 0x6 << 3 | 1 << 6, 0),
        0xe,
    );
    let amd = [
        0x6000_0001_0000_1401,
        0x6000_0001_0000_2201,
        0x7000_000a_bcde_f001,
    ];
    is(Amdv1::new(), &amd, 1);
    is(Amdv1::new(), &with(&amd, 2, 0, 1 << 60), 0);
    let arm = |leaf| [ARM_TABLES[0], ARM_TABLES[1], leaf];
    let s1 = ArmS1::<12>::new(Bits48, 39, 48).unwrap();
    is(s1, &arm(0x0060_000a_bcde_fe4b), 2);
    is(s1, &arm(0xa_bcde_ff5f), 7);
    let s2 = ArmS2::<12>::new(Bits48, 39, 48).unwrap();
    is(s2, &arm(0xa_bcde_f7ff), 0xf);
    is(s2, &arm(0xa_bcde_f7db), 0x6);
    let riscv = [0x4000_0401, 0x4000_0801, 0x4000_0002_af37_bcd7];
    is(Riscv::sv39().with_memory_types(), &riscv, 2);
}

/// Marks that the hardware may only set are not asked for by a look.
#[test]
fn a_look_asks_for_nothing() {
    let arm = [ARM_TABLES[0], ARM_TABLES[1], 0xa_bcde_f0c7];
    let format = ArmS1::<12>::new(Bits48, 39, 48).unwrap();
    let found = walk(format, &arm, |walker| walker.look(Iova::new(0)).unwrap());
    assert_eq!((found.entry, found.level), (arm[2], 0));
    let update = HardwareUpdate::Accessed;
    let found = walk(format.with_hardware_update(update), &arm, |walker| {
        walker.walk(Iova::new(0), Access::empty()).unwrap()
    });
    assert_eq!(found.entry, arm[2] | 1 << 10);
}

/// The permissions that an entry was made of and those that are read from it are the same, as far as the format has bits for
/// them.
#[test]
fn permissions_are_read_as_they_were_written() {
    fn keeps<F: Format>(format: F, kept: Prot) {
        for bits in 0..=Prot::all().bits() {
            let prot = Prot::from_bits_truncate(bits);
            // A device's registers are not cached.
            if !prot.contains(Prot::READ) || prot.contains(Prot::CACHE | Prot::MMIO) {
                continue;
            }
            for level in 0..2 {
                let size = F::item_size(level);
                let leaf = format.leaf(size, level, format.attributes(prot).unwrap());
                let Entry::Leaf(leaf) = format.decode(leaf, level) else {
                    panic!("{leaf:#x} is no leaf");
                };
                assert_eq!(leaf.prot, prot & kept, "{format:?} {prot}");
            }
        }
    }
    let types = Prot::CACHE | Prot::MMIO;
    keeps(Amdv1::new(), Prot::RW);
    keeps(X86_64::four_level(), Prot::RW);
    keeps(VtdSs::four_level().with_force_coherence(), Prot::RW);
    keeps(ArmS1::<12>::new(Bits48, 48, 48).unwrap(), Prot::all());
    keeps(
        ArmS1::<14>::new(Bits52, 48, 48)
            .unwrap()
            .with_dirty_tracking(),
        Prot::all(),
    );
    let s2 = ArmS2::<12>::new(Bits48, 48, 48).unwrap();
    keeps(s2, Prot::all().difference(Prot::PRIV));
    keeps(
        s2.with_forced_write_back(),
        Prot::all().difference(Prot::PRIV),
    );
    keeps(Riscv::sv48(), Prot::RW | Prot::NOEXEC);
    keeps(
        Riscv::sv39().with_memory_types(),
        Prot::RW | Prot::NOEXEC | types,
    );
}

/// A leaf that users may not access is for privileged requests only.
#[test]
fn what_is_not_for_users_is_privileged() {
    fn prot<F: Format>(format: F, leaf: u64) -> Prot {
        match format.decode(leaf, 0) {
            Entry::Leaf(leaf) => leaf.prot,
            other => panic!("{other:?}"),
        }
    }
    let x86 = X86_64::four_level().with_execute_disable();
    assert_eq!(prot(x86, 0x63), Prot::RW | Prot::PRIV);
    assert_eq!(prot(x86, 1 << 63 | 0x65), Prot::READ | Prot::NOEXEC);
    assert_eq!(prot(Riscv::sv39(), 0xcf), Prot::RW | Prot::PRIV);
    // What can only be executed is for no device to read.
    assert_eq!(prot(Riscv::sv39(), 0xd9), Prot::empty());
    // Writable once the hardware makes it so, or not at all.
    let clean = 1 << 51 | 0xfc3;
    let s1 = ArmS1::<12>::new(Bits48, 48, 48).unwrap();
    assert_eq!(prot(s1, clean), Prot::READ);
    assert_eq!(prot(s1.with_dirty_tracking(), clean), Prot::RW);
    let clean = 1 << 51 | 0x743;
    let s2 = ArmS2::<12>::new(Bits48, 48, 48).unwrap();
    assert_eq!(prot(s2, clean), Prot::READ);
    assert_eq!(prot(s2.with_dirty_tracking(), clean), Prot::RW);
    // The second stage has permissions to write alone.
    assert_eq!(prot(s2, 0x7bf), Prot::WRITE | Prot::CACHE);
}

/// What entries that point to tables allow, to the owner of the table.
#[test]
fn tables_limit_what_is_below() {
    let x86 = X86_64::four_level().with_execute_disable();
    for (entry, limit) in [
        (0x27, Prot::RW),
        (0x25, Prot::READ),
        (0x23, Prot::RW | Prot::PRIV),
        (1 << 63 | 0x27, Prot::RW | Prot::NOEXEC),
        (1 << 63 | 0x21, Prot::READ | Prot::NOEXEC | Prot::PRIV),
    ] {
        assert_eq!(x86.limit(entry), limit, "{entry:#x}");
    }
    for (bits, limit) in [
        (0, Prot::empty()),
        (1, Prot::READ),
        (2, Prot::WRITE),
        (3, Prot::RW),
    ] {
        assert_eq!(VtdSs::four_level().limit(bits | 0x7ffc), limit);
        assert_eq!(Amdv1::new().limit(bits << 61 | 1 << 60 | 1), limit);
    }
    let s1 = ArmS1::<12>::new(Bits48, 48, 48).unwrap();
    for (bits, limit) in [
        (0, Prot::RW),
        (0b1_0000, Prot::RW),
        (0b0_0001, Prot::RW),
        (0b0_0010, Prot::RW),
        (0b0_0011, Prot::RW | Prot::NOEXEC),
        (0b0_0100, Prot::RW | Prot::PRIV),
        (0b0_1000, Prot::READ),
        (0b0_1111, Prot::READ | Prot::PRIV | Prot::NOEXEC),
    ] {
        let entry = bits << 59 | 3;
        assert_eq!(s1.limit(entry), limit, "{bits:#b}");
        assert_eq!(s1.with_hierarchy_ignored().limit(entry), Prot::RW);
    }
    let s2 = ArmS2::<12>::new(Bits48, 48, 48).unwrap();
    assert_eq!(s2.limit(0b1_1111 << 59 | 3), Prot::RW);
    assert_eq!(Riscv::sv39().limit(1), Prot::RW);
}
