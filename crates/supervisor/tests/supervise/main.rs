//! End-to-end tests: a supervisor and its client, both of them this very program in another role.

#[expect(clippy::cast_sign_loss, reason = "arguments of system calls are words")]
mod client;
mod harness;
mod queue;
mod served;
mod space;
mod supervisor;
mod terminal;
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((role, rest)) if role == harness::SUPERVISOR => supervisor::main(rest),
        Some((role, rest)) if role == harness::CLIENT => client::main(rest),
        _ => harness::main(&arguments, tests::ALL),
    }
}
