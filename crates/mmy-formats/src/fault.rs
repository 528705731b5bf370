//! What is wrong with a text, and where.

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From line 1.
    pub line: u32,
    /// From column 1, where it is known.
    pub column: Option<u32>,
    /// What is wrong.
    pub reason: String,
}

impl Fault {
    /// At a place that serde_json names.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.clone(), |it| it.0.to_owned());
        Fault { line: error.line().max(1) as u32, column: Some(error.column() as u32), reason }
    }

    /// `line 3, column 7`.
    pub fn place(&self) -> String {
        match self.column {
            Some(column) => format!("line {}, column {column}", self.line),
            None => format!("line {}", self.line),
        }
    }
}
