//! Reads the literal part of a Python config, or a JSON one: what `mmengine.Config.dump` writes, and most of what people
//! write by hand.
//!
//! Nothing is run. `name = value` with literals, `dict(…)` and lists becomes a value; arithmetic over names that were bound
//! before becomes an expression, since the two languages agree there; everything else is left out and listed.

use std::ops::Range;

use mmy_diag::{Loc, Sources};

use crate::{Node, NodeKind, template};

/// How deep values may be nested, so that no file can exhaust the stack.
const DEEPEST: usize = 64;

/// A config of mmengine as it was read. Its texts are unresolved: they may hold expressions.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// The keys of the file, in order.
    pub root: Node,
    /// What could not be read.
    pub lost: Vec<Lost>,
    /// The text, for places.
    pub sources: Sources,
}

/// Something that could not be read or carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The line in the original, from one; none when it is about the file as a whole.
    pub line: Option<usize>,
    /// What it is: a dotted key, or the beginning of the statement.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Reads a config of mmengine: JSON when the text begins with a brace, else Python.
pub fn read_foreign(name: &str, text: &str) -> Foreign {
    let mut sources = Sources::default();
    sources.add(name, text);
    let mut reader =
        Reader { text, at: 0, depth: 0, bound: Vec::new(), none: Vec::new(), path: Vec::new(), lost: Vec::new() };
    let mut entries = Vec::new();
    if text.trim_start().starts_with('{') {
        match reader.value(&[]) {
            Ok(Some(Node { kind: NodeKind::Map(read), .. })) => entries = read,
            Ok(_) => reader.lose(0, "the file", "it holds no object"),
            Err(Stuck) => reader.lose(reader.at, "the rest of the file", "this is no JSON"),
        }
    } else {
        reader.statements(&mut entries);
    }
    Foreign { root: Node::new(NodeKind::Map(entries), Loc::new(0, 0..0)), lost: reader.lost, sources }
}

/// The reader cannot make sense of what is at its place.
struct Stuck;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// The names that were bound before to a value.
    bound: Vec<String>,
    /// Those that were bound to `None`.
    none: Vec<String>,
    /// Where the value that is being read belongs.
    path: Vec<String>,
    lost: Vec<Lost>,
}

