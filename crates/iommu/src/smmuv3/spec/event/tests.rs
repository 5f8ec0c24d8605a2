use super::*;

const READ: Transaction = Transaction {
    stream: 0x108,
    substream: None,
    address: Iova::new(0x1234_5678),
    access: Access::USER_READ,
};

const PLAIN: Event = Event {
    id: EventId::Translation,
    transaction: READ,
    stage: FaultStage::One,
    class: Class::Input,
    stall: None,
};

/// hw-formats.md E.3.
#[test]
fn records_bit_by_bit() {
    assert_eq!(
        PLAIN.words(),
        [0x0000_0108_0000_0010, 0x0000_0208_0000_0000, 0x1234_5678, 0]
    );
    let with = |substream, access| Transaction {
        substream: Some(substream),
        access,
        ..READ
    };
    let denied = Event {
        id: EventId::Permission,
        transaction: with(5, Access::USER_WRITE),
        ..PLAIN
    };
    assert_eq!(
        denied.words()[..2],
        [0x0000_0108_0000_5813, 0x0000_0200_0000_0000]
    );
    let table = Event {
        stage: FaultStage::Two {
            ipa: Gpa::new(0x8000_1008),
        },
        class: Class::Table {
            access: Access::PRIVILEGED_READ,
        },
        ..PLAIN
    };
    assert_eq!(
        table.words(),
        [
            0x0000_0108_0000_0010,
            0x0000_0188_0000_0000,
            0x1234_5678,
            0x8000_1000
        ]
    );
    let stalled = Event {
        transaction: with(5, Access::USER_READ),
        stall: Some(0x1234),
        ..PLAIN
    };
    assert_eq!(
        stalled.words()[..2],
        [0x0000_0108_0000_5810, 0x0000_0208_8000_1234]
    );
    let bad_cd = Event {
        id: EventId::BadCd,
        transaction: with(5, Access::USER_READ),
        ..PLAIN
    };
    assert_eq!(bad_cd.words(), [0x0000_0108_0000_580a, 0, 0, 0]);
    let bad_substream = Event {
        id: EventId::BadSubstreamId,
        transaction: with(9, Access::USER_READ),
        ..PLAIN
    };
    assert_eq!(bad_substream.words(), [0x0000_0108_0000_9008, 0, 0, 0]);
}

#[test]
fn a_record_says_who_wanted_what() {
    let word1 = |access| {
        let transaction = Transaction { access, ..READ };
        Event {
            transaction,
            ..PLAIN
        }
        .words()[1]
    };
    let (pnu, ind, rnw, input) = (1 << 33, 1 << 34, 1 << 35, 2 << 40);
    assert_eq!(word1(Access::USER_READ), rnw | input);
    assert_eq!(word1(Access::USER_WRITE), input);
    assert_eq!(word1(Access::USER_EXECUTE), ind | rnw | input);
    assert_eq!(word1(Access::PRIVILEGED_READ), pnu | rnw | input);
    assert_eq!(word1(Access::PRIVILEGED_WRITE), pnu | input);
    assert_eq!(word1(Access::PRIVILEGED_EXECUTE), pnu | ind | rnw | input);
}

#[test]
fn a_record_says_what_was_accessed() {
    let word1 = |id, class| Event { id, class, ..PLAIN }.words()[1] & !(1 << 35);
    let table = |access| Class::Table { access };
    let (read, write) = (
        table(Access::PRIVILEGED_READ),
        table(Access::PRIVILEGED_WRITE),
    );
    assert_eq!(word1(EventId::Translation, Class::Cd), 0);
    assert_eq!(word1(EventId::Translation, read), 1 << 40);
    assert_eq!(word1(EventId::Permission, read), 1 << 40 | 1 << 44);
    assert_eq!(word1(EventId::Permission, write), 1 << 40);
    assert_eq!(word1(EventId::Permission, Class::Input), 2 << 40);
}

#[test]
fn each_event_has_its_number() {
    use EventId as Id;
    let numbers = [
        (Id::BadSte, 0x04, true, false),
        (Id::StreamDisabled, 0x06, true, false),
        (Id::BadSubstreamId, 0x08, true, false),
        (Id::CdFetch, 0x09, false, false),
        (Id::BadCd, 0x0a, true, false),
        (Id::WalkExternalAbort, 0x0b, false, false),
        (Id::Translation, 0x10, true, true),
        (Id::AddressSize, 0x11, true, true),
        (Id::Access, 0x12, true, true),
        (Id::Permission, 0x13, true, true),
    ];
    for (id, number, for_guests, of_walks) in numbers {
        assert_eq!(Event { id, ..PLAIN }.words()[0] & 0xff, number);
        assert_eq!(id.is_for_guests(), for_guests, "{id}");
        assert_eq!(id.is_translation_fault(), of_walks, "{id}");
        assert!(id.to_string().contains(&format!("{number:#04x}")), "{id}");
    }
}
