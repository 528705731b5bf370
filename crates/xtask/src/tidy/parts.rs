//! A part is one file: its doc, `register!`, a typed config with a doc for each key, the thing, its tests.

use super::{Finding, source::Source};

/// What a config has to derive.
const DERIVES: [&str; 5] = ["Debug", "Clone", "Serialize", "Deserialize", "JsonSchema"];

/// Crates that hold parts.
const HOMES: [&str; 5] = ["mmy-models", "mmy-nn", "mmy-data", "mmy-eval", "mmy-engine"];

/// Checks one file, if it registers a part. `tests` is the text of every test of the workspace.
pub fn check(source: &Source, tests: &str) -> Vec<Finding> {
    if !HOMES.iter().any(|it| source.path.starts_with(format!("crates/{it}/src"))) {
        return Vec::new();
    }
    let code = source.without_tests();
    let mut out = Vec::new();
    for (at, found) in code.match_indices("register!(") {
        let open = at + found.len();
        let arguments = open..open + code[open..].find(')').unwrap_or(0);
        // The name is a string, so it stands in the text alone; the config is a type, maybe with parameters.
        let name = source.text[arguments.clone()].split('"').nth(1).unwrap_or_default();
        let config = code[arguments].trim().trim_end_matches(',').rsplit(',').next().unwrap_or_default().trim();
        let config = config.split('<').next().unwrap_or_default();
        out.extend(check_config(source, code, at, config));
        if source.tests().is_empty() && !tests.contains(&format!("\"{name}\"")) {
            out.push(source.finding(at, format!("no test names `{name}`, and its own file has none")));
        }
        if !source.text.starts_with("//!") {
            out.push(source.finding(0, "a part's file begins with its documentation (`//!`)"));
        }
    }
    out.dedup();
    out
}

fn check_config(source: &Source, code: &str, registered: usize, config: &str) -> Vec<Finding> {
    let declared = ["struct ", "enum "].into_iter().find_map(|keyword| {
        let declaration = format!("{keyword}{config}");
        super::source::words(code, &declaration).next()
    });
    let Some(at) = declared else {
        let what = format!("the config `{config}` stands in another file than its part");
        return vec![source.finding(registered, what)];
    };
    let mut out = Vec::new();
    // The attributes begin where the item before them ends.
    let begin = code[..at].rfind(['}', ';']).map_or(0, |it| it + 1);
    let attributes = &code[begin..at];
    let missing: Vec<_> = DERIVES.into_iter().filter(|it| !derives(attributes, it)).collect();
    if !missing.is_empty() {
        out.push(source.finding(at, format!("the config `{config}` does not derive {}", missing.join(", "))));
    }
    let is_struct = code[at..].starts_with("struct");
    if is_struct && !attributes.contains("deny_unknown_fields") {
        let what = format!("the config `{config}` lets unknown keys pass: add `#[serde(deny_unknown_fields)]`");
        out.push(source.finding(at, what));
    }
    if !["///", "#[doc"].iter().any(|it| source.text[begin..at].contains(it)) {
        out.push(source.finding(at, format!("the config `{config}` has no doc comment, which is the part's manual")));
    }
    if is_struct {
        out.extend(undocumented(source, code, at));
    }
    out
}

fn derives(attributes: &str, name: &str) -> bool {
    attributes.match_indices("derive(").any(|(at, _)| {
        let list = attributes[at..].split(')').next().unwrap_or_default();
        super::source::words(list, name).next().is_some()
    })
}

/// The fields without a doc comment of the struct that begins at `at`.
fn undocumented(source: &Source, code: &str, at: usize) -> Vec<Finding> {
    let Some(open) = code[at..].find(['{', ';']).map(|it| at + it) else { return Vec::new() };
    if code.as_bytes()[open] == b';' {
        return Vec::new();
    }
    let Some(close) = code[open..].find("\n}").map(|it| open + it) else { return Vec::new() };
    let mut out = Vec::new();
    let mut documented = false;
    let mut from = open + 1;
    for line in source.text[open + 1..close].split_inclusive('\n') {
        let text = line.trim();
        let field = text.trim_start_matches("pub(crate) ").trim_start_matches("pub ").trim_start_matches("r#");
        let is_name = |it: &str| !it.is_empty() && it.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        let name = field.split_once(": ").map(|it| it.0).filter(|it| is_name(it));
        if text.starts_with("///") {
            documented = true;
        } else if let Some(name) = name {
            if !documented {
                out.push(source.finding(from, format!("the key `{name}` has no doc comment, which is its manual")));
            }
            documented = false;
        }
        from += line.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = "//! A part.\n\
        register!(Loss, \"MyLoss\", Config);\n\
        \n\
        /// My loss.\n\
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]\n\
        #[serde(deny_unknown_fields, default)]\n\
        pub struct Config {\n\
        \x20   /// Its weight.\n\
        \x20   #[serde(rename = \"weight\")]\n\
        \x20   pub loss_weight: f64,\n\
        }\n\
        \n\
        #[cfg(test)]\n\
        mod tests {}\n";

    /// Replaces one piece of a good part, and expects one finding with this text.
    #[track_caller]
    fn check_without(piece: &str, instead: &str, line: usize, expect: &str) {
        assert!(GOOD.contains(piece), "{piece}");
        let source = Source::new(Path::new("crates/mmy-models/src/x.rs"), GOOD.replacen(piece, instead, 1));
        let found = check(&source, "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].line, line, "{found:?}");
        assert!(found[0].what.contains(expect), "{found:?}");
    }

    #[test]
    fn a_good_part_passes() {
        let source = |path| Source::new(Path::new(path), GOOD);
        assert_eq!(check(&source("crates/mmy-models/src/x.rs"), ""), []);
        let tested_elsewhere = Source::new(Path::new("crates/mmy-models/src/x.rs"), GOOD.replace("#[cfg(test)]", ""));
        assert_eq!(check(&tested_elsewhere, "check(\"MyLoss\", 1.0);"), []);
        // The registry tests its own macro with parts of no substance.
        let bare = Source::new(Path::new("registry/src/x.rs"), "register!(A, \"B\", C);");
        assert_eq!(check(&bare, ""), []);
    }

    #[test]
    fn what_a_part_lacks_is_found() {
        check_without("//! A part.", "// A part.", 1, "begins with its documentation");
        check_without("#[cfg(test)]", "", 2, "no test names `MyLoss`");
        check_without("struct Config", "struct Other", 2, "another file");
        check_without(", JsonSchema", "", 7, "does not derive JsonSchema");
        check_without("deny_unknown_fields, ", "", 7, "unknown keys");
        check_without("/// My loss.", "", 7, "no doc comment");
        check_without("/// Its weight.", "", 10, "`loss_weight` has no doc comment");
    }
}
