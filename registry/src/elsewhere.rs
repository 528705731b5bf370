//! Where a name that nothing is known by here is known after all.

use crate::entries;

/// For a name that is none of `known`: which crate would supply it, or which other kind of part it is.
pub fn elsewhere(name: &str, known: &[&str]) -> Option<String> {
    let (scope, bare) =
        name.split_once("::").or_else(|| name.split_once('.')).map_or((None, name), |(a, b)| (Some(a), b));
    let parts = entries();
    if let Some(other) = parts.iter().find(|it| it.name == bare && !known.contains(&it.name)) {
        let article = if other.kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        return Some(format!("`{bare}` is {article} {}, and cannot stand here", other.kind));
    }
    let scope = scope?;
    let same = |krate: &str| krate.replace('-', "_") == scope.replace('-', "_");
    if let Some(owner) = parts.iter().find(|it| it.name == bare) {
        return Some(format!("`{bare}` is supplied by the crate {}: write `{bare}`", owner.krate));
    }
    match parts.iter().find(|it| same(it.krate)) {
        Some(part) => Some(format!("the crate {} is there, but registers no `{bare}`", part.krate)),
        None if matches!(scope, "mmdet" | "mmyolo" | "mmengine" | "mmcv") => {
            Some(format!("`{scope}.` means mmy's own parts, and there is no `{bare}` among them"))
        }
        None => Some(format!(
            "no crate `{scope}` is part of this program: a host binary that depends on it supplies its parts"
        )),
    }
}
