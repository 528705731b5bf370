//! What `--help` says of every command: walks the whole tree.

use clap::{Command, CommandFactory, Parser};

use crate::cli::Cli;

/// Calls `each` with every command that does something, and the words that lead to it.
fn walk(command: &Command, words: &mut Vec<String>, each: &mut dyn FnMut(&Command, &[String])) {
    words.push(command.get_name().to_owned());
    let inner: Vec<_> = command.get_subcommands().filter(|it| it.get_name() != "help").collect();
    if inner.is_empty() {
        each(command, words);
    }
    for it in inner {
        walk(it, words, each);
    }
    words.pop();
}

/// The examples of a command, a line each: what follows two blanks, lines that end in `\` in one.
fn examples(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Some((_, list)) = text.split_once("Example") else { return Vec::new() };
    let joined = list.replace("\\\n", " ");
    joined.lines().filter_map(|it| it.strip_prefix("  ")).map(str::to_owned).collect()
}

/// Words as a shell has them: quotes, and `#` before a remark; what follows `>`, `|`, `&&` belongs to the shell.
fn split(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for letter in line.chars().chain([' ']) {
        match (letter, quote) {
            (_, Some(mark)) if letter == mark => quote = None,
            ('\'' | '"', None) => (quote, begun) = (Some(letter), true),
            (' ', None) if begun || !word.is_empty() => {
                out.push(std::mem::take(&mut word));
                begun = false;
            }
            (' ', None) => {}
            _ => word.push(letter),
        }
    }
    let end = out.iter().position(|it| [">", "|", "&&"].contains(&it.as_str()) || it.starts_with('#'));
    out.truncate(end.unwrap_or(out.len()));
    out
}

#[test]
fn every_command_has_help_with_examples_that_parse() {
    let mut faults = Vec::new();
    let mut count = 0;
    walk(&Cli::command(), &mut Vec::new(), &mut |command, words| {
        let name = words.join(" ");
        count += 1;
        if command.get_about().is_none() {
            faults.push(format!("{name}: says not what it does"));
        }
        for argument in command.get_arguments() {
            if argument.get_help().is_none() && !["help", "version"].contains(&argument.get_id().as_str()) {
                faults.push(format!("{name}: says nothing of {}", argument.get_id()));
            }
        }
        let examples = examples(command);
        let own = |it: &&String| it.starts_with(&name) || it.contains(&format!(" {name}"));
        if !examples.iter().any(|it| own(&it)) {
            faults.push(format!("{name}: no example"));
        }
        for example in examples.iter().filter(|it| it.starts_with("mmy ")) {
            if let Err(error) = Cli::try_parse_from(split(example)) {
                faults.push(format!("{name}: `{example}` does not parse: {error}"));
            }
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 30, "{count} commands were found");
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn words_are_those_of_a_shell() {
    let words = split(r#"mmy a '[1, "2"]' "" b=1 > x # remark"#);
    assert_eq!(words, ["mmy", "a", r#"[1, "2"]"#, "", "b=1"]);
}
