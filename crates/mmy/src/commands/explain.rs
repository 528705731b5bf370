//! `mmy explain`: the page of an error code.

use std::fmt::Write;

use clap::Args;
use mmy_diag::{Code, nearest};

use crate::{
    failure::{Failure, Outcome},
    output::show,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mmy explain E0201\n  mmy explain          # every code")]
pub struct ExplainArgs {
    /// The code, as shown in brackets; without it, all codes are listed
    code: Option<String>,
}

/// The pages of `docs/errors`, which a test holds against the list of codes.
macro_rules! pages {
    ($($id:literal)*) => {
        [$(($id, include_str!(concat!("../../../../docs/errors/", $id, ".md")))),*]
    };
}

const PAGES: &[(&str, &str)] = &pages! {
    "E0100" "E0101" "E0102" "E0103" "E0104" "E0105" "E0106" "E0110" "E0111" "E0120" "E0121" "E0122" "E0123" "E0124"
    "E0125" "E0201" "E0202" "E0203" "E0204" "E0205" "E0206" "E0207" "E0301" "E0302" "E0310" "E0311" "E0312" "E0313"
    "E0320" "E0321" "E0322" "E0330" "E0350" "E0360" "W0101" "W0102" "W0103" "W0104" "W0105" "W0106" "W0107" "W0201"
    "W0202" "W0301" "W0311" "W0313" "W0330" "W0340" "W0360"
};

pub fn run(args: &ExplainArgs) -> Outcome {
    let Some(asked) = &args.code else { return show(&list()) };
    let id = asked.trim_matches(['[', ']']).to_uppercase();
    if let Some((_, page)) = PAGES.iter().find(|(it, _)| *it == id) {
        return show(page);
    }
    let near = nearest(&id, Code::ALL.iter().map(|it| it.id()));
    let hint = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
    Err(Failure::User(format!("there is no code `{asked}`{hint}\n  `mmy explain` lists all")))
}

fn list() -> String {
    let mut out = String::new();
    for code in Code::ALL {
        let _ = writeln!(out, "{code}  {}", code.title());
    }
    out
}
