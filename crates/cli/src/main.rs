//! `swiommu`: IOMMUFD in user space, for an unmodified program.

#![forbid(unsafe_code)]

mod args;
mod control;
mod diagram;
mod doctor;
mod logging;
mod machine;
mod run;
mod show;
mod tour;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// The exit code for failures of swiommu itself, as env(1) uses it.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that was asked for is no failure. Whether it can be printed changes nothing.
            let _ = error.print();
            return if error.use_stderr() {
                OWN_FAILURE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match cli.command {
        Command::Run(options) => {
            logging::start(&options.logging);
            run::run(&options)
        }
        Command::Machine(options) => machine::print(&options),
        Command::Try(options) => tour::show(&options),
        Command::TryClient => tour::client(),
        Command::Show(options) => show::show(&options),
        Command::Doctor => Ok(doctor::print()),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("swiommu: {error:#}");
            let own = error.downcast_ref::<swiommu_supervisor::Error>();
            own.map_or(OWN_FAILURE, swiommu_supervisor::Error::exit_code)
                .into()
        }
    }
}
