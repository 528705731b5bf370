//! From values to places: nice ticks, linear and logarithmic, and numbers as short as they can be.

/// How one axis maps values to places.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios.
    Log,
    /// The values 0, 1, 2 … stand for these names.
    Names(Vec<String>),
}

/// An axis with its ends and ticks.
#[derive(Debug, Clone)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Values and what is written at them.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis that shows all `values`, or just `range`. A logarithmic one shows what is above zero.
    pub fn new(scale: &Scale, values: impl Iterator<Item = f64>, range: Option<(f64, f64)>, about: usize) -> Self {
        if let Scale::Names(names) = scale {
            let ticks = names.iter().enumerate().map(|(at, name)| (at as f64, name.clone())).collect();
            return Axis { scale: scale.clone(), low: -0.5, high: names.len().max(1) as f64 - 0.5, ticks };
        }
        let log = *scale == Scale::Log;
        let fits = |it: &f64| it.is_finite() && (!log || *it > 0.0);
        let found = values.filter(fits).fold(None, |ends: Option<(f64, f64)>, it| {
            Some(ends.map_or((it, it), |(low, high)| (low.min(it), high.max(it))))
        });
        let asked = range.filter(|(low, high)| fits(low) && fits(high) && low < high);
        let (low, high) = asked.or(found).unwrap_or(if log { (0.1, 1.0) } else { (0.0, 1.0) });
        let (low, high) = match (low < high, log) {
            (true, _) => (low, high),
            // A single value stands in the middle.
            (false, true) => (low / 2.0, high * 2.0),
            (false, false) if low == 0.0 => (0.0, 1.0),
            (false, false) => (low - low.abs() * 0.1, high + high.abs() * 0.1),
        };
        if log {
            let room = if asked.is_some() { 1.0 } else { (high / low).powf(0.04) };
            let (low, high) = (low / room, high * room);
            return Axis { scale: Scale::Log, low, high, ticks: log_ticks(low, high) };
        }
        let step = nice_step(high - low, about);
        // Without a range that was asked for, the ends are ticks.
        let (low, high) = if asked.is_some() {
            (low, high)
        } else {
            ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step)
        };
        Axis { scale: Scale::Linear, low, high, ticks: linear_ticks(low, high, step) }
    }

    /// Where a value stands between the ends: 0 to 1; none for what the axis cannot show.
    pub fn place(&self, value: f64) -> Option<f64> {
        let (low, high, value) = match self.scale {
            Scale::Log if value <= 0.0 => return None,
            Scale::Log => (self.low.ln(), self.high.ln(), value.ln()),
            _ => (self.low, self.high, value),
        };
        let place = (value - low) / (high - low);
        (place.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&place)).then_some(place)
    }
}

/// 1, 2 or 5 times a power of ten, so that about `about` of them fill `span`.
fn nice_step(span: f64, about: usize) -> f64 {
    let rough = span / about.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|it| it * power >= rough * 0.999).unwrap_or(10.0);
    times * power
}

fn linear_ticks(low: f64, high: f64, step: f64) -> Vec<(f64, String)> {
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let large = low.abs().max(high.abs());
    let label = |value: f64| match large {
        1e5.. => number(value),
        _ if large < 1e-3 => number(value),
        _ => format!("{value:.decimals$}"),
    };
    (first..=last).map(|it| it as f64 * step).map(|it| (it, label(it))).collect()
}

/// Powers of ten; with few of those, also twice and five times them.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = high.log10() - low.log10();
    let times: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (decades / 8.0).ceil().max(1.0) as i32;
    let inside = |it: &f64| (low * 0.999..=high * 1.001).contains(it);
    let powers = (first..=last).filter(|it| it % every == 0).map(|it| 10f64.powi(it));
    powers.flat_map(|power| times.iter().map(move |it| it * power)).filter(inside).map(|it| (it, number(it))).collect()
}

/// A number in four significant digits at most, as short as it can be: `0.01`, `1e-5`, `25k`, `3.2M`.
pub fn number(value: f64) -> String {
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    let size = value.abs();
    if !value.is_finite() {
        return "–".into();
    }
    match size {
        0.0 => "0".into(),
        _ if !(1e-3..1e12).contains(&size) => {
            let text = format!("{value:.3e}");
            let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{power}", trim(digits.to_owned()))
        }
        _ if size >= 1e9 => trim(format!("{:.2}", value / 1e9)) + "G",
        _ if size >= 1e6 => trim(format!("{:.2}", value / 1e6)) + "M",
        _ if size >= 1e4 => trim(format!("{:.2}", value / 1e3)) + "k",
        _ => {
            let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
            trim(format!("{value:.decimals$}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_ticks(scale: Scale, values: &[f64], range: Option<(f64, f64)>, expect: &[&str]) {
        let axis = Axis::new(&scale, values.iter().copied(), range, 5);
        assert_eq!(axis.ticks.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn ticks_are_round() {
        check_ticks(Scale::Linear, &[0.03, 0.47, f64::NAN], None, &["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        check_ticks(Scale::Linear, &[1.0, 12.0], None, &["0", "5", "10", "15"]);
        check_ticks(Scale::Linear, &[], Some((0.0, 1.0)), &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check_ticks(Scale::Linear, &[0.0, 2e6], None, &["0", "500k", "1M", "1.5M", "2M"]);
        check_ticks(Scale::Log, &[1e-5, 0.1, 0.0], None, &["1e-5", "1e-4", "0.001", "0.01", "0.1"]);
        check_ticks(Scale::Log, &[0.01, 0.08], None, &["0.01", "0.02", "0.05"]);
        check_ticks(Scale::Names(vec!["a".into(), "b".into()]), &[], None, &["a", "b"]);
    }

    #[test]
    fn one_value_stands_in_the_middle_of_an_axis() {
        for (scale, value) in [(Scale::Linear, 3.0), (Scale::Log, 3.0), (Scale::Linear, -2.0)] {
            let place = Axis::new(&scale, [value].into_iter(), None, 5).place(value).unwrap();
            assert!((0.3..0.7).contains(&place), "{scale:?} {value}: {place}");
        }
        assert!(Axis::new(&Scale::Linear, std::iter::empty(), None, 5).place(0.5).is_some());
        assert_eq!(Axis::new(&Scale::Log, [1.0, 2.0].into_iter(), None, 5).place(0.0), None);
    }

    #[test]
    fn numbers_are_short() {
        let want = [(0.0, "0"), (0.01, "0.01"), (1e-5, "1e-5"), (25_000.0, "25k"), (3.2e6, "3.2M"), (0.4567, "0.4567")];
        let more = [(12.5, "12.5"), (-3.0, "-3"), (f64::NAN, "–"), (1234.0, "1234"), (0.33333, "0.3333")];
        for (value, text) in want.into_iter().chain(more) {
            assert_eq!(number(value), text);
        }
    }
}
