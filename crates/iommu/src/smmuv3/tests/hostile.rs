//! Whatever a guest says, a request ends: in memory that the second stage has, or with an event.

use proptest::prelude::*;

use super::super::*;
use super::world::{CDS, DATA, L1CDS, PAGE, RW, World, gpa, linux_cd, linux_ste, read};
use crate::{Pasid, Retention};

/// Few bits, so that what they are changed in is still nearly right.
fn few_bits() -> impl Strategy<Value = u64> {
    prop::collection::vec(0..64_u32, 0..3)
        .prop_map(|bits| bits.into_iter().fold(0, |word, bit| word | 1 << bit))
}

fn caches() -> impl Strategy<Value = Retention> {
    prop_oneof![Just(Retention::LegalMaximum), Just(Retention::Off)]
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![Just(5 * PAGE), any::<u64>(), few_bits()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn structures_lead_to_an_end(
        ste in prop::array::uniform2(few_bits()),
        cd in prop::array::uniform8(few_bits()),
        pointer in any::<u64>(),
        leaf in few_bits(),
        commands in prop::collection::vec((any::<u8>(), few_bits(), any::<u64>()), 0..8),
        address in address(),
        caches in caches(),
    ) {
        let settings = SmmuSettings {
            caches,
            features: SmmuFeatures::all(),
            ..SmmuSettings::default()
        };
        let w = World::with(settings, DeviceFeatures::all());
        w.tables(&[(5, (gpa(DATA) | RW) ^ leaf)]);
        let descriptor: Vec<u64> = linux_cd().iter().zip(cd).map(|(word, bits)| word ^ bits).collect();
        w.poke_all(gpa(CDS), &descriptor);
        w.poke_all(gpa(L1CDS), &[gpa(CDS) | 1, pointer | 1]);
        let [word0, word1] = linux_ste();
        let Ok(nested) = w.try_nested([word0 ^ ste[0], word1 ^ ste[1]]) else {
            return Ok(());
        };
        let domain = crate::Domain::Nested(nested);
        crate::Endpoint::attach(&*w.endpoint, Pasid::NONE, &domain).unwrap();
        for pasid in [0, 1, 70] {
            let mut port = w.endpoint.dma_port(Pasid(pasid));
            let before = read(&mut port, address);
            for (opcode, word0, word1) in &commands {
                let _ = w.issue(&[[u64::from(*opcode) | word0 & !0xff, *word1]]);
            }
            // Nothing has changed in memory, so neither has what is found.
            prop_assert_eq!(before.is_ok(), read(&mut port, address).is_ok());
        }
        prop_assert!(w.records.take().len() <= 6, "one event for each request");
    }
}
