//! Prints the speed of swiommu beside its peers. A row is an operation; its goal is measured against a peer of the same run,
//! or is a figure. Build with `--release`.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded for people, and the sizes are chosen here"
)]

mod callgrind;
mod clock;
mod dma;
mod ioctl;
mod iova;
mod memory;
mod nested;
mod pace;
mod pgtable;
mod plot;
mod random;
mod rounds;
mod table;
mod translate;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    table: Table,
}

#[derive(Subcommand)]
enum Table {
    /// The IOVA map: areas and holes, at a million areas.
    Iova {
        /// In place of the table: draws cost against the number of areas, and writes it to this file, which is SVG.
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
    /// Page tables: mapping, unmapping, translation, dirty state.
    Pgtable {
        /// In place of time, counts instructions, with callgrind.
        #[arg(long, conflicts_with = "plot")]
        instructions: bool,
        /// In place of the table: draws cost against the number of pages, and writes it to this file, which is SVG.
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
    /// What `pgtable --instructions` counts.
    #[command(hide = true)]
    PgtableCounted,
    /// Translation: what the IOTLB has, and walks.
    Translate {
        /// In place of time, counts instructions, with callgrind.
        #[arg(long)]
        instructions: bool,
    },
    /// What `translate --instructions` counts.
    #[command(hide = true)]
    TranslateCounted,
    /// DMA: copies through a guest's tables and ours.
    Dma,
    /// System calls and mappings: trapped, continued, untrapped; in process; resident memory; memory per area.
    Ioctl,
    /// A client of the table `ioctl`.
    #[command(hide = true)]
    IoctlClient { under: ioctl::Under },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().table {
        Table::Iova { plot: None } => print!("{}", iova::run()?),
        Table::Iova { plot: Some(file) } => fs::write(file, iova::chart().to_string())?,
        Table::Pgtable {
            plot: Some(file), ..
        } => fs::write(file, pgtable::chart()?.to_string())?,
        Table::Pgtable {
            instructions: true, ..
        } => print!("{}", pgtable::count_instructions()?),
        Table::Pgtable { .. } => print!("{}", pgtable::run()?),
        Table::PgtableCounted => pgtable::counted()?,
        Table::Translate { instructions: true } => print!("{}", translate::count_instructions()?),
        Table::Translate { .. } => print!("{}", translate::run()?),
        Table::TranslateCounted => translate::counted()?,
        Table::Dma => print!("{}", dma::run()?),
        Table::Ioctl => print!("{}", ioctl::run()?),
        Table::IoctlClient { under } => return ioctl::client(under),
    }
    Ok(ExitCode::SUCCESS)
}
