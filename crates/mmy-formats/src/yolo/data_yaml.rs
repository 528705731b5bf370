//! `data.yaml`: where the pictures of each split are, and what the classes are called.

use saphyr_parser::{Event, Parser, Span};

use crate::Fault;

/// What a `data.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataYaml {
    /// The folder that splits are looked for in.
    pub path: Option<String>,
    /// Names of splits, and folders of pictures or lists of pictures, in the file's order.
    pub splits: Vec<(String, Vec<String>)>,
    /// Names of the classes.
    pub names: Vec<String>,
    /// The line of `names`.
    pub names_line: u32,
}

/// Keys that name splits whatever they hold.
const SPLITS: [&str; 3] = ["train", "val", "test"];

/// Whether a key names a split: by its name, or because a list or a folder of pictures stands under it. The others are
/// settings of the tools that read such files.
fn is_split(entry: &Entry) -> bool {
    let place = |it: &str| !it.contains([':', '\n']) && (it.ends_with(".txt") || it.contains("images/"));
    match (&entry.value, entry.key.as_str()) {
        (_, key) if SPLITS.contains(&key) => true,
        (_, "path" | "names" | "nc" | "download") => false,
        (Value::Text(text), _) => place(text),
        _ => false,
    }
}

/// Most classes that are numbered without having names.
const MOST_UNNAMED: usize = 10_000;

/// What is read of a value; tables in lists, and the like, are no business of ours.
#[derive(Debug, PartialEq)]
enum Value {
    Text(String),
    List(Vec<String>),
    Table(Vec<(String, String)>),
    Other,
}

struct Entry {
    key: String,
    value: Value,
    line: u32,
    column: u32,
}

impl Entry {
    fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault { line: self.line, column: Some(self.column), reason: reason.into() }
    }
}

/// Reads a file. Aliases, which can grow without end, are refused.
///
/// # Errors
/// When it is not YAML, or does not name its classes.
pub fn data_yaml(text: &str) -> Result<DataYaml, Fault> {
    let entries = entries(text)?;
    // The last one counts, as it does in Python.
    let find = |key: &str| entries.iter().rev().find(|it| it.key == key);
    let mut out = DataYaml::default();
    if let Some(entry) = find("path") {
        match &entry.value {
            Value::Text(path) => out.path = Some(path.clone()).filter(|it| !it.is_empty()),
            _ => return Err(entry.fault("`path` is a folder")),
        }
    }
    for entry in entries.iter().filter(|it| is_split(it)) {
        let places = match &entry.value {
            Value::Text(place) if place.is_empty() || place == "null" || place == "~" => continue,
            Value::Text(place) => vec![place.clone()],
            Value::List(places) => places.clone(),
            _ => return Err(entry.fault(format!("`{}` is a folder, a list of pictures, or several", entry.key))),
        };
        out.splits.retain(|it| it.0 != entry.key);
        out.splits.push((entry.key.clone(), places));
    }
    let count = match find("nc").map(|it| (it, &it.value)) {
        None => None,
        Some((entry, Value::Text(text))) => {
            Some((entry, text.parse::<usize>().map_err(|_| entry.fault("`nc` is the number of classes"))?))
        }
        Some((entry, _)) => return Err(entry.fault("`nc` is the number of classes")),
    };
    (out.names, out.names_line) = match (find("names"), count) {
        (Some(entry), _) => (names(entry)?, entry.line),
        (None, Some((entry, n))) if n <= MOST_UNNAMED => ((0..n).map(|it| format!("class{it}")).collect(), entry.line),
        (None, _) => return Err(Fault { line: 1, column: None, reason: "there are no `names` of classes".into() }),
    };
    if let Some((entry, n)) = count.filter(|it| it.1 != out.names.len()) {
        return Err(entry.fault(format!("`nc` is {n}, and there are {} names", out.names.len())));
    }
    Ok(out)
}

fn names(entry: &Entry) -> Result<Vec<String>, Fault> {
    match &entry.value {
        Value::List(names) => Ok(names.clone()),
        Value::Table(rows) => {
            let numbered = rows.iter().map(|(number, name)| Some((number.parse::<usize>().ok()?, name.clone())));
            let mut numbered = numbered.collect::<Option<Vec<_>>>().unwrap_or_default();
            numbered.sort();
            if numbered.iter().enumerate().any(|(at, it)| at != it.0) || numbered.len() != rows.len() {
                return Err(entry.fault("the classes of `names` are numbered from 0, without a gap"));
            }
            Ok(numbered.into_iter().map(|it| it.1).collect())
        }
        _ => Err(entry.fault("`names` is a list of the classes' names, or a table of number and name")),
    }
}

