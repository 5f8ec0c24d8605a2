//! Structs of any bytes: the rule by which they cross from the caller, their decoding for traces, and the buffer of
//! `VFIO_IOMMU_GET_INFO`, each against a naive account of what it should be.

#![no_main]

mod crossing;
mod decoding;
mod info;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    Crossing(crossing::Input),
    Command(decoding::Input),
    Vfio { which: u8, bytes: Vec<u8> },
    Info(info::Input),
}

fuzz_target!(|input: Input| match input {
    Input::Crossing(input) => crossing::check(&input),
    Input::Command(input) => decoding::check(&input),
    Input::Vfio { which, bytes } => decoding::check_vfio(which, &bytes),
    Input::Info(input) => info::check(&input),
});
