//! Numbers and durations as log lines show them.

/// Four decimals.
pub(crate) fn float(value: f64) -> String {
    format!("{value:.4}")
}

/// `H:MM:SS`, days in front where there are any, as Python's `timedelta` prints whole seconds.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        n => format!("{n} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let want = [(0.0, "0:00:00"), (59.9, "0:00:59"), (3_661.0, "1:01:01"), (90_000.0, "1 day, 1:00:00")];
        for (seconds, text) in want {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(f64::NAN), "0:00:00");
    }
}
