//! Why a part could not be built, and which key of its config is at fault.

use mmy_diag::Code;
use serde::Serialize;

/// A part that does not fit: the message, the key at fault, and what to do; and what else does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) })]
pub struct BuildError {
    /// What kind of mistake it is; [`Code::PartDoesNotFit`] where nothing more is known.
    pub code: Code,
    /// Keys from the root of the config (or of the part, until a [`crate::Slot`] puts its own place in front).
    pub path: Vec<String>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// What a part found wrong besides, for a report that shows all of it.
    pub others: Vec<BuildError>,
    /// Whether `path` begins at the root of the config, so that nobody further out puts anything in front of it.
    placed: bool,
    /// What the key at fault should hold, where that follows from the parts around it. Whoever checks a whole config
    /// goes on as if it did.
    pub fix: Option<Box<serde_json::Value>>,
}

impl BuildError {
    /// An error of the part as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        BuildError {
            code: Code::PartDoesNotFit,
            path: Vec::new(),
            message: message.into(),
            help: None,
            fix: None,
            others: Vec::new(),
            placed: false,
        }
    }

    /// Says what kind of mistake it is.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Several errors as one, the first in front; none if there are none.
    pub fn join(errors: impl IntoIterator<Item = BuildError>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.others.extend(errors);
        Some(first)
    }

    /// This error and [`BuildError::others`], each on its own.
    pub fn each(mut self) -> Vec<BuildError> {
        let others = std::mem::take(&mut self.others);
        std::iter::once(self).chain(others.into_iter().flat_map(BuildError::each)).collect()
    }

    /// Puts `key` (dots separate nested keys) in front of the paths that do not begin at the root already.
    #[must_use]
    pub fn at(mut self, key: &str) -> Self {
        if !self.placed {
            self.path.splice(0..0, key.split('.').filter(|it| !it.is_empty()).map(str::to_owned));
        }
        self.others = self.others.into_iter().map(|it| it.at(key)).collect();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what the key at fault should hold.
    #[must_use]
    pub fn fix(mut self, value: impl Serialize) -> Self {
        self.fix = serde_json::to_value(value).ok().map(Box::new);
        self
    }

    /// As [`BuildError::at`] with the path of a slot, which begins at the root unless it is empty.
    pub fn at_slot(self, path: &str) -> Self {
        let placed = !path.is_empty();
        let mut error = self.at(path);
        error.placed |= placed;
        error.others.iter_mut().for_each(|it| it.placed |= placed);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_slot_places_an_error_and_all_that_came_with_it() {
        let inner = BuildError::new("too wide").at("c2").at_slot("model.head.0.3");
        let error = BuildError::join([inner, BuildError::new("no such map").at("head.1.0")]).unwrap();
        let error = error.at("head").at_slot("model");
        let paths: Vec<_> = error.each().into_iter().map(|it| it.path.join(".")).collect();
        assert_eq!(paths, ["model.head.0.3.c2", "model.head.head.1.0"]);
    }
}
