//! What commands print for their own sake, on standard output.

use std::io::{ErrorKind, Write};

use crate::failure::{Failure, Outcome};

/// Writes `text`; a reader that went away (`mmy … | head`) is no failure.
pub fn show(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON, with a line break at the end.
pub fn show_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.to_string()))?;
    show(&(text + "\n"))
}
