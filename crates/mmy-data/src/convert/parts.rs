//! Data sets in parts, and of parts.

use std::collections::{BTreeSet, HashSet};

use mmy_formats::coco::Extra;

use super::{Collection, Lost, Picture, collection::Classes};
use crate::Permutation;

/// Puts each picture into one of the splits, which get their parts of every class and of the pictures without objects
/// (iterative stratification, Sechidis et al. 2011). The same seed gives the same splits.
///
/// `ratios` are the splits' names and sizes, in any unit.
pub fn split(collection: &mut Collection, ratios: &[(String, f64)], seed: u64) {
    let total: f64 = ratios.iter().map(|it| it.1).sum();
    let parts: Vec<_> = ratios.iter().map(|it| it.1 / total).collect();
    let n = collection.pictures.len();
    let (shuffled, classes) = (Permutation::new(seed, 0, n), collection.classes.len());
    // The last row is that of pictures without objects.
    let of = |it: &Picture| {
        let own: BTreeSet<_> = it.objects.iter().map(|it| it.class).collect();
        if own.is_empty() { BTreeSet::from([classes]) } else { own }
    };
    let mut waiting: Vec<_> = (0..n).map(|at| shuffled.at(at)).map(|at| (at, of(&collection.pictures[at]))).collect();
    let mut left = vec![0usize; classes + 1];
    waiting.iter().flat_map(|it| &it.1).for_each(|it| left[*it] += 1);
    let mut wanted: Vec<Vec<f64>> =
        parts.iter().map(|part| left.iter().map(|it| part * *it as f64).collect()).collect();
    let mut room: Vec<_> = parts.iter().map(|it| it * n as f64).collect();
    let mut chosen = vec![0; n];
    // The rarest class first, while there is a choice.
    while let Some(class) = (0..=classes).filter(|it| left[*it] > 0).min_by_key(|it| left[*it]) {
        let (now, later) = waiting.into_iter().partition::<Vec<_>, _>(|it| it.1.contains(&class));
        waiting = later;
        for (at, own) in now {
            let most = |a: &usize, b: &usize| {
                let (x, y) = (wanted[*a][class], wanted[*b][class]);
                x.total_cmp(&y).then(room[*a].total_cmp(&room[*b])).then(b.cmp(a))
            };
            // A split that is full, or is to be empty, gets no more.
            let open = (0..parts.len()).filter(|it| room[*it] > 1e-9 && parts[*it] > 0.0);
            let place = open.max_by(most).unwrap_or(0);
            chosen[at] = place;
            room[place] -= 1.0;
            for it in own {
                wanted[place][it] -= 1.0;
                left[it] -= 1;
            }
        }
    }
    for (picture, place) in collection.pictures.iter_mut().zip(chosen) {
        picture.splits = vec![ratios[place].0.clone()];
    }
}

/// What is kept of a data set.
#[derive(Debug, Clone, Default)]
pub struct Subset {
    /// Pictures of these splits; all when none is named.
    pub splits: Vec<String>,
    /// Objects of these classes, in this order; all when none is named.
    pub classes: Vec<String>,
    /// Pictures of these names, with or without folder and ending; all when none is named.
    pub names: Vec<String>,
    /// So many pictures, chosen by `seed`; all when not given.
    pub count: Option<usize>,
    /// Whether pictures stay that have no object left.
    pub keep_empty: bool,
    /// Another seed chooses other pictures.
    pub seed: u64,
}

