//! Firing rates as bars, in SVG.

use std::fmt::Write;

use super::{Counts, Energy};

const ROW: usize = 18;
const TOP: usize = 64;
const BARS: usize = 420;

/// A bar for each layer of neurons, from the first to run to the last.
pub(super) fn svg(name: &str, counts: &Counts) -> String {
    let longest = counts.neurons.iter().map(|it| it.path.chars().count()).max().unwrap_or(0);
    let left = 24 + longest * 7;
    let (width, height) = (left + BARS + 80, TOP + counts.neurons.len() * ROW + 40);
    let highest = counts.neurons.iter().map(|it| it.rate()).fold(0.01, f64::max);
    let Energy { layer_rates, ordinary, .. } = counts.energy();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\">{}: firing rates of {} layers of neurons</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#555\">{} pictures; {:.2}% over all neurons; {layer_rates:.1} µJ a picture, \
         {ordinary:.1} µJ without spikes</text>\n",
        escaped(name),
        counts.neurons.len(),
        counts.pictures,
        100.0 * counts.rate(),
    );
    for (i, layer) in counts.neurons.iter().enumerate() {
        let (y, rate) = (TOP + i * ROW, layer.rate());
        let bar = BARS as f64 * rate / highest;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{left}\" y=\"{y}\" width=\"{bar:.1}\" height=\"{}\" fill=\"#3b75af\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#333\">{:.2}%</text>",
            left - 8,
            y + 12,
            escaped(&layer.path),
            ROW - 4,
            left as f64 + bar + 6.0,
            y + 12,
            100.0 * rate,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
