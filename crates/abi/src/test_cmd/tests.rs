use super::*;

/// Section 9.9 of the behaviour specification: of each operation the fields with their offsets in the command.
const LAYOUT: &[(u32, &[(&str, usize)])] = &[
    (1, &[("start", 16), ("length", 24)]),
    (
        2,
        &[
            ("out_stdev_id", 16),
            ("out_hwpt_id", 20),
            ("out_idev_id", 24),
        ],
    ),
    (3, &[("iova", 16), ("length", 24), ("uptr", 32)]),
    (4, &[("length", 16), ("uptr", 24), ("refs", 32)]),
    (5, &[("out_access_fd", 16), ("flags", 20)]),
    (6, &[("access_pages_id", 16)]),
    (
        7,
        &[
            ("flags", 16),
            ("out_access_pages_id", 20),
            ("iova", 24),
            ("length", 32),
            ("uptr", 40),
        ],
    ),
    (
        8,
        &[("iova", 16), ("length", 24), ("uptr", 32), ("flags", 40)],
    ),
    (9, &[("limit", 16)]),
    (10, &[("pt_id", 16)]),
    (11, &[("ioas_id", 16)]),
    (
        12,
        &[
            ("out_stdev_id", 16),
            ("out_hwpt_id", 20),
            ("out_idev_id", 24),
            ("dev_flags", 28),
        ],
    ),
    (
        13,
        &[
            ("flags", 16),
            ("iova", 24),
            ("length", 32),
            ("page_size", 40),
            ("uptr", 48),
            ("out_nr_dirty", 56),
        ],
    ),
    (14, &[("id", 16), ("iotlb", 20)]),
    (
        15,
        &[
            ("dev_id", 16),
            ("pasid", 20),
            ("grpid", 24),
            ("perm", 28),
            ("addr", 32),
        ],
    ),
    (16, &[("id", 16), ("cache", 20)]),
    (17, &[("dev_id", 16)]),
    (18, &[("pasid", 16), ("pt_id", 20)]),
    (19, &[("pasid", 16), ("pt_id", 20)]),
    (20, &[("pasid", 16)]),
    (21, &[("pasid", 16), ("hwpt_id", 20)]),
    (22, &[("length", 16), ("open_flags", 20)]),
    (23, &[("dmabuf_fd", 16), ("revoked", 20)]),
];

#[test]
fn every_operation_has_its_fields_where_the_kernel_has_them() {
    assert_eq!(TEST_OPS.len(), LAYOUT.len());
    for ((number, expected), op) in LAYOUT.iter().zip(TEST_OPS) {
        let fields: Vec<_> = op
            .fields
            .iter()
            .filter(|field| !field.is_padding())
            .map(|field| (field.name, 16 + field.offset))
            .collect();
        assert_eq!((op.op.0, &fields[..]), (*number, *expected));
        assert_eq!(TestOp::find(IommuTestOp(*number)), Some(op));
    }
    assert_eq!(TestOp::find(IommuTestOp(0)), None);
    assert_eq!(TestOp::find(IommuTestOp(24)), None);
    assert_eq!(std::mem::offset_of!(IommuTestCmd, body), 16);
    assert_eq!(std::mem::offset_of!(IommuTestCmd, last), 64);
}

#[test]
fn a_member_is_written_without_its_neighbours() {
    let mut body = TestBody::new(MockDomainFlags {
        dev_flags: 4,
        ..Default::default()
    });
    body.set(MockDomain {
        out_stdev_id: 2,
        out_hwpt_id: 4,
        out_idev_id: 3,
    });
    let all: MockDomainFlags = body.get();
    assert_eq!(
        (
            all.out_stdev_id,
            all.out_hwpt_id,
            all.out_idev_id,
            all.dev_flags
        ),
        (2, 4, 3, 4)
    );
}
