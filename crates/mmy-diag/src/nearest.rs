//! Near names for slips of the hand.

/// The known word closest to `word`, if any is close enough to be a slip of the hand: at most a third of the letters
/// differ (at least one may), or they differ only in case, `_` and `-`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |it: &str| it.to_lowercase().replace(['_', '-'], "");
    let (word, limit) = (plain(word), (word.chars().count() / 3).max(1));
    known
        .into_iter()
        .map(|it| (strsim::damerau_levenshtein(&word, &plain(it)), it))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_slips_but_not_strangers() {
        let known = ["base_dim", "depths", "mlp_ratio", "out_indices"];
        let check = |word, expect| assert_eq!(nearest(word, known), expect, "{word}");
        check("base_dm", Some("base_dim"));
        check("depth", Some("depths"));
        check("BaseDim", Some("base_dim"));
        check("outindices", Some("out_indices"));
        check("in_channels", None);
        check("", None);
    }
}
