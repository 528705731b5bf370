//! How YOLOv5 scales widths and depths.

use mmy_registry::{BuildError, Code};

use crate::kinds::{FeatureInfo, in_range};

/// `channels · factor`, rounded up to a multiple of 8.
pub(crate) fn make_divisible(channels: i64, factor: f64) -> i64 {
    (channels as f64 * factor / 8.0).ceil() as i64 * 8
}

/// `blocks · factor`, rounded half to even but at least 1; a single block stays single.
pub(crate) fn make_round(blocks: i64, factor: f64) -> i64 {
    if blocks > 1 { ((blocks as f64 * factor).round_ties_even() as i64).max(1) } else { blocks }
}

/// Errors unless the factors are ones that a model can be scaled by.
pub(crate) fn check_factors(deepen_factor: f64, widen_factor: f64) -> Result<(), BuildError> {
    in_range("deepen_factor", deepen_factor, 0.01..=16.0)?;
    in_range("widen_factor", widen_factor, 0.01..=16.0)
}

/// Errors unless `in_channels`, each scaled by `widen_factor`, are the channels of the maps that `giver` gives.
pub(crate) fn check_in_channels(
    in_channels: &[i64],
    widen_factor: f64,
    giver: &str,
    features: &[FeatureInfo],
) -> Result<(), BuildError> {
    let scaled: Vec<_> = in_channels.iter().map(|&it| make_divisible(it, widen_factor)).collect();
    let given: Vec<_> = features.iter().map(|it| it.channels).collect();
    if scaled == given {
        return Ok(());
    }
    let (code, message) = if scaled.len() == given.len() {
        (Code::ChannelMismatch, format!("the {giver} gives maps of {given:?} channels, not {scaled:?}"))
    } else {
        (Code::LevelMismatch, format!("the {giver} gives {} maps, not {}", given.len(), scaled.len()))
    };
    // The unscaled widths that would fit, where the factor can be undone.
    let unscaled: Vec<_> = given.iter().map(|&it| (it as f64 / widen_factor).round() as i64).collect();
    let fits = unscaled.iter().zip(&given).all(|(&u, &g)| make_divisible(u, widen_factor) == g);
    let help = match (widen_factor == 1.0, fits) {
        (true, _) => format!("set in_channels = {given:?}"),
        (false, true) => format!(
            "set in_channels = {unscaled:?}, which widen_factor = {widen_factor} scales to {given:?}, or \
             in_channels = {given:?} with widen_factor = 1.0"
        ),
        (false, false) => format!("set in_channels = {given:?} and widen_factor = 1.0"),
    };
    let error = BuildError::new(message).code(code).at("in_channels").help(help);
    Err(if fits { error.fix(unscaled) } else { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_pythons() {
        assert_eq!(
            [(64, 0.25), (255, 1.0), (48, 0.5), (20, 0.5)].map(|(c, w)| make_divisible(c, w)),
            [16, 256, 24, 16]
        );
        let deep = [(3, 0.33), (9, 0.33), (3, 0.5), (9, 0.5), (1, 2.0), (9, 1.33)];
        assert_eq!(deep.map(|(n, d)| make_round(n, d)), [1, 3, 2, 4, 1, 12]);
    }

    #[test]
    fn a_mismatch_names_the_right_value() {
        let features = [48, 96, 192].map(|channels| FeatureInfo { channels, stride: 8 });
        let check = |channels: &[i64], widen| {
            check_in_channels(channels, widen, "backbone", &features)
                .map_err(|it| (it.to_string(), it.help.unwrap_or_default()))
        };
        assert_eq!(check(&[96, 192, 384], 0.5), Ok(()));
        let (message, help) = check(&[48, 96, 192], 0.5).unwrap_err();
        assert_eq!(message, "in_channels: the backbone gives maps of [48, 96, 192] channels, not [24, 48, 96]");
        assert!(help.starts_with("set in_channels = [96, 192, 384], which widen_factor = 0.5 scales"), "{help}");
        let (message, _) = check(&[48, 96], 1.0).unwrap_err();
        assert_eq!(message, "in_channels: the backbone gives 3 maps, not 2");
    }
}
