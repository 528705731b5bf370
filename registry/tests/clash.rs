//! A name that is registered twice. The table of names is one for each binary, so that this stands alone.

use mmy_registry::{Build, BuildError, Kind, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Anything.
#[derive(Debug)]
struct Thing;
impl Kind for Thing {
    const NAME: &'static str = "thing";
    type Args<'a> = ();
    type Output = ();
}

/// Nothing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Config {}
impl Build<Thing> for Config {
    fn build(&self, (): ()) -> Result<(), BuildError> {
        Ok(())
    }
}
const FIRST: u32 = line!() + 1;
register!(Thing, "Twice", Config);
register!(Thing, "Once", Config);
const SECOND: u32 = line!() + 1;
register!(Thing, "Twice", Config);

#[test]
fn names_both_places() {
    let clash = mmy_registry::check().expect_err("registered twice");
    assert_eq!((clash.kind, clash.name), ("thing", "Twice"));
    let place = |line: u32| format!("{}:{line} (mmy-registry {})", file!(), env!("CARGO_PKG_VERSION"));
    let expect = format!("the thing name `Twice` is registered twice: {} and {}", place(FIRST), place(SECOND));
    assert_eq!(clash.to_string(), expect);
}
