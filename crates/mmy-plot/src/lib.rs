//! Charts as SVG, and HTML pages that hold them: text in, text out, no dependencies, no scripts.
//!
//! - [`Chart`]: lines, points and bands over two axes, each linear, logarithmic or of names.
//! - [`Bars`]: a value for each name, for one series or several side by side; lies down when the names are long.
//! - [`Heatmap`]: a table of values as shades, with the values written in.
//! - [`Page`]: one self-contained HTML file of headings, paragraphs, tables and charts.
//!
//! Every chart carries its own style: it looks right in a page, and alone in a viewer of pictures. Colours are CSS variables
//! (`--plot-ink`, `--plot-muted`, `--plot-grid`, `--plot-paper`, `--plot-low`, `--plot-high`, `--plot-0` … `--plot-7`) with a
//! light and a dark set, chosen by `prefers-color-scheme`. What is no finite number is left out, never drawn somewhere.
//! Points, bars and cells tell their values when the pointer rests on them. All texts are escaped here.
//!
//! ```
//! use mmy_plot::{Chart, Page};
//!
//! let chart = Chart::new("Validation").x_label("epoch").y_label("AP").line("lr 0.01", &[(1.0, 0.12), (2.0, 0.31)]);
//! let page = Page::new("Two epochs").heading("Curves").charts([chart.to_svg()]).to_html();
//! assert!(page.starts_with("<!doctype html>") && page.contains("lr 0.01"));
//! ```

mod bars;
mod chart;
mod heatmap;
mod page;
mod scale;
mod svg;

pub use bars::Bars;
pub use chart::Chart;
pub use heatmap::Heatmap;
pub use page::Page;
pub use scale::number;
pub use svg::escape;
