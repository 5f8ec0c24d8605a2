//! The clients. Each is a program of its own in the tests; it exits with 0 when all that it sees is right.

use std::process::ExitCode;

mod fail_nth;
mod hostile;
mod lifetime;
mod memory;
mod paths;
mod process;
mod readiness;
mod sys;
mod transfers;

type Client = (&'static str, fn(&[String]));

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let (name, rest) = arguments.split_first().expect("a client's name");
    let families: [&[Client]; 8] = [
        fail_nth::ALL,
        hostile::ALL,
        lifetime::ALL,
        memory::ALL,
        paths::ALL,
        process::ALL,
        readiness::ALL,
        transfers::ALL,
    ];
    let client = families
        .into_iter()
        .flatten()
        .find(|(other, _)| other == name);
    let (_, client) = client.unwrap_or_else(|| panic!("no client {name}"));
    client(rest);
    ExitCode::SUCCESS
}
