//! Lines, points and bands over two axes.

use std::fmt::Write;

use crate::{
    scale::{Axis, Scale, number},
    svg,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mark {
    Line,
    Points,
    Steps,
}

#[derive(Debug, Clone)]
struct Series {
    name: String,
    mark: Mark,
    points: Vec<(f64, f64)>,
    /// What is told of each point besides its values.
    labels: Vec<String>,
}

/// What is shaded beside a series.
#[derive(Debug, Clone)]
struct Band {
    /// The place of its series.
    series: usize,
    /// (x, low, high).
    points: Vec<(f64, f64, f64)>,
}

/// Lines, points and bands over two axes. Colours go to series in the order in which they are added.
#[derive(Debug, Clone)]
pub struct Chart {
    title: String,
    x: (String, Scale, Option<(f64, f64)>),
    y: (String, Scale, Option<(f64, f64)>),
    series: Vec<Series>,
    bands: Vec<Band>,
    /// A level and its name.
    rules: Vec<(f64, String)>,
    size: (f64, f64),
}

impl Chart {
    /// A chart of nothing yet, 460×300.
    pub fn new(title: impl Into<String>) -> Self {
        let axis = || (String::new(), Scale::Linear, None);
        let (series, bands, rules) = (Vec::new(), Vec::new(), Vec::new());
        Chart { title: title.into(), x: axis(), y: axis(), series, bands, rules, size: (460.0, 300.0) }
    }

    /// Width and height of the picture without its legend, in units of which axis texts are 13 high.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (f64::from(width.max(200)), f64::from(height.max(140)));
        self
    }

    /// What is written below the x axis.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x.0 = label.into();
        self
    }

    /// What is written above the y axis.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y.0 = label.into();
        self
    }

    /// Makes the x axis logarithmic.
    pub fn x_log(mut self) -> Self {
        self.x.1 = Scale::Log;
        self
    }

    /// Makes the y axis logarithmic.
    pub fn y_log(mut self) -> Self {
        self.y.1 = Scale::Log;
        self
    }

    /// Makes the x axis one of names: x = 0, 1, 2 … stand for them.
    pub fn x_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.x.1 = Scale::Names(names.into_iter().map(Into::into).collect());
        self
    }

    /// The ends of the x axis; by default all values fit.
    pub fn x_range(mut self, low: f64, high: f64) -> Self {
        self.x.2 = Some((low, high));
        self
    }

    /// The ends of the y axis; by default all values fit.
    pub fn y_range(mut self, low: f64, high: f64) -> Self {
        self.y.2 = Some((low, high));
        self
    }

    /// Adds (x, y) joined by a line, which has a gap where a value is not finite. An empty name stays out of the legend.
    pub fn line(self, name: impl Into<String>, points: &[(f64, f64)]) -> Self {
        self.add(name.into(), Mark::Line, points, Vec::new())
    }

    /// As [`Chart::line`], with each value kept until the next.
    pub fn steps(self, name: impl Into<String>, points: &[(f64, f64)]) -> Self {
        self.add(name.into(), Mark::Steps, points, Vec::new())
    }

    /// Adds (x, y) as points.
    pub fn points(self, name: impl Into<String>, points: &[(f64, f64)]) -> Self {
        self.add(name.into(), Mark::Points, points, Vec::new())
    }

    /// As [`Chart::points`], each with a text that is told when the pointer rests on it.
    pub fn labelled_points(self, name: impl Into<String>, points: &[(f64, f64, String)]) -> Self {
        let places: Vec<_> = points.iter().map(|it| (it.0, it.1)).collect();
        let labels = points.iter().map(|it| it.2.clone()).collect();
        self.add(name.into(), Mark::Points, &places, labels)
    }

    /// Shades (x, low, high) in the colour of the series that was added last: a deviation, say. On an axis of names, or
    /// below points, these are bars of error.
    pub fn band(mut self, band: &[(f64, f64, f64)]) -> Self {
        self.bands.push(Band { series: self.series.len().saturating_sub(1), points: band.to_vec() });
        self
    }

    /// Adds a level line with its name.
    pub fn rule(mut self, y: f64, name: impl Into<String>) -> Self {
        self.rules.push((y, name.into()));
        self
    }

    fn add(mut self, name: String, mark: Mark, points: &[(f64, f64)], labels: Vec<String>) -> Self {
        self.series.push(Series { name, mark, points: points.to_vec(), labels });
        self
    }

    /// The picture.
    pub fn to_svg(&self) -> String {
        let (width, height) = self.size;
        let points = || self.series.iter().flat_map(|it| &it.points);
        let bands = || self.bands.iter().flat_map(|it| &it.points);
        let x = Axis::new(&self.x.1, points().map(|it| it.0).chain(bands().map(|it| it.0)), self.x.2, 6);
        let ys = points().map(|it| it.1).chain(bands().flat_map(|it| [it.1, it.2]));
        let y = Axis::new(&self.y.1, ys.chain(self.rules.iter().map(|it| it.0)), self.y.2, 5);
        let left = y.ticks.iter().map(|it| svg::width(&it.1)).fold(24.0, f64::max) + 18.0;
        let top = 34.0 + if self.y.0.is_empty() { 0.0 } else { 18.0 };
        let bottom = height - 26.0 - if self.x.0.is_empty() { 0.0 } else { 20.0 };
        let right = width - 16.0;
        let mut body = String::new();
        svg::text(&mut body, 12.0, 20.0, "start", "title", &svg::fitted(&self.title, (width - 24.0) * 0.86));
        svg::text(&mut body, 12.0, 42.0, "start", "muted", &self.y.0);
        let place_x = |value: f64| Some(left + x.place(value)? * (right - left));
        let place_y = |value: f64| Some(bottom - y.place(value)? * (bottom - top));
        let place = |x: f64, y: f64| Some((place_x(x)?, place_y(y)?));
        for (value, label) in &y.ticks {
            let Some(at) = place_y(*value) else { continue };
            svg::line(&mut body, "grid", (left, at), (right, at));
            svg::text(&mut body, left - 7.0, at + 4.5, "end", "muted", label);
        }
        self.x_axis(&mut body, &x, (left, right), (top, bottom));
        if !points().any(|it| place(it.0, it.1).is_some()) {
            svg::text(&mut body, (left + right) / 2.0, (top + bottom) / 2.0, "middle", "muted", "no data");
        }
        for (level, name) in &self.rules {
            let Some(at) = place_y(*level) else { continue };
            let _ = write!(
                body,
                "<line class=\"axis\" stroke-dasharray=\"5 4\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            );
            svg::text(&mut body, right - 4.0, at - 5.0, "end", "muted", name);
        }
        for Band { series, points } in &self.bands {
            let ink = svg::colour(*series);
            let corners = points.iter().filter_map(|it| Some((place(it.0, it.1)?, place(it.0, it.2)?.1)));
            let corners: Vec<_> = corners.collect();
            if self.series.get(*series).is_some_and(|it| it.mark == Mark::Points) {
                for ((x, low), high) in corners {
                    let _ =
                        write!(body, "<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{ink}\" stroke-width=\"2\"/>");
                }
                continue;
            }
            let there = corners.iter().map(|((x, low), _)| format!("{x:.1},{low:.1}"));
            let back = corners.iter().rev().map(|((x, _), high)| format!("{x:.1},{high:.1}"));
            let path = there.chain(back).collect::<Vec<_>>().join(" ");
            let _ = write!(body, "<polygon points=\"{path}\" fill=\"{ink}\" fill-opacity=\"0.18\"/>");
        }
        for (at, series) in self.series.iter().enumerate() {
            draw(&mut body, at, series, &x, &place);
        }
        let names: Vec<_> = self.series.iter().map(|it| it.name.as_str()).collect();
        let (legend, more) = svg::legend(&names, width, height);
        svg::frame((width, height + more), &self.title, &(body + &legend))
    }

    fn x_axis(&self, body: &mut String, x: &Axis, ends: (f64, f64), sides: (f64, f64)) {
        let ((left, right), (top, bottom)) = (ends, sides);
        let names = matches!(self.x.1, Scale::Names(_));
        let room = (right - left) / x.ticks.len().max(1) as f64;
        let mut free = f64::MIN;
        for (value, label) in &x.ticks {
            let Some(at) = x.place(*value).map(|it| left + it * (right - left)) else { continue };
            if !names {
                svg::line(body, "grid", (at, top), (at, bottom));
            }
            let label = if names { svg::fitted(label, room.max(40.0)) } else { label.clone() };
            // A label that would run into the one before it is left out.
            let half = svg::width(&label) / 2.0;
            if at - half > free {
                let inside = at.min(right + 12.0 - half);
                svg::text(body, inside, bottom + 18.0, "middle", "muted", &label);
                free = inside + half + 5.0;
            }
        }
        svg::line(body, "axis", (left, bottom), (right, bottom));
        svg::text(body, (left + right) / 2.0, bottom + 38.0, "middle", "muted", &self.x.0);
    }
}

