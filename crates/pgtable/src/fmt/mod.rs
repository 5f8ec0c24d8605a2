//! The formats: one file each.

mod amdv1;
mod arm;
mod arm_s1;
mod arm_s2;
mod mock;
mod riscv;
mod vtdss;
mod x86_64;

pub use amdv1::{Amd, Amdv1};
pub use arm::AddressForm;
pub use arm_s1::ArmS1;
pub use arm_s2::ArmS2;
pub use mock::MockAmdv1;
pub use riscv::Riscv;
pub use vtdss::VtdSs;
pub use x86_64::X86_64;
