//! What all charts share: the frame, the style, texts, the legend.

use std::fmt::Write;

/// Size of axis texts, in the picture's own units.
pub const FONT: f64 = 13.0;

/// Colours in their light and dark sets; all of it below `svg.plot`, so that a page keeps its own.
const STYLE: &str = "\
svg.plot{--plot-ink:#1c2430;--plot-muted:#5a6676;--plot-grid:#dde2e8;--plot-paper:#ffffff;--plot-low:#eef2f7;--plot-high:#1f5fa8;\
--plot-0:#1f5fa8;--plot-1:#c2560c;--plot-2:#1d7f4f;--plot-3:#a1328a;--plot-4:#7d6100;--plot-5:#5b4bb5;--plot-6:#0b7786;\
--plot-7:#b3261e;font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
@media (prefers-color-scheme:dark){svg.plot{--plot-ink:#e6e9ee;--plot-muted:#a3adba;--plot-grid:#343c47;--plot-paper:#15191f;\
--plot-low:#232a33;--plot-high:#7ab6f5;--plot-0:#7ab6f5;--plot-1:#f59a55;--plot-2:#5fcf96;--plot-3:#e58bd0;--plot-4:#d9b84a;\
--plot-5:#b0a3f5;--plot-6:#4fc6d6;--plot-7:#f2877f}}\
svg.plot text{fill:var(--plot-ink);font-size:13px}svg.plot .title{font-size:15px;font-weight:600}\
svg.plot .muted{fill:var(--plot-muted)}svg.plot .grid{stroke:var(--plot-grid);stroke-width:1}\
svg.plot .axis{stroke:var(--plot-muted);stroke-width:1}svg.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}";

/// Dashes tell series apart once the eight colours are used up.
const DASHES: [&str; 4] = ["", "6 3", "2 3", "9 3 2 3"];

/// Text as it may stand in HTML and SVG, in attributes too.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no way to write other control characters.
            it if it.is_control() && it != '\n' && it != '\t' => out.push('\u{fffd}'),
            it => out.push(it),
        }
    }
    out
}

/// About how wide a text is.
pub fn width(text: &str) -> f64 {
    text.chars().count() as f64 * FONT * 0.56
}

/// A text that is no wider than `room`, with an ellipsis where it was cut.
pub fn fitted(text: &str, room: f64) -> String {
    let letters = (room / (FONT * 0.56)).max(2.0) as usize;
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters - 1).chain(['…']).collect()
}

/// The colour of series `at`, as a CSS value.
pub fn colour(at: usize) -> String {
    format!("var(--plot-{})", at % 8)
}

/// The dash pattern of series `at`, as an attribute.
pub fn dash(at: usize) -> String {
    match DASHES[at / 8 % DASHES.len()] {
        "" => String::new(),
        it => format!(" stroke-dasharray=\"{it}\""),
    }
}

/// A text at a place; `anchor` is `start`, `middle` or `end`.
pub fn text(out: &mut String, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let text = escape(text);
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>");
}

/// A straight line.
pub fn line(out: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = write!(
        out,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// A whole picture around `body`.
pub fn frame(size: (f64, f64), title: &str, body: &str) -> String {
    let (width, height) = size;
    let (title, roomy) = (escape(title), width * 1.6);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" style=\"width:100%;max-width:{roomy:.0}px;height:auto\" role=\"img\" aria-label=\"{title}\">\
         <style>{STYLE}</style><rect width=\"100%\" height=\"100%\" fill=\"var(--plot-paper)\"/>{body}</svg>"
    )
}

/// Lays a legend out in rows below `top`, and returns it with its height. One series without a name needs none.
pub fn legend(names: &[&str], room: f64, top: f64) -> (String, f64) {
    let mut out = String::new();
    if names.iter().all(|it| it.is_empty()) {
        return (out, 0.0);
    }
    let (mut x, mut y) = (12.0, top + 14.0);
    for (at, name) in names.iter().enumerate().filter(|it| !it.1.is_empty()) {
        let name = fitted(name, room - 60.0);
        let wide = width(&name) + 46.0;
        if x > 12.0 && x + wide > room {
            (x, y) = (12.0, y + 20.0);
        }
        let (ink, dash) = (colour(at), dash(at));
        let _ = write!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{ink}\" stroke-width=\"4\"{dash}/>",
            x + 20.0,
            y - 4.0,
            y - 4.0
        );
        text(&mut out, x + 26.0, y, "start", "", &name);
        x += wide;
    }
    (out, y - top + 10.0)
}
