//! One TOML text to a tree with places.

use mmy_diag::{Code, Diagnostic, Loc};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{Node, NodeKind};

/// Reads a TOML document. Faults go to `out`, and what could be read is returned all the same.
pub(crate) fn document(text: &str, file: usize, out: &mut Vec<Diagnostic>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    // One slip makes the reader stumble several times on the same line.
    let mut lines = Vec::new();
    for error in errors {
        let line = error.span().map(|it| text.as_bytes()[..it.start.min(text.len())].split(|it| *it == b'\n').count());
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        let loc = error.span().map(|range| Loc::new(file, range));
        let title = format!("this is not TOML: {}", error.message());
        out.push(Diagnostic::new(Code::Syntax, title).primary(loc, ""));
    }
    let kind = Reader { file, offset: 0, out }.table(table.get_ref());
    Node::new(kind, Loc::new(file, 0..0))
}

/// Reads one TOML value that stands at byte `offset` of the source `file`.
///
/// # Errors
/// What the TOML reader says when it is not a value.
pub(crate) fn value(text: &str, file: usize, offset: usize, out: &mut Vec<Diagnostic>) -> Result<Node, String> {
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    Ok(Reader { file, offset, out }.value(&value))
}

struct Reader<'a> {
    file: usize,
    offset: usize,
    out: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn loc(&self, range: std::ops::Range<usize>) -> Loc {
        Loc::new(self.file, range.start + self.offset..range.end + self.offset)
    }

    fn table(&mut self, table: &DeTable<'_>) -> NodeKind {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let mut node = self.value(value);
            node.key = Some(self.loc(key.span()));
            entries.push((key.get_ref().to_string(), node));
        }
        NodeKind::Map(entries)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let loc = self.loc(value.span());
        let kind = match value.get_ref() {
            DeValue::String(it) => NodeKind::Str(it.to_string()),
            DeValue::Boolean(it) => NodeKind::Bool(*it),
            DeValue::Integer(it) => NodeKind::Int(i64::from_str_radix(it.as_str(), it.radix()).unwrap_or_else(|_| {
                self.refuse(&loc, "this whole number does not fit into 64 bits", "write it with a point");
                0
            })),
            DeValue::Float(it) => NodeKind::Float(it.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(it) => {
                self.refuse(&loc, "configs have no dates", "put it in quotes to make it text");
                NodeKind::Str(it.to_string())
            }
            DeValue::Array(items) => NodeKind::List(items.iter().map(|it| self.value(it)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node::new(kind, loc)
    }

    fn refuse(&mut self, loc: &Loc, title: &str, help: &str) {
        self.out.push(Diagnostic::new(Code::UnsupportedValue, title).primary(loc.clone(), "").help(help));
    }
}
