//! YOLO's text annotations: a line for each object, in parts of the picture's width and height.

mod data_yaml;

pub use data_yaml::{DataYaml, data_yaml};

use crate::Fault;

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Place of its class in the list of names.
    pub class: usize,
    /// Where it is.
    pub outline: Outline,
    /// Its line, from 1.
    pub line: u32,
}

/// Where an object is, in parts of the picture's width and height.
#[derive(Debug, Clone, PartialEq)]
pub enum Outline {
    /// Centre, width and height of its box.
    Box([f64; 4]),
    /// The corners of a polygon, three at least.
    Polygon(Vec<[f64; 2]>),
}

impl Outline {
    /// Left, top, right, bottom, in parts of the picture's width and height.
    pub fn edges(&self) -> [f64; 4] {
        match self {
            Outline::Box([x, y, w, h]) => [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0],
            Outline::Polygon(corners) => bounds(corners),
        }
    }

    /// Whether every number lies between 0 and 1, as it has to, give or take a rounding.
    pub fn is_normal(&self) -> bool {
        const SLACK: f64 = 1e-3;
        let normal = |it: &f64| it.is_nan() || (-SLACK..=1.0 + SLACK).contains(it);
        match self {
            Outline::Box(numbers) => numbers.iter().all(normal),
            Outline::Polygon(corners) => corners.iter().flatten().all(normal),
        }
    }
}

/// Left, top, right, bottom of the smallest box around corners; not a number without corners.
pub(crate) fn bounds(corners: &[[f64; 2]]) -> [f64; 4] {
    let nothing = [f64::NAN; 4];
    corners.iter().fold(nothing, |[x1, y1, x2, y2], [x, y]| [x1.min(*x), y1.min(*y), x2.max(*x), y2.max(*y)])
}

/// Reads the annotations of a picture, whose broken lines do not hide the others.
pub fn labels(text: &str) -> Vec<Result<Label, Fault>> {
    let lines = text.lines().zip(1..).filter(|it| !it.0.trim().is_empty());
    lines.map(|(text, line)| label(text, line)).collect()
}

fn label(text: &str, line: u32) -> Result<Label, Fault> {
    let column = |word: &str| Some((word.as_ptr() as usize - text.as_ptr() as usize) as u32 + 1);
    let mut numbers = Vec::new();
    for word in text.split_whitespace() {
        let number = word.parse::<f64>();
        numbers.push(number.map_err(|_| Fault {
            line,
            column: column(word),
            reason: format!("`{}` is not a number", word.chars().take(40).collect::<String>()),
        })?);
    }
    let bad = |reason: String| Fault { line, column: Some(1), reason };
    let (&first, rest) = numbers.split_first().ok_or_else(|| bad("an object without numbers".into()))?;
    // Tools that write all columns as floats write `0.0`.
    if !(0.0..1e6).contains(&first) || first.fract() != 0.0 {
        return Err(bad(format!("`{first}` is not a number of a class, which is whole and counted from 0")));
    }
    let outline = match *rest {
        [x, y, w, h] => Outline::Box([x, y, w, h]),
        _ if rest.len() >= 6 && rest.len() % 2 == 0 => Outline::Polygon(rest.as_chunks::<2>().0.to_vec()),
        _ => {
            return Err(bad(format!(
                "{} numbers; an object has 5 (class, centre x and y, width, height), or its class and the corners of a polygon",
                numbers.len()
            )));
        }
    };
    Ok(Label { class: first as usize, outline, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (u32, Option<u32>, String) {
        let fault = labels(text).into_iter().find_map(Result::err).unwrap();
        (fault.line, fault.column, fault.reason)
    }

    #[test]
    fn boxes_and_polygons() {
        let text = "0 0.5 0.5 0.25 1\n\n2.0\t0.1 0.2 0.5 0.2 0.3 0.9\r\n";
        let read: Vec<_> = labels(text).into_iter().map(Result::unwrap).collect();
        assert_eq!((read[0].class, read[0].line, read[0].outline.edges()), (0, 1, [0.375, 0.0, 0.625, 1.0]));
        assert_eq!((read[1].class, read[1].line, read[1].outline.edges()), (2, 3, [0.1, 0.2, 0.5, 0.9]));
        assert!(read.iter().all(|it| it.outline.is_normal()));
        assert!(!labels("0 0.5 0.5 20 1")[0].as_ref().unwrap().outline.is_normal());
        assert!(labels("").is_empty());
    }

    #[test]
    fn faults_have_lines_and_columns() {
        assert_eq!(fault("0 1 1 1 1\n0 0.5 oh 1 1"), (2, Some(7), "`oh` is not a number".into()));
        assert_eq!(fault("\n\n-1 0 0 0 0").0, 3);
        assert!(fault("0.5 0 0 0 0").2.starts_with("`0.5` is not a number of a class"));
        assert!(fault("nan 0 0 0 0").2.starts_with("`NaN`"));
        assert!(fault("0 1 1 1").2.starts_with("4 numbers"));
        assert!(fault("0 1 1 1 1 0.9").2.starts_with("6 numbers"));
        // One broken line does not hide the others.
        assert_eq!(labels("x\n0 0 0 1 1\ny").iter().filter(|it| it.is_ok()).count(), 1);
    }
}
