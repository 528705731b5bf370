//! `mmy bench train --vary`: one table of several settings.

use std::fmt::Write;

use mmy_torch::alloc::{TensorBytes, peak_resident, release_freed, reset_peak_resident, resident};
use serde_json::{Map, Value, json};

use super::{Training, WARM_UP, rounds, spread, threads, title};
use crate::{
    cli::{BenchArgs, StepArgs},
    failure::{Failure, Outcome},
    output::{show, show_json},
    project::Project,
};

/// A key and the values that it is to take, as TOML.
#[derive(Debug, PartialEq)]
struct Varied<'a> {
    key: &'a str,
    values: Vec<&'a str>,
}

/// What one setting gave.
struct Row {
    values: Vec<String>,
    step_ms: [f64; 3],
    /// Peak of a step above what there was before it, in MiB: of tensors, and of the process where the system says.
    tensors: f64,
    process: Option<f64>,
}

pub(super) fn run(bench: &BenchArgs, step: &StepArgs, vary: &[String]) -> Outcome {
    let varied = vary.iter().map(|it| parse(it)).collect::<Outcome<Vec<_>>>()?;
    let mut rows = Vec::new();
    let mut name = String::new();
    for values in combinations(&varied) {
        let mut bench = bench.clone();
        bench.config.set.extend(varied.iter().zip(&values).map(|(it, value)| format!("{}={value}", it.key)));
        let (title, row) = measure(&bench, step, values)?;
        name = title;
        rows.push(row);
    }
    let keys: Vec<_> = varied.iter().map(|it| it.key).collect();
    if bench.json {
        return show_json(&json!({"what": name, "rows": rows.iter().map(|it| as_json(&keys, it)).collect::<Vec<_>>()}));
    }
    show(&table(&name, &keys, &rows))
}

/// `key=value,value,…`; commas within brackets and quotes part nothing.
fn parse(text: &str) -> Outcome<Varied<'_>> {
    let wrong = || Failure::User(format!("`--vary {text}`: write a key and its values, as in `vars.columns=2,4,8`"));
    let (key, list) = text.split_once('=').ok_or_else(wrong)?;
    let (mut depth, mut quoted, mut begin) = (0, None, 0);
    let mut values = Vec::new();
    for (at, c) in list.char_indices() {
        match (quoted, c) {
            (Some(quote), _) if quote == c => quoted = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quoted = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                values.push(list[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    values.push(list[begin..].trim());
    if key.trim().is_empty() || values.iter().any(|it| it.is_empty()) {
        return Err(wrong());
    }
    Ok(Varied { key: key.trim(), values })
}

/// Every value of the first key with every value of the second, and so on; the last key changes fastest.
fn combinations(varied: &[Varied<'_>]) -> Vec<Vec<String>> {
    varied.iter().fold(vec![Vec::new()], |rows, it| {
        let longer = |row: &Vec<String>, value: &&str| row.iter().cloned().chain([(*value).to_owned()]).collect();
        rows.iter().flat_map(|row| it.values.iter().map(move |value| longer(row, value))).collect()
    })
}

const MIB: f64 = (1 << 20) as f64;

fn measure(bench: &BenchArgs, step: &StepArgs, values: Vec<String>) -> Outcome<(String, Row)> {
    let rounds = rounds(bench)?;
    let project = Project::load(&bench.config)?;
    let threads = threads(&project)?;
    let mut training = Training::new(&project, step)?;
    let mut times = Vec::new();
    for round in 0..WARM_UP + rounds {
        let whole = training.step()?.whole;
        if round >= WARM_UP {
            times.push(whole);
        }
    }
    // Gradients and the optimiser's state are there by now: what comes on top is the step's own.
    let count = TensorBytes::count().map_err(|it| Failure::Other(it.to_string()))?;
    training.step()?;
    let tensors = count.peak() as f64 / MIB;
    drop(count);
    release_freed();
    let before = resident().filter(|_| reset_peak_resident());
    training.step()?;
    let process = before.zip(peak_resident()).map(|(before, peak)| peak.saturating_sub(before) as f64 / MIB);
    let title = title(&project, "training step", step, &training.batch, threads);
    Ok((title, Row { values, step_ms: spread(times), tensors, process }))
}

fn as_json(keys: &[&str], row: &Row) -> Value {
    let [min, median, max] = row.step_ms;
    let mut out: Map<String, Value> =
        keys.iter().zip(&row.values).map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
    out.insert("step ms".into(), json!({"min": min, "median": median, "max": max}));
    out.insert("step_peak_tensors_mib".into(), row.tensors.into());
    out.insert("step_peak_process_mib".into(), row.process.into());
    Value::Object(out)
}

fn table(title: &str, keys: &[&str], rows: &[Row]) -> String {
    let mut out = format!("{title}\n");
    let width = |at: usize| {
        let values = rows.iter().map(|it| it.values[at].chars().count());
        values.chain([keys[at].chars().count()]).max().unwrap_or(0)
    };
    let cells = |out: &mut String, values: &mut dyn Iterator<Item = &str>| {
        for (at, value) in values.enumerate() {
            let width = width(at);
            let _ = write!(out, "  {value:>width$}");
        }
    };
    cells(&mut out, &mut keys.iter().copied());
    let _ = writeln!(out, "  {:>9}  {:>9}  {:>9}  {:>12}  {:>12}", "ms", "min", "max", "tensors MiB", "process MiB");
    for row in rows {
        cells(&mut out, &mut row.values.iter().map(String::as_str));
        let [min, median, max] = row.step_ms;
        let process = row.process.map_or_else(|| "-".to_owned(), |it| format!("{it:.1}"));
        let _ = writeln!(out, "  {median:>9.1}  {min:>9.1}  {max:>9.1}  {:>12.1}  {process:>12}", row.tensors);
    }
    out.push_str("  MiB: the peak of a step above what there was before it\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parted_at_commas_that_stand_alone() {
        let read = parse("a.b=2, [1,2],\"x,y\",{c=[3,4]}").unwrap();
        assert_eq!(read, Varied { key: "a.b", values: vec!["2", "[1,2]", "\"x,y\"", "{c=[3,4]}"] });
        for wrong in ["a", "=1", "a=", "a=1,,2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_key_changes_fastest() {
        let of = |key, values: &[&'static str]| Varied { key, values: values.to_vec() };
        let rows = combinations(&[of("a", &["1", "2"]), of("b", &["x", "y"])]);
        assert_eq!(rows, [["1", "x"], ["1", "y"], ["2", "x"], ["2", "y"]]);
    }
}