/// Keeps a part of a data set.
///
/// # Errors
/// A split, a class or a picture that is not there.
pub fn subset(collection: &mut Collection, what: &Subset) -> Result<(), String> {
    let splits = collection.splits();
    if let Some(it) = what.splits.iter().find(|it| !splits.contains(it)) {
        let there = if splits.is_empty() { "none".to_owned() } else { splits.join(", ") };
        return Err(format!("there is no split `{it}`; there are {there}"));
    }
    if !what.splits.is_empty() {
        for it in &mut collection.pictures {
            it.splits.retain(|it| what.splits.contains(it));
        }
        collection.pictures.retain(|it| !it.splits.is_empty());
    }
    if !what.names.is_empty() {
        let wanted: HashSet<_> = what.names.iter().map(String::as_str).collect();
        let mut missing = wanted.clone();
        collection.pictures.retain(|it| {
            let last = it.name.rsplit('/').next().unwrap_or_default();
            let stem = |it: &str| it.rsplit_once('.').map_or(it.len(), |it| it.0.len());
            let forms = [&it.name[..], &it.name[..stem(&it.name)], last, &last[..stem(last)]];
            forms.iter().for_each(|it| {
                missing.remove(*it);
            });
            forms.iter().any(|it| wanted.contains(it))
        });
        if let Some(it) = missing.iter().min() {
            return Err(format!("there is no picture `{it}`"));
        }
    }
    if !what.classes.is_empty() {
        let mut places = vec![None; collection.classes.len()];
        let mut classes = Vec::new();
        for name in &what.classes {
            let Some(at) = collection.classes.iter().position(|it| it.name == *name) else {
                let there: Vec<_> = collection.classes.iter().map(|it| it.name.as_str()).collect();
                return Err(format!("there is no class `{name}`; there are {}", there.join(", ")));
            };
            if places[at].is_none() {
                places[at] = Some(classes.len());
                classes.push(collection.classes[at].clone());
            }
        }
        collection.classes = classes;
        for picture in &mut collection.pictures {
            picture.objects.retain_mut(|it| match places[it.class] {
                Some(class) => {
                    it.class = class;
                    true
                }
                None => false,
            });
        }
        if !what.keep_empty {
            collection.pictures.retain(|it| !it.objects.is_empty());
        }
    }
    if let Some(count) = what.count.filter(|it| *it < collection.pictures.len()) {
        let order = Permutation::new(what.seed, 0, collection.pictures.len());
        let chosen: HashSet<_> = (0..count).map(|it| order.at(it)).collect();
        let mut at = 0..;
        collection.pictures.retain(|_| at.next().is_some_and(|it| chosen.contains(&it)));
    }
    Ok(())
}

