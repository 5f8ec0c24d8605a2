//! Formats that exist only here, to show that the contract has room for what real ones need.

mod arm;
mod riscv;

pub(crate) use arm::Arm;
pub(crate) use riscv::Sv;
