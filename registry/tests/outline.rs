//! What parts say of themselves: before they are built, while they are built, and when nobody knows their name.

use mmy_config::{Options, load_str, read_at};
use mmy_registry::{
    Build, BuildError, Code, Kind, Outline, Slot, elsewhere, entries, recorded, register, warn, with_warnings,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rooms of a house.
struct Room;
impl Kind for Room {
    const NAME: &'static str = "room";
    type Args<'a> = ();
    type Output = ();
}

/// A room with others in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Hall {
    /// The others.
    rooms: Vec<Slot<Room>>,
    /// Doors.
    doors: usize,
}

struct Doors(usize);

impl Build<Room> for Hall {
    fn build(&self, (): ()) -> Result<(), BuildError> {
        if self.doors == 0 {
            warn(BuildError::new("nobody gets in").code(Code::IdleKey).at("doors"));
        }
        self.rooms.iter().try_for_each(|it| it.build(()))
    }

    fn outline(&self) -> Outline {
        let out = Outline::default().fact(Doors(self.doors));
        if self.doors == 0 { out.idle("rooms", "there is no door") } else { out }
    }
}
register!(Room, "Hall", Hall);

/// An older room.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parlour {}
impl Build<Room> for Parlour {
    fn build(&self, (): ()) -> Result<(), BuildError> {
        Ok(())
    }
}
register!(Room, "Parlour", Parlour, deprecated = "use `Hall`");

const CONFIG: &str = r#"
[room]
type = "Hall"
doors = 1
rooms = [{ type = "Hall" }, { type = "Parlour" }, { type = "Hall", door = 3 }]
"#;

#[test]
fn every_part_that_could_be_read_is_listed_once() {
    let loaded = load_str("c.toml", CONFIG, &Options::default()).unwrap();
    let (read, parts) = recorded(|| read_at::<Slot<Room>>(&loaded, "room"));
    assert_eq!((read.findings.len(), read.left_out.as_slice()), (1, ["room.rooms.2.door".to_owned()].as_slice()));
    let rows: Vec<_> = parts
        .iter()
        .map(|it| {
            (it.path.as_str(), it.outline.get::<Doors>().map(|it| it.0), it.outline.idle.len(), it.entry.deprecated)
        })
        .collect();
    let want = [
        ("room.rooms.0", Some(0), 1, None),
        ("room.rooms.1", None, 0, Some("use `Hall`")),
        ("room.rooms.2", Some(0), 1, None),
        ("room", Some(1), 0, None),
    ];
    assert_eq!(rows, want);
    // Nobody records any more.
    assert!(recorded(|| ()).1.is_empty());
}

#[test]
fn warnings_know_the_place_of_their_part() {
    let loaded = load_str("c.toml", &CONFIG.replace("door = 3", "doors = 3"), &Options::default()).unwrap();
    let slot = read_at::<Slot<Room>>(&loaded, "room").value.unwrap();
    let (built, heard) = with_warnings(|| slot.build(()));
    assert!(built.is_ok());
    let places: Vec<_> = heard.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["room.rooms.0.doors: nobody gets in"]);
}

#[test]
fn a_name_may_be_known_elsewhere() {
    let known: Vec<_> = entries().iter().filter(|it| it.kind == Room::NAME).map(|it| it.name).collect();
    let check = |name: &str, known: &[&str], expect: Option<&str>| {
        assert_eq!(elsewhere(name, known).as_deref(), expect, "{name}");
    };
    check("Hall", &[], Some("`Hall` is a room, and cannot stand here"));
    check("my_house.Hall", &known, Some("`Hall` is supplied by the crate mmy-registry: write `Hall`"));
    check("mmy_registry::Attic", &known, Some("the crate mmy-registry is there, but registers no `Attic`"));
    check("mmdet.Attic", &known, Some("`mmdet.` means mmy's own parts, and there is no `Attic` among them"));
    let absent = "no crate `my_house` is part of this program: a host binary that depends on it supplies its parts";
    check("my_house.Attic", &known, Some(absent));
    check("Attic", &known, None);
}