/// The keys of the outermost table.
fn entries(text: &str) -> Result<Vec<Entry>, Fault> {
    let place = |span: Span| (span.start.line() as u32, span.start.col() as u32 + 1);
    let fault = |(line, column): (u32, u32), reason: &str| Fault { line, column: Some(column), reason: reason.into() };
    let (mut out, mut depth) = (Vec::<Entry>::new(), 0);
    let (mut key, mut inner) = (None::<(String, (u32, u32))>, None::<String>);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = (error.marker().line() as u32, error.marker().col() as u32 + 1);
            fault(at, error.info())
        })?;
        let at = place(span);
        match event {
            Event::Alias(_) => return Err(fault(at, "aliases are not read: write the value itself")),
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let table = matches!(event, Event::MappingStart(..));
                depth += 1;
                match (depth, key.take()) {
                    (1, _) if table => {}
                    (1, _) => return Err(fault(at, "a table of keys is expected")),
                    (2, Some((key, (line, column)))) => {
                        inner = None;
                        let value = if table { Value::Table(Vec::new()) } else { Value::List(Vec::new()) };
                        out.push(Entry { key, value, line, column });
                    }
                    (2, None) => return Err(fault(at, "a key is a text")),
                    _ => {
                        if let Some(last) = out.last_mut() {
                            last.value = Value::Other;
                        }
                    }
                }
            }
            Event::MappingEnd | Event::SequenceEnd => depth -= 1,
            Event::Scalar(text, ..) if depth == 1 => match key.take() {
                None => key = Some((text.into_owned(), at)),
                Some((key, (line, column))) => {
                    out.push(Entry { key, value: Value::Text(text.into_owned()), line, column });
                }
            },
            Event::Scalar(text, ..) if depth == 2 => match (out.last_mut().map(|it| &mut it.value), inner.take()) {
                (Some(Value::List(list)), _) => list.push(text.into_owned()),
                (Some(Value::Table(rows)), Some(key)) => rows.push((key, text.into_owned())),
                (Some(Value::Table(_)), None) => inner = Some(text.into_owned()),
                _ => {}
            },
            Event::Scalar(text, ..) if depth == 0 && !text.is_empty() => {
                return Err(fault(at, "a table of keys is expected"));
            }
            Event::DocumentEnd => break,
            _ => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_are_in_use() {
        let text = "# a comment\npath: ../datasets/coco128\ntrain: images/train2017 # 128 images\nval:\n  - a.txt\n  - b\n\
                    test: # none\ntrainval: all.txt\nnames:\n  0: person\n  1: 'fire hydrant'\ndownload: |\n  import x\n  y(z)\nroboflow:\n  a: [1]\n";
        let read = data_yaml(text).unwrap();
        assert_eq!(read.path.as_deref(), Some("../datasets/coco128"));
        let place = |it: &str| it.to_owned();
        let splits = vec![
            (place("train"), vec![place("images/train2017")]),
            (place("val"), vec![place("a.txt"), place("b")]),
            (place("trainval"), vec![place("all.txt")]),
        ];
        assert_eq!((read.splits, read.names_line), (splits, 9));
        assert_eq!(read.names, ["person", "fire hydrant"]);
        assert_eq!(data_yaml("nc: 2\nnames: ['a', \"b\"]").unwrap().names, ["a", "b"]);
        assert_eq!(data_yaml("nc: 2").unwrap().names, ["class0", "class1"]);
    }

    #[test]
    fn faults_have_lines_and_columns() {
        let check = |text: &str, line: u32, reason: &str| {
            let fault = data_yaml(text).unwrap_err();
            assert!(fault.line == line && fault.reason.contains(reason), "{fault:?}");
        };
        check("train: a\nnc: 3\nnames: [a, b]", 2, "`nc` is 3, and there are 2 names");
        check("\nnames: {0: a, 2: b}", 2, "numbered from 0");
        check("names: 3", 1, "`names` is a list");
        check("train: a", 1, "no `names`");
        check("- a", 1, "a table of keys");
        check("names: [a\nb: }", 2, "");
        check("a: &b [x]\nnames: *b", 2, "aliases");
        check("train: {a: b}\nnames: [a]", 1, "`train` is a folder");
        check("nc: many\nnames: [a]", 1, "`nc` is the number");
    }

    #[test]
    fn deep_and_empty_files_do_no_harm() {
        assert!(data_yaml("").is_err());
        assert!(data_yaml(&"[".repeat(100_000)).is_err());
        assert!(data_yaml(&format!("names: {}", "[".repeat(100_000))).is_err());
        assert!(data_yaml("nc: 99999999999").is_err());
    }
}
