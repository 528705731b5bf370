//! `mmy weights`.

mod convert;
mod diff;
mod quantize_dsconv;
mod show;

use clap::Subcommand;

use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// List the tensors of a file: names, shapes, kinds, totals
    Show(show::Args),
    /// Turn a PyTorch checkpoint into a safetensors file, or change the names in one
    Convert(convert::Args),
    /// Compare two files of weights: names, shapes, kinds, numbers
    Diff(diff::Args),
    /// Turn a checkpoint's kernels into whole numbers of a few bits, with a scale for each block (DSConv)
    QuantizeDsconv(quantize_dsconv::Args),
}

pub fn run(command: WeightsCommand) -> Outcome {
    match command {
        WeightsCommand::Show(args) => show::run(&args),
        WeightsCommand::Convert(args) => convert::run(&args),
        WeightsCommand::Diff(args) => diff::run(&args),
        WeightsCommand::QuantizeDsconv(args) => quantize_dsconv::run(&args),
    }
}
