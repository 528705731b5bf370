//! What a part finds odd about its config and builds all the same.

use std::cell::RefCell;

use crate::BuildError;

thread_local! {
    static PLACES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static HEARD: RefCell<Option<Vec<BuildError>>> = const { RefCell::new(None) };
}

/// Tells that something in the config of the part that is being built is probably not meant. It goes to whoever
/// [listens](with_warnings), else it becomes a `tracing` event.
pub fn warn(finding: BuildError) {
    let place = PLACES.with_borrow(|it| it.last().cloned()).unwrap_or_default();
    let finding = finding.at_slot(&place);
    HEARD.with_borrow_mut(|heard| match heard {
        Some(heard) => heard.push(finding),
        None => {
            let help = finding.help.as_deref().map_or(String::new(), |it| format!("; {it}"));
            tracing::warn!("{finding}{help}");
        }
    });
}

/// Runs `build` and lists what parts [warned](warn) of meanwhile on this thread.
pub fn with_warnings<T>(build: impl FnOnce() -> T) -> (T, Vec<BuildError>) {
    let before = Restore(HEARD.replace(Some(Vec::new())));
    let out = build();
    let heard = HEARD.take().unwrap_or_default();
    drop(before);
    (out, heard)
}

/// Gives the listener back that was there before, also when building panics.
struct Restore(Option<Vec<BuildError>>);

impl Drop for Restore {
    fn drop(&mut self) {
        HEARD.set(self.0.take());
    }
}

/// While it lives, what is built stands at a place of the config.
pub(crate) struct Place;

impl Place {
    /// The place `path`; the one outside of it where that is empty.
    pub(crate) fn enter(path: &str) -> Self {
        PLACES.with_borrow_mut(|it| {
            let path = if path.is_empty() { it.last().cloned().unwrap_or_default() } else { path.to_owned() };
            it.push(path);
        });
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        PLACES.with_borrow_mut(|it| it.pop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_carry_the_place_of_the_part_that_is_being_built() {
        let ((), heard) = with_warnings(|| {
            let _model = Place::enter("model");
            warn(BuildError::new("odd").at("head.3"));
            {
                let _neck = Place::enter("model.neck");
                let _nameless = Place::enter("");
                let ((), inner) = with_warnings(|| warn(BuildError::new("dropped")));
                assert_eq!(inner.len(), 1);
                warn(BuildError::new("wide").at("in_channels"));
            }
            warn(BuildError::new("odd as a whole"));
        });
        let paths: Vec<_> = heard.iter().map(|it| it.path.join(".")).collect();
        assert_eq!(paths, ["model.head.3", "model.neck.in_channels", "model"]);
    }
}