/// Several data sets as one, with classes put together by name. Numbers of pictures, objects and classes, which would meet,
/// are given anew.
pub fn merge(parts: Vec<Collection>, lost: &mut Lost) -> Collection {
    let (mut out, mut classes) = (Collection::default(), Classes::default());
    let several = parts.len() > 1;
    let mut unnumbered = |extra: &mut Extra, of: &str| {
        if several && extra.remove("id").is_some() {
            lost.add(format!("`id` of {of}, which is given anew"));
        }
    };
    for part in parts {
        let places: Vec<_> = part
            .classes
            .into_iter()
            .map(|mut it| {
                unnumbered(&mut it.extra, "a class");
                classes.add(it)
            })
            .collect();
        for mut picture in part.pictures {
            unnumbered(&mut picture.extra, "a picture");
            for it in &mut picture.objects {
                it.class = places[it.class];
                unnumbered(&mut it.extra, "an object");
            }
            out.pictures.push(picture);
        }
        for (key, value) in part.extra {
            out.extra.entry(key).or_insert(value);
        }
    }
    out.classes = classes.list;
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::{Class, Object};

    /// A data set of pictures with these classes each.
    fn collection(pictures: &[&[usize]]) -> Collection {
        let class = |name: &str| Class { name: name.into(), extra: Extra::new() };
        let object = |class: &usize| Object { class: *class, ..Object::default() };
        let picture = |(at, classes): (usize, &&[usize])| Picture {
            name: format!("a/{at}.png"),
            objects: classes.iter().map(object).collect(),
            ..Picture::default()
        };
        Collection {
            classes: ["cat", "dog", "emu"].map(class).to_vec(),
            pictures: pictures.iter().enumerate().map(picture).collect(),
            extra: Extra::new(),
        }
    }

    fn ratios(parts: &[(&str, f64)]) -> Vec<(String, f64)> {
        parts.iter().map(|it| (it.0.to_owned(), it.1)).collect()
    }

    #[test]
    fn each_split_gets_its_part_of_each_class() {
        let rows: Vec<&[usize]> = (0..200)
            .map(|at| match at % 20 {
                0 => &[0, 1, 2][..],
                1 | 2 => &[1, 1],
                3 | 4 => &[],
                _ => &[0],
            })
            .collect();
        let mut all = collection(&rows);
        split(&mut all, &ratios(&[("train", 8.0), ("val", 1.0), ("test", 1.0)]), 0);
        let count = |split: &str, class: usize| {
            let of = all.pictures.iter().filter(|it| it.splits == [split]);
            of.filter(
                |it| if class == 3 { it.objects.is_empty() } else { it.objects.iter().any(|it| it.class == class) },
            )
            .count()
        };
        assert_eq!([0, 1, 2, 3].map(|it| count("train", it)), [128, 24, 8, 16]);
        assert_eq!([0, 1, 2, 3].map(|it| count("val", it)), [16, 3, 1, 2]);
        assert_eq!([0, 1, 2, 3].map(|it| count("test", it)), [16, 3, 1, 2]);
        let (mut again, mut other) = (collection(&rows), collection(&rows));
        split(&mut again, &ratios(&[("train", 0.8), ("val", 0.1), ("test", 0.1)]), 0);
        split(&mut other, &ratios(&[("train", 0.8), ("val", 0.1), ("test", 0.1)]), 1);
        assert!(again == all && other != all);
    }

    #[test]
    fn few_pictures_are_split_as_well() {
        for n in 0..6 {
            let mut all = collection(&vec![&[0][..]; n]);
            split(&mut all, &ratios(&[("train", 0.8), ("val", 0.2)]), 3);
            assert!(all.pictures.iter().all(|it| it.splits.len() == 1));
        }
    }

    #[test]
    fn subsets_by_split_class_name_and_number() {
        let all = || {
            let mut it = collection(&[&[0, 1], &[1], &[], &[2, 0]]);
            it.pictures[0].splits = vec!["train".into(), "trainval".into()];
            it.pictures[3].splits = vec!["val".into()];
            it
        };
        let check = |what: Subset, expect: &[(&str, &[usize])]| {
            let mut it = all();
            subset(&mut it, &what).unwrap();
            let rows: Vec<_> = it
                .pictures
                .iter()
                .map(|it| (it.name.clone(), it.objects.iter().map(|it| it.class).collect::<Vec<_>>()))
                .collect();
            let expect: Vec<_> = expect.iter().map(|it| (it.0.to_owned(), it.1.to_vec())).collect();
            assert_eq!(rows, expect);
        };
        let words = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        check(Subset { splits: words(&["train"]), ..Subset::default() }, &[("a/0.png", &[0, 1])]);
        let classes = words(&["emu", "dog"]);
        check(
            Subset { classes: classes.clone(), ..Subset::default() },
            &[("a/0.png", &[1]), ("a/1.png", &[1]), ("a/3.png", &[0])],
        );
        let kept: [(&str, &[usize]); 4] = [("a/0.png", &[1]), ("a/1.png", &[1]), ("a/2.png", &[]), ("a/3.png", &[0])];
        check(Subset { classes, keep_empty: true, ..Subset::default() }, &kept);
        check(
            Subset { names: words(&["1", "a/3.png"]), ..Subset::default() },
            &[("a/1.png", &[1]), ("a/3.png", &[2, 0])],
        );
        let mut some = all();
        subset(&mut some, &Subset { count: Some(2), ..Subset::default() }).unwrap();
        assert_eq!(some.pictures.len(), 2);
        let error = |what: Subset| subset(&mut all(), &what).unwrap_err();
        assert_eq!(
            error(Subset { classes: words(&["cow"]), ..Subset::default() }),
            "there is no class `cow`; there are cat, dog, emu"
        );
        assert_eq!(
            error(Subset { splits: words(&["x"]), ..Subset::default() }),
            "there is no split `x`; there are train, val, trainval"
        );
        assert_eq!(error(Subset { names: words(&["9"]), ..Subset::default() }), "there is no picture `9`");
    }

    #[test]
    fn classes_are_merged_by_name() {
        let (a, mut b) = (collection(&[&[0, 2]]), collection(&[&[0, 1]]));
        b.classes[0].name = "cow".into();
        b.pictures[0].extra.insert("id".into(), 3.into());
        let mut lost = Lost::default();
        let both = merge(vec![a, b], &mut lost);
        let names: Vec<_> = both.classes.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["cat", "dog", "emu", "cow"]);
        assert_eq!(both.pictures[1].objects.iter().map(|it| it.class).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(lost.iter().collect::<Vec<_>>(), [("`id` of a picture, which is given anew", 1)]);
    }
}
