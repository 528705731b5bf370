//! Why a part could not be built, and which key of its config is at fault.

/// A part that does not fit: the message, the key at fault, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) })]
pub struct BuildError {
    /// Keys from the root of the config (or of the part, until a [`crate::Slot`] puts its own place in front).
    pub path: Vec<String>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl BuildError {
    /// An error of the part as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        BuildError { path: Vec::new(), message: message.into(), help: None }
    }

    /// Puts `key` (dots separate nested keys) in front of the path.
    #[must_use]
    pub fn at(mut self, key: &str) -> Self {
        self.path.splice(0..0, key.split('.').filter(|it| !it.is_empty()).map(str::to_owned));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
