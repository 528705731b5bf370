//! `mmy completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    failure::{Failure, Outcome},
    output::show,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy completions bash > ~/.local/share/bash-completion/completions/mmy
  mmy completions zsh > ~/.zfunc/_mmy
  mmy completions fish > ~/.config/fish/completions/mmy.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mmy", &mut script);
    show(&String::from_utf8(script).map_err(|error| Failure::Other(error.to_string()))?)
}
