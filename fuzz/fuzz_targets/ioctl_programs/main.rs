//! Random ioctl programs: several processes, several contexts, memory that comes and goes, descriptors closed in any order.
//!
//! What must hold after every call, and when everything is closed, is in [`ledger`].

#![no_main]

mod call;
mod ledger;
mod machine;
mod mutate;
mod operands;
mod program;

use libfuzzer_sys::fuzz_target;

use crate::machine::Machine;
use crate::program::Program;

fuzz_target!(
    init: swiommu_mem::install_sigbus_handler().expect("the handler of SIGBUS"),
    |program: Program| {
        let mut machine = Machine::new(program.setup);
        for step in &program.steps {
            machine.run(step);
        }
        machine.close(program.last_first);
    }
);
