//! Tables for the terminal.

use std::fmt;

use comfy_table::{CellAlignment, presets};
use serde::Serialize;

/// A table with one row for each class: a name, then numbers.
///
/// It displays as aligned columns without colour or box characters, so that it can be cut out of a log and fed to other
/// tools. Columns are aligned by display width, so that class names in any script line up.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Table {
    /// Heads of the columns, the one of the names first.
    pub columns: Vec<String>,
    /// The rows, from top to bottom.
    pub rows: Vec<Row>,
}

/// One row of a [`Table`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What the row is about, a class name as a rule.
    pub name: String,
    /// How many ground-truth objects stand behind it.
    pub instances: usize,
    /// The values in column order; `None` where there is nothing to measure.
    pub values: Vec<Option<f64>>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(&self.columns);
        for row in &self.rows {
            let values = row.values.iter().map(|it| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.3}")));
            table.add_row([row.name.clone(), row.instances.to_string()].into_iter().chain(values));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
            if column.index != 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        f.write_str(&table.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_any_script() {
        let row = |name: &str, instances, values: &[Option<f64>]| Row {
            name: name.to_owned(),
            instances,
            values: values.to_vec(),
        };
        let table = Table {
            columns: ["class", "objects", "mAP"].map(str::to_owned).to_vec(),
            rows: vec![row("cat", 7, &[Some(0.5)]), row("猫科动物", 12_345, &[None]), row("", 0, &[Some(1.0)])],
        };
        let expect = "\
class     objects    mAP
cat             7  0.500
猫科动物    12345      -
                0  1.000";
        assert_eq!(table.to_string(), expect);
        assert_eq!(Table::default().to_string(), "");
    }
}
