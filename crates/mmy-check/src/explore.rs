//! Builds a part again and again, each time without the mistakes found before.

use mmy_config::read_at;
use mmy_diag::{Code, Diagnostic};
use mmy_registry::BuildError;
use serde::de::DeserializeOwned;

use crate::context::Context;

/// Whether something was built with a value that is only a guess.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guessed(pub bool);

/// Most mistakes that are looked for in one part.
const MOST: usize = 50;

/// Whether a mistake is about how parts fit together, rather than about one value by itself.
fn is_between_parts(error: &BuildError) -> bool {
    use Code::{AnchorMismatch, ChannelMismatch, LevelMismatch, StrideMismatch};
    error.fix.is_some() || matches!(error.code, ChannelMismatch | StrideMismatch | LevelMismatch | AnchorMismatch)
}

/// Whether the rest of a model can be judged though the value at this path is not known.
fn stands_alone(path: &str) -> bool {
    path.split('.').any(|it| it.starts_with("loss_") || matches!(it, "data_preprocessor" | "test_cfg" | "train_cfg"))
}

/// Reads what is at `path` and builds it. Where that fails, the mistake is told and mended: by the value that the error
/// asks for, else by taking the key away. Once a value is only a guess, nothing more is said of what does not fit it.
pub fn explore<T: DeserializeOwned, O>(
    cx: &Context<'_>,
    path: &str,
    build: impl Fn(&T) -> Result<O, BuildError>,
    out: &mut Vec<Diagnostic>,
) -> Option<(O, Guessed)> {
    let mut trial = cx.loaded.clone();
    let mut guessed = read_at::<T>(&trial, path).left_out.iter().any(|it| !stands_alone(it));
    let mut told: Vec<(String, String)> = Vec::new();
    for _ in 0..MOST {
        let value = read_at::<T>(&trial, path).value?;
        let errors = match build(&value) {
            Ok(built) => return Some((built, Guessed(guessed))),
            Err(error) => error.each(),
        };
        let mut mended = false;
        for error in errors {
            let place = error.path.join(".");
            let again = (place.clone(), error.message.clone());
            if told.contains(&again) {
                continue;
            }
            told.push(again);
            if !(guessed && is_between_parts(&error)) {
                out.push(cx.fault(&error));
            }
            // To take an element out of a list would move the others.
            let key_of_table = place != path && trial.root.get(&place).is_some_and(|it| it.key.is_some());
            match &error.fix {
                Some(fix) => trial = trial.with(&error.path, Some(fix)),
                None if key_of_table => {
                    trial = trial.with(&error.path, None);
                    guessed |= !stands_alone(&place);
                }
                None => continue,
            }
            mended = true;
        }
        if !mended {
            return None;
        }
    }
    None
}
