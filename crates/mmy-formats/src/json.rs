//! JSON as others write it: element by element, and with words that it does not have.

use std::{borrow::Cow, ops::Range};

use serde::de::DeserializeOwned;

/// An entry and where it stands, from line 1.
#[derive(Debug)]
pub struct Row<T> {
    /// Its first line.
    pub line: usize,
    /// The entry, or what is wrong with it.
    pub value: Result<T, String>,
}

/// The lists of a JSON text's outermost object, element by element.
pub(crate) struct Lists<'a> {
    bytes: &'a [u8],
    /// Names, and where the elements are.
    lists: Vec<(String, Vec<Range<usize>>)>,
    /// Where lines end.
    breaks: Vec<usize>,
}

impl<'a> Lists<'a> {
    /// Of a text that is known to be JSON.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        let breaks = bytes.iter().enumerate().filter(|it| *it.1 == b'\n').map(|it| it.0).collect();
        Lists { bytes, lists: entries(bytes), breaks }
    }

    /// The elements of the list of that name.
    pub(crate) fn rows<T: DeserializeOwned>(&self, name: &str) -> Vec<Row<T>> {
        let ranges = self.lists.iter().filter(|it| it.0 == name).flat_map(|it| &it.1);
        ranges.map(|it| self.row(it)).collect()
    }

    fn row<T: DeserializeOwned>(&self, it: &Range<usize>) -> Row<T> {
        let value = serde_json::from_slice(&self.bytes[it.clone()]).map_err(|error| {
            // The place is one within the entry, which tells nobody anything.
            let text = error.to_string();
            text.rsplit_once(" at line ").map_or(text.clone(), |it| it.0.to_owned())
        });
        Row { line: self.breaks.partition_point(|&at| at < it.start) + 1, value }
    }
}

/// Where the elements of each list of the outermost object are; the text is known to be JSON.
fn entries(json: &[u8]) -> Vec<(String, Vec<Range<usize>>)> {
    let (mut out, mut depth, mut at) = (Vec::<(String, Vec<Range<usize>>)>::new(), 0, 0);
    let (mut key, mut in_list, mut begin) = (String::new(), false, None);
    while let Some(&byte) = json.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                while json.get(at).is_some_and(|it| *it != b'"') {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                if depth == 1 {
                    // A key, or the text that stands under one, which no list follows.
                    key = serde_json::from_slice(&json[start..at.min(json.len())]).unwrap_or_default();
                }
            }
            b'[' | b'{' => {
                depth += 1;
                if depth == 2 {
                    in_list = byte == b'[';
                    if in_list {
                        out.push((std::mem::take(&mut key), Vec::new()));
                        continue;
                    }
                }
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        let ends = (depth == 2 && byte == b',') || (depth == 1 && byte == b']');
        if in_list && ends {
            if let (Some(begin), Some(list)) = (begin.take(), out.last_mut()) {
                list.1.push(begin..start);
            }
            in_list = depth == 2;
        } else if in_list && begin.is_none() && !byte.is_ascii_whitespace() {
            begin = Some(start);
        }
    }
    out
}

/// Python's writers put `NaN` and `Infinity` into JSON, which does not have them: they become null.
pub(crate) fn without_nan(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at, mut quoted) = (Vec::new(), 0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        let word = match byte {
            b'N' | b'I' | b'-' if !quoted => {
                [&b"NaN"[..], b"Infinity", b"-Infinity", b"-NaN"].into_iter().find(|it| bytes[at..].starts_with(it))
            }
            _ => None,
        };
        at += match (word, byte) {
            (Some(word), _) => {
                out.extend_from_slice(&bytes[copied..at]);
                out.extend_from_slice(b"null");
                copied = at + word.len();
                word.len()
            }
            (None, b'\\') => 2,
            (None, _) => 1,
        };
        quoted ^= byte == b'"';
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    out.extend_from_slice(&bytes[copied..]);
    Cow::Owned(out)
}
