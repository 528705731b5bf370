//! A value for each name.

use std::fmt::Write;

use crate::{
    scale::{Axis, Scale, number},
    svg,
};

/// A value for each name, for one series or several side by side. Bars begin at zero. They stand, and lie where their names
/// would not fit below them.
#[derive(Debug, Clone)]
pub struct Bars {
    title: String,
    label: String,
    names: Vec<String>,
    series: Vec<(String, Vec<f64>)>,
    width: f64,
}

impl Bars {
    /// Bars for these names.
    pub fn new(title: impl Into<String>, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Bars { title: title.into(), label: String::new(), names, series: Vec::new(), width: 460.0 }
    }

    /// What the values are.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Width of the picture; axis texts are 13 high.
    pub fn width(mut self, width: u32) -> Self {
        self.width = f64::from(width.max(240));
        self
    }

    /// Adds a value for each name, in their order; what is not finite has no bar.
    pub fn series(mut self, name: impl Into<String>, values: &[f64]) -> Self {
        self.series.push((name.into(), values.to_vec()));
        self
    }

    /// The picture.
    pub fn to_svg(&self) -> String {
        let values = || self.series.iter().flat_map(|it| it.1.iter().copied());
        let axis = Axis::new(&Scale::Linear, values().chain([0.0]), None, 5);
        let longest = self.names.iter().map(|it| svg::width(it)).fold(0.0, f64::max);
        let lies = (longest + 8.0) * self.names.len() as f64 > self.width - 60.0;
        let mut body = String::new();
        svg::text(&mut body, 12.0, 20.0, "start", "title", &svg::fitted(&self.title, (self.width - 24.0) * 0.86));
        svg::text(&mut body, 12.0, 40.0, "start", "muted", &self.label);
        let top = if self.label.is_empty() { 36.0 } else { 54.0 };
        let height =
            if lies { self.lying(&mut body, &axis, top, longest) } else { self.standing(&mut body, &axis, top) };
        let names: Vec<_> = self.series.iter().map(|it| it.0.as_str()).collect();
        let (legend, more) = svg::legend(&names, self.width, height);
        svg::frame((self.width, height + more), &self.title, &(body + &legend))
    }

    /// Each bar: place of its name, of its series, value.
    fn bars(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        let with_series = |(at, it): (usize, &'_ (String, Vec<f64>))| {
            let values = it.1.iter().take(self.names.len()).copied().enumerate();
            values.map(move |(name, value)| (name, at, value)).collect::<Vec<_>>()
        };
        self.series.iter().enumerate().flat_map(with_series)
    }

    fn standing(&self, body: &mut String, axis: &Axis, top: f64) -> f64 {
        let (left, right, bottom) = (62.0, self.width - 12.0, top + 210.0);
        let up = |value: f64| axis.place(value).map(|it| bottom - it * (bottom - top));
        for (value, label) in &axis.ticks {
            let Some(y) = up(*value) else { continue };
            svg::line(body, "grid", (left, y), (right, y));
            svg::text(body, left - 7.0, y + 4.5, "end", "muted", label);
        }
        let zero = up(0.0).unwrap_or(bottom);
        let slot = (right - left) / self.names.len().max(1) as f64;
        let thick = (slot * 0.76 / self.series.len().max(1) as f64).min(60.0);
        let begin = |name: usize| left + slot * (name as f64 + 0.5) - thick * self.series.len() as f64 / 2.0;
        for (name, series, value) in self.bars() {
            let Some(y) = up(value) else { continue };
            let x = begin(name) + thick * series as f64;
            self.bar(body, (name, series, value), (x, y.min(zero)), (thick * 0.92, (y - zero).abs()));
        }
        for (at, name) in self.names.iter().enumerate() {
            svg::text(body, left + slot * (at as f64 + 0.5), bottom + 18.0, "middle", "muted", name);
        }
        svg::line(body, "axis", (left, zero), (right, zero));
        bottom + 30.0
    }

    fn lying(&self, body: &mut String, axis: &Axis, top: f64, longest: f64) -> f64 {
        let room = longest.min(self.width * 0.36);
        let (left, right) = (room + 20.0, self.width - 58.0);
        let thick = if self.series.len() > 1 { 12.0 } else { 16.0 };
        let slot = thick * self.series.len().max(1) as f64 + 8.0;
        let bottom = top + slot * self.names.len() as f64;
        let along = |value: f64| axis.place(value).map(|it| left + it * (right - left));
        for (value, label) in &axis.ticks {
            let Some(x) = along(*value) else { continue };
            svg::line(body, "grid", (x, top), (x, bottom));
            svg::text(body, x, bottom + 18.0, "middle", "muted", label);
        }
        let zero = along(0.0).unwrap_or(left);
        for (name, series, value) in self.bars() {
            let Some(x) = along(value) else { continue };
            let y = top + slot * name as f64 + 4.0 + thick * series as f64;
            self.bar(body, (name, series, value), (x.min(zero), y), ((x - zero).abs(), thick * 0.92));
            svg::text(body, x.max(zero) + 5.0, y + thick * 0.5 + 4.5, "start", "muted", &number(value));
        }
        for (at, name) in self.names.iter().enumerate() {
            let y = top + slot * (at as f64 + 0.5) + 4.5;
            svg::text(body, left - 7.0, y, "end", "", &svg::fitted(name, room));
        }
        svg::line(body, "axis", (zero, top), (zero, bottom));
        bottom + 30.0
    }

    fn bar(&self, body: &mut String, what: (usize, usize, f64), at: (f64, f64), size: (f64, f64)) {
        let (name, series, value) = what;
        let parts = [self.series[series].0.as_str(), &self.names[name], &number(value)];
        let told: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
        let _ = write!(
            body,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}</title></rect>",
            at.0,
            at.1,
            size.0,
            size.1,
            svg::colour(series),
            svg::escape(&told.join(": "))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_where_names_are_long() {
        let few = Bars::new("t", ["a", "b"]).series("", &[1.0, 2.0]).to_svg();
        assert!(few.contains("width=\"460\"") && few.matches("<title>").count() == 2);
        // Standing bars are as wide as one another, lying ones as high.
        let many = (0..30).map(|it| format!("a long name {it}"));
        let many = Bars::new("t", many).series("train", &[1.0; 30]).series("val", &[0.5; 30]).to_svg();
        assert_eq!(many.matches("height=\"11.0\"").count(), 60);
    }

    #[test]
    fn bars_begin_at_zero_and_gaps_have_none() {
        let svg = Bars::new("t", ["a", "b", "c"]).series("", &[-1.0, f64::NAN, 3.0]).to_svg();
        assert_eq!(svg.matches("<title>").count(), 2);
        assert!(svg.contains(">0<") && !svg.contains("NaN"), "{svg}");
    }
}