/// Draws series `at`.
fn draw(body: &mut String, at: usize, series: &Series, x: &Axis, place: &dyn Fn(f64, f64) -> Option<(f64, f64)>) {
    let (ink, dash) = (svg::colour(at), svg::dash(at));
    if series.mark != Mark::Points {
        let mut path = String::new();
        let mut pen: Option<(f64, f64)> = None;
        for (x, y) in &series.points {
            let next = place(*x, *y);
            match (pen, next) {
                (Some(_), Some((x, y))) if series.mark == Mark::Steps => {
                    let _ = write!(path, "H{x:.1}V{y:.1}");
                }
                (Some(_), Some((x, y))) => {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                }
                (None, Some((x, y))) => {
                    let _ = write!(path, "M{x:.1} {y:.1}");
                }
                (_, None) => {}
            }
            pen = next;
        }
        let _ = write!(body, "<path class=\"line\" d=\"{path}\" stroke=\"{ink}\"{dash}/>");
    }
    // Long lines are drawn without points: one could not be told from the next.
    if series.mark != Mark::Points && series.points.len() > 40 {
        return;
    }
    let named = |value: f64| x.ticks.iter().find(|it| it.0 == value).map(|it| it.1.clone());
    for (index, (x, y)) in series.points.iter().enumerate() {
        let Some((left, top)) = place(*x, *y) else { continue };
        let value = format!("{}, {}", named(*x).unwrap_or_else(|| number(*x)), number(*y));
        let parts = [series.name.as_str(), series.labels.get(index).map_or("", String::as_str), &value];
        let told: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
        let told = svg::escape(&told.join("\n"));
        let radius = if series.mark == Mark::Points { 4.5 } else { 3.0 };
        let _ = write!(
            body,
            "<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"{radius}\" fill=\"{ink}\" fill-opacity=\"0.85\"><title>{told}</title></circle>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_where_there_is_no_value() {
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 1.5)];
        let svg = Chart::new("t").line("a", &points).to_svg();
        let path = svg.split("class=\"line\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn higher_is_further_up_and_more_is_further_right() {
        let svg = Chart::new("t").points("", &[(1.0, 0.1), (2.0, 0.9)]).to_svg();
        let read = |name: &str| -> Vec<f64> {
            let begin = format!(" {name}=\"");
            svg.split(&begin).skip(1).map(|it| it.split('"').next().unwrap().parse().unwrap()).collect()
        };
        let (x, y) = (read("cx"), read("cy"));
        assert!(x[0] < x[1] && y[0] > y[1], "{x:?} {y:?}");
    }

    #[test]
    fn texts_are_escaped_and_nothing_is_said_to_be_nothing() {
        let svg = Chart::new("a < b & c").x_label("\"x\"").line("<s>", &[]).to_svg();
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&lt;s&gt;") && svg.contains("no data"), "{svg}");
        assert!(Chart::new("").to_svg().contains("no data"));
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_it_cannot_show() {
        let svg = Chart::new("t").x_log().points("a", &[(0.0, 1.0), (0.001, 1.0), (0.1, 2.0)]).to_svg();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains(">0.01<"), "{svg}");
    }
}