/// A value; `None` for Python's `None`.
type Read = Result<Option<Node>, Stuck>;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn takes(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Skips blanks, comments and, inside brackets, line ends.
    fn blanks(&mut self, lines: bool) {
        loop {
            let rest = self.rest();
            let blank =
                rest.len() - rest.trim_start_matches(|it: char| it.is_whitespace() && (lines || it != '\n')).len();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with('#') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("\\\n") {
                self.at += 2;
            } else {
                return;
            }
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let len = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
        let name = &rest[..len];
        if name.is_empty() || name.starts_with(|it: char| it.is_ascii_digit()) {
            return None;
        }
        self.at += len;
        Some(name)
    }

    fn lose(&mut self, at: usize, what: impl Into<String>, why: impl Into<String>) {
        let line = self.text[..at].matches('\n').count() + 1;
        self.lost.push(Lost { line: Some(line), what: what.into(), why: why.into() });
    }

    fn statements(&mut self, entries: &mut Vec<(String, Node)>) {
        loop {
            self.blanks(true);
            if self.rest().is_empty() {
                return;
            }
            let start = self.at;
            if self.takes(";") || self.docstring() {
                continue;
            }
            let name = self.name();
            self.blanks(false);
            let binds = self.rest().starts_with('=') && !self.rest().starts_with("==");
            let (Some(name), true) = (name, binds) else {
                self.at = start;
                self.skip_statement();
                let head: String =
                    self.text[start..self.at].lines().next().unwrap_or_default().trim().chars().take(60).collect();
                let why = match () {
                    () if head.starts_with("from ") || head.starts_with("import ") || head.starts_with("with ") => {
                        "imports are run by Python; dump the config first with `Config.fromfile(…).dump(…)`"
                    }
                    () if head.contains('=') => {
                        "it changes a value in place; dump the config first, or set the key by hand"
                    }
                    () => "it is code, which only Python can run",
                };
                self.lose(start, format!("`{head}`"), why);
                continue;
            };
            self.at += 1;
            self.blanks(false);
            let key = Loc::new(0, start..start + name.len());
            self.path = vec![name.to_owned()];
            entries.retain(|(it, _)| it != name);
            self.none.retain(|it| it != name);
            match self.element(&['\n', ';']) {
                Ok(Some(mut node)) => {
                    node.key = Some(key);
                    entries.push((name.to_owned(), node));
                    self.bound.push(name.to_owned());
                }
                Ok(None) => self.none.push(name.to_owned()),
                Err(Stuck) => {}
            }
        }
    }

    /// Text that stands alone says nothing.
    fn docstring(&mut self) -> bool {
        let start = self.at;
        if self.rest().starts_with(['"', '\'']) && self.text_literal().is_ok() {
            self.blanks(false);
            if self.rest().is_empty() || self.rest().starts_with('\n') {
                return true;
            }
        }
        self.at = start;
        false
    }

    /// To the end of a statement, with the block that is indented below it.
    fn skip_statement(&mut self) {
        loop {
            self.skip_to(&['\n']);
            if self.peek().is_some_and(|it| ")]}".contains(it)) {
                // One that nothing opened.
                self.at += 1;
                continue;
            }
            self.takes("\n");
            let next = self.rest().lines().next().unwrap_or_default();
            let blank = next.trim().is_empty() && !self.rest().is_empty();
            if !(blank || next.starts_with([' ', '\t'])) {
                return;
            }
        }
    }

    /// To one of `ends` outside of brackets and quotes, or to a bracket that closes one opened before.
    fn skip_to(&mut self, ends: &[char]) {
        let mut depth = 0_usize;
        while let Some(letter) = self.peek() {
            match letter {
                _ if depth == 0 && ends.contains(&letter) => return,
                '"' | '\'' => {
                    let start = self.at;
                    if self.text_literal().is_err() {
                        self.at = start + 1;
                    }
                    continue;
                }
                '#' => {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                    continue;
                }
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => return,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            self.at += letter.len_utf8();
        }
    }

    /// A value that reaches up to one of `ends`: a literal, or an expression. One that cannot be carried over is listed.
    fn element(&mut self, ends: &[char]) -> Read {
        let start = self.at;
        let before = self.lost.len();
        if let Ok(value) = self.value(ends) {
            return Ok(value);
        }
        self.lost.truncate(before);
        self.at = start;
        self.skip_to(ends);
        let source = self.text[start..self.at].trim();
        match self.expression(source) {
            Ok(text) => Ok(Some(Node::new(NodeKind::Str(text), Loc::new(0, start..start + source.len())))),
            Err(why) => {
                let what = self.path.join(".");
                self.lose(start, what, why);
                Err(Stuck)
            }
        }
    }

    /// An expression of Python in the words of ours.
    fn expression(&self, source: &str) -> Result<String, String> {
        let mut lines: Vec<_> = source.lines().map(|it| it.split(" #").next().unwrap_or_default().trim()).collect();
        lines.retain(|it| !it.is_empty() && !it.starts_with('#'));
        let mut source = lines.join(" ");
        // `len(x)` is the one function that configs need.
        while let Some(start) = source.find("len(") {
            let Some(end) = source[start..].find(')').map(|it| it + start) else { break };
            source = format!("{}({} | length){}", &source[..start], &source[start + 4..end], &source[end + 1..]);
        }
        let shown: String = source.chars().take(60).collect();
        let foreign = |why: &str| format!("`{shown}` {why}");
        let jinja = minijinja::Environment::new();
        let inner = source.strip_prefix('*').unwrap_or(&source);
        let compiled = jinja.compile_expression(inner).map_err(|_| foreign("is code, which only Python can run"))?;
        for name in compiled.undeclared_variables(false) {
            if !matches!(name.as_str(), "dict" | "_base_") && !self.bound.contains(&name) {
                return Err(foreign(&format!("reads `{name}`, which the file does not bind before")));
            }
        }
        Ok(format!("{{{{ {source} }}}}"))
    }

    /// A literal, behind which one of `ends` has to come.
    fn value(&mut self, ends: &[char]) -> Read {
        if self.depth == DEEPEST {
            return Err(Stuck);
        }
        self.depth += 1;
        let read = self.literal();
        self.depth -= 1;
        let node = read?;
        self.blanks(!ends.contains(&'\n'));
        let ended = self.peek().is_none_or(|it| ends.is_empty() || ends.contains(&it));
        if ended { Ok(node) } else { Err(Stuck) }
    }

    fn literal(&mut self) -> Read {
        let start = self.at;
        let kind = match self.peek() {
            Some('[') => self.list(']')?,
            Some('(') => self.list(')')?,
            Some('{') => self.braces()?,
            Some('"' | '\'') => self.texts()?,
            Some('-' | '+' | '.' | '0'..='9') => self.number()?,
            _ => match self.name().ok_or(Stuck)? {
                "None" | "null" => return Ok(None),
                "True" | "true" => NodeKind::Bool(true),
                "False" | "false" => NodeKind::Bool(false),
                "NaN" => NodeKind::Float(f64::NAN),
                "Infinity" => NodeKind::Float(f64::INFINITY),
                "float" => self.float_of_text()?,
                "dict" => self.call()?,
                "r" | "u" if self.rest().starts_with(['"', '\'']) => self.texts()?,
                name if self.none.iter().any(|it| it == name) => return Ok(None),
                name if self.bound.iter().any(|it| it == name) => NodeKind::Str(format!("{{{{ {name} }}}}")),
                _ => return Err(Stuck),
            },
        };
        Ok(Some(Node::new(kind, Loc::new(0, start..self.at))))
    }

    /// `[…]` or `(…)`. Brackets around one value are only brackets.
    fn list(&mut self, close: char) -> Result<NodeKind, Stuck> {
        self.at += 1;
        let (mut items, mut commas) = (Vec::new(), 0);
        loop {
            self.blanks(true);
            if self.peek() == Some(close) {
                self.at += 1;
                break;
            }
            self.path.push(items.len().to_string());
            let item = self.element(&[',', close]);
            self.path.pop();
            items.extend(item.ok().flatten());
            self.blanks(true);
            match self.peek() {
                Some(',') => (self.at, commas) = (self.at + 1, commas + 1),
                Some(it) if it == close => {}
                _ => return Err(Stuck),
            }
        }
        match (close, commas, items.len()) {
            (')', 0, 1) => Ok(items.remove(0).kind),
            _ => Ok(NodeKind::List(items)),
        }
    }

    /// `{'key': value}`.
    fn braces(&mut self) -> Result<NodeKind, Stuck> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.blanks(true);
            if self.takes("}") {
                return Ok(NodeKind::Map(entries));
            }
            let start = self.at;
            let key = match self.peek() {
                Some('"' | '\'') => self.text_literal()?,
                Some('0'..='9') => match self.number()? {
                    NodeKind::Int(it) => it.to_string(),
                    _ => return Err(Stuck),
                },
                _ => return Err(Stuck),
            };
            let loc = Loc::new(0, start..self.at);
            self.blanks(true);
            if !self.takes(":") {
                return Err(Stuck);
            }
            self.entry(key, loc, '}', &mut entries)?;
        }
    }

    /// What follows `dict`: `(key=value)`.
    fn call(&mut self) -> Result<NodeKind, Stuck> {
        if !self.takes("(") {
            return Err(Stuck);
        }
        let mut entries = Vec::new();
        loop {
            self.blanks(true);
            if self.takes(")") {
                return Ok(NodeKind::Map(entries));
            }
            let start = self.at;
            if self.takes("**") {
                self.skip_to(&[',', ')']);
                let what = self.path.join(".");
                self.lose(start, what, format!("`{}` would have to be run", &self.text[start..self.at]));
                self.takes(",");
                continue;
            }
            let Some(key) = self.name() else { return Err(Stuck) };
            let loc = Loc::new(0, start..self.at);
            self.blanks(true);
            if !self.takes("=") {
                return Err(Stuck);
            }
            self.entry(key.to_owned(), loc, ')', &mut entries)?;
        }
    }

    /// The value behind a key, and the comma behind it.
    fn entry(&mut self, key: String, loc: Loc, close: char, entries: &mut Vec<(String, Node)>) -> Result<(), Stuck> {
        self.blanks(true);
        self.path.push(key.clone());
        let value = self.element(&[',', close]);
        self.path.pop();
        if let Ok(Some(mut node)) = value {
            node.key = Some(loc);
            entries.retain(|(it, _)| *it != key);
            entries.push((key, node));
        }
        self.blanks(true);
        let more = self.takes(",");
        if more || self.peek() == Some(close) { Ok(()) } else { Err(Stuck) }
    }

    /// Texts that stand side by side are one.
    fn texts(&mut self) -> Result<NodeKind, Stuck> {
        let mut out = String::new();
        loop {
            out += &self.text_literal()?;
            let end = self.at;
            self.blanks(true);
            if !self.rest().starts_with(['"', '\'']) {
                self.at = end;
                return Ok(NodeKind::Str(plain_or_late(&out)));
            }
        }
    }

    fn text_literal(&mut self) -> Result<String, Stuck> {
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|it| self.rest().starts_with(it)).ok_or(Stuck)?;
        self.at += quote.len();
        let mut out = String::new();
        loop {
            if self.takes(quote) {
                return Ok(out);
            }
            let letter = self.peek().ok_or(Stuck)?;
            self.at += letter.len_utf8();
            match letter {
                '\n' if quote.len() == 1 => return Err(Stuck),
                '\\' => {
                    let escaped = self.peek().ok_or(Stuck)?;
                    self.at += escaped.len_utf8();
                    match escaped {
                        'n' => out.push('\n'),
                        't' => out.push('\t'),
                        'r' => out.push('\r'),
                        '\n' => {}
                        'u' | 'x' => {
                            let len = if escaped == 'u' { 4 } else { 2 };
                            let digits = self.rest().get(..len).ok_or(Stuck)?;
                            let code = u32::from_str_radix(digits, 16).map_err(|_| Stuck)?;
                            out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                            self.at += len;
                        }
                        other if "\\'\"/".contains(other) => out.push(other),
                        other => out.extend(['\\', other]),
                    }
                }
                other => out.push(other),
            }
        }
    }

    fn number(&mut self) -> Result<NodeKind, Stuck> {
        let rest = self.rest();
        let sign = rest.len() - rest.trim_start_matches(['-', '+']).len();
        let body = &rest[sign..];
        let exponent = |at: usize| body[..at].ends_with(['e', 'E']);
        let end = body.char_indices().find(|&(at, it)| {
            let part = it.is_ascii_alphanumeric() || matches!(it, '.' | '_');
            !(part || matches!(it, '-' | '+') && exponent(at))
        });
        let len = end.map_or(body.len(), |it| it.0);
        let digits = body[..len].replace('_', "");
        let negative = rest[..sign].matches('-').count() % 2 == 1;
        self.at += sign + len;
        if digits == "Infinity" {
            return Ok(NodeKind::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY }));
        }
        if let Ok(it) = digits.parse::<i64>() {
            return Ok(NodeKind::Int(if negative { -it } else { it }));
        }
        let it: f64 = digits.parse().map_err(|_| Stuck)?;
        Ok(NodeKind::Float(if negative { -it } else { it }))
    }

    /// What follows `float`: `('inf')`.
    fn float_of_text(&mut self) -> Result<NodeKind, Stuck> {
        if !self.takes("(") {
            return Err(Stuck);
        }
        let text = self.text_literal()?;
        let value = text.trim().to_lowercase().replace("infinity", "inf").parse().map_err(|_| Stuck)?;
        if self.takes(")") { Ok(NodeKind::Float(value)) } else { Err(Stuck) }
    }
}

/// Text with mmengine's placeholders in the words of ours; in other text, braces are only braces.
fn plain_or_late(text: &str) -> String {
    let Some(Range { start, end }) = text.find("{{").and_then(|it| Some(it..text[it..].find("}}")? + it)) else {
        return template::escape(text);
    };
    let inner = text[start + 2..end].trim();
    let (before, after) = (template::escape(&text[..start]), plain_or_late(&text[end + 2..]));
    let known = inner.starts_with("_base_.") || inner.starts_with("file");
    let late = match inner.strip_prefix('$').map(|it| it.trim_matches(['\'', '"'])) {
        Some(variable) => match variable.split_once(':') {
            Some((name, default)) => format!("env('{name}', '{default}')"),
            None => format!("env('{variable}')"),
        },
        None if known => inner.to_owned(),
        None => return template::escape(text),
    };
    format!("{before}{{{{ {late} }}}}{after}")
}

#[cfg(test)]
mod tests;
