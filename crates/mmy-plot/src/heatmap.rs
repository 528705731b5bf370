//! A table of values as shades.

use std::fmt::Write;

use crate::{scale::number, svg};

/// A table of values as shades, the values written in where there is room: a confusion matrix, say.
#[derive(Debug, Clone)]
pub struct Heatmap {
    title: String,
    labels: (String, String),
    rows: Vec<String>,
    columns: Vec<String>,
    values: Vec<Vec<f64>>,
    range: Option<(f64, f64)>,
}

impl Heatmap {
    /// `values[row][column]`; what is not finite is an empty cell.
    pub fn new(
        title: impl Into<String>,
        rows: impl IntoIterator<Item = impl Into<String>>,
        columns: impl IntoIterator<Item = impl Into<String>>,
        values: Vec<Vec<f64>>,
    ) -> Self {
        let rows = rows.into_iter().map(Into::into).collect();
        let columns = columns.into_iter().map(Into::into).collect();
        let labels = (String::new(), String::new());
        Heatmap { title: title.into(), labels, rows, columns, values, range: None }
    }

    /// What rows and columns are.
    pub fn labels(mut self, rows: impl Into<String>, columns: impl Into<String>) -> Self {
        self.labels = (rows.into(), columns.into());
        self
    }

    /// The values of the faintest and of the strongest shade; by default the least and the largest.
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// The picture: cells of one size, so it grows with the table.
    pub fn to_svg(&self) -> String {
        let all = || self.values.iter().flatten().copied().filter(|it| it.is_finite());
        let ends = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
        let (low, high) = self.range.unwrap_or(ends);
        let longest = |names: &[String]| names.iter().map(|it| svg::width(it)).fold(20.0, f64::max).min(150.0);
        let (side, head) = (longest(&self.rows), longest(&self.columns));
        let many = self.columns.len() > 14;
        let (cell_width, cell_height) = if many { (24.0, 24.0) } else { (48.0, 32.0) };
        // Names of columns stand upright where they are wider than a column.
        let upright = head + 6.0 > cell_width;
        let (left, top) = (side + 40.0, 52.0 + if upright { head } else { 16.0 });
        let width = (left + cell_width * self.columns.len() as f64 + 16.0).max(240.0);
        let height = top + cell_height * self.rows.len() as f64 + 16.0;
        let mut body = String::new();
        svg::text(&mut body, 12.0, 20.0, "start", "title", &svg::fitted(&self.title, (width - 24.0) * 0.86));
        svg::text(&mut body, left, 40.0, "start", "muted", &self.labels.1);
        let middle = top + cell_height * self.rows.len() as f64 / 2.0;
        let _ = write!(body, "<g transform=\"translate(18 {middle:.1}) rotate(-90)\">");
        svg::text(&mut body, 0.0, 0.0, "middle", "muted", &self.labels.0);
        body.push_str("</g>");
        for (at, name) in self.columns.iter().enumerate() {
            let (x, name) = (left + cell_width * (at as f64 + 0.5), svg::fitted(name, 150.0));
            if upright {
                let _ = write!(body, "<g transform=\"translate({:.1} {:.1}) rotate(-90)\">", x + 4.5, top - 6.0);
                svg::text(&mut body, 0.0, 0.0, "start", "", &name);
                body.push_str("</g>");
            } else {
                svg::text(&mut body, x, top - 6.0, "middle", "", &name);
            }
        }
        for (row, name) in self.rows.iter().enumerate() {
            let y = top + cell_height * row as f64;
            svg::text(&mut body, left - 7.0, y + cell_height / 2.0 + 4.5, "end", "", &svg::fitted(name, 150.0));
            let values = self.values.get(row).map_or(&[][..], Vec::as_slice);
            for (column, value) in values.iter().take(self.columns.len()).enumerate().filter(|it| it.1.is_finite()) {
                let x = left + cell_width * column as f64;
                let shade = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
                let told = svg::escape(&format!("{name}, {}: {}", self.columns[column], number(*value)));
                let place = format!(
                    "x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"",
                    x + 1.0,
                    y + 1.0,
                    cell_width - 2.0,
                    cell_height - 2.0
                );
                // A shade is an amount of the strong colour over the faint one: no viewer has to mix colours.
                let _ = write!(
                    body,
                    "<rect {place} fill=\"var(--plot-low)\"/>\
                     <rect {place} fill=\"var(--plot-high)\" fill-opacity=\"{shade:.3}\"><title>{told}</title></rect>"
                );
                if !many {
                    let ink = if shade > 0.55 { "var(--plot-paper)" } else { "var(--plot-ink)" };
                    let _ = write!(
                        body,
                        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" style=\"fill:{ink};pointer-events:none\">{}</text>",
                        x + cell_width / 2.0,
                        y + cell_height / 2.0 + 4.5,
                        short(*value)
                    );
                }
            }
        }
        svg::frame((width, height), &self.title, &body)
    }
}

/// A number in the five letters that fit a cell.
fn short(value: f64) -> String {
    let whole = value.fract() == 0.0;
    if whole || value.abs() >= 1e3 || value.abs() < 1e-3 {
        number(value)
    } else {
        format!("{value:.*}", decimals(value))
    }
}

fn decimals(value: f64) -> usize {
    (2 - value.abs().log10().floor() as i32).clamp(0, 2) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_the_least_to_the_largest() {
        let map = Heatmap::new("t", ["cat", "dog"], ["cat", "dog"], vec![vec![0.0, 0.5], vec![f64::NAN, 1.0]]);
        let svg = map.labels("true", "predicted").to_svg();
        for piece in ["fill-opacity=\"0.000\"", "fill-opacity=\"0.500\"", "fill-opacity=\"1.000\"", "cat, dog: 0.5"] {
            assert!(svg.contains(piece), "{piece}: {svg}");
        }
        assert_eq!(svg.matches("<title>").count(), 3);
    }

    #[test]
    fn a_table_of_nothing_is_a_picture() {
        let empty: [&str; 0] = [];
        assert!(Heatmap::new("t", empty, empty, vec![]).to_svg().ends_with("</svg>"));
        assert_eq!([short(0.123), short(3.0), short(12.34), short(1234.5)], ["0.12", "3", "12.3", "1234"]);
    }
}
