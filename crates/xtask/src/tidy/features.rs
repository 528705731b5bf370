//! `torch-sys` takes minutes to compile and is to be compiled once. Cargo compiles it again for every other set of
//! features that its own dependencies get, and `cargo mmy` and `cargo xtask test` select different packages.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::Finding;
use crate::checkout::{Checkout, output};

/// What `cargo mmy` and `cargo install` build, what plain `cargo build --workspace` does, and what the tests do.
const SELECTIONS: [&[&str]; 3] = [
    &["--package", "mmy", "--edges", "normal,build"],
    &["--workspace", "--edges", "normal,build"],
    &["--workspace", "--edges", "normal,build,dev"],
];

/// Checks that all builds share one `torch-sys`.
pub fn check(checkout: &Checkout) -> Result<Vec<Finding>> {
    let mut trees = Vec::new();
    for selection in SELECTIONS {
        let args = [&["tree", "--no-dedupe", "--prefix", "depth", "--format", "|{p}|{f}"], selection].concat();
        let tree = below(&output(&mut checkout.cargo(&args))?, "torch-sys");
        if tree.is_empty() {
            bail!("cargo tree {} does not show torch-sys", selection.join(" "));
        }
        trees.push(tree);
    }
    Ok(trees[1..].iter().filter_map(|it| difference(&trees[0], it)).collect())
}

/// The lines of the first subtree of `package` in what `cargo tree` printed, without their depths.
fn below(tree: &str, package: &str) -> Vec<String> {
    let lines = tree.lines().filter_map(|it| it.split_once('|'));
    let lines = lines.filter_map(|(depth, text)| Some((depth.parse::<usize>().ok()?, text)));
    let mut lines = lines.skip_while(|(_, text)| text.split(' ').next() != Some(package));
    let Some((root, first)) = lines.next() else { return Vec::new() };
    let rest = lines.take_while(|(depth, _)| *depth > root).map(|(_, text)| text);
    [first].into_iter().chain(rest).map(str::to_owned).collect()
}

/// The first place where `mmy`'s own build and another part.
fn difference(mmy: &[String], other: &[String]) -> Option<Finding> {
    let (in_mmy, in_other) = mmy.iter().zip(other).find(|(a, b)| a != b)?;
    Some(Finding {
        path: PathBuf::from("Cargo.toml"),
        line: 1,
        what: format!(
            "torch-sys is compiled twice: below it `cargo mmy` builds {in_mmy}, and `cargo xtask test` {in_other}; give \
             both the same features"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_features_below_torch_sys_are_found() {
        let tree = |features: &str| {
            let text = format!(
                "0|mmy v0.1.0 (/x)|\n1|torch-sys v0.26.0|\n2|cc v1.2.0|{features}\n3|libc v0.2.0|std\n1|cc v1.2.0|other\n"
            );
            below(&text, "torch-sys")
        };
        assert_eq!(tree(""), ["torch-sys v0.26.0|", "cc v1.2.0|", "libc v0.2.0|std"]);
        assert_eq!(difference(&tree(""), &tree("")), None);
        let finding = difference(&tree(""), &tree("parallel")).unwrap();
        assert!(finding.what.contains("builds cc v1.2.0|, and `cargo xtask test` cc v1.2.0|parallel"), "{finding}");
    }
}
