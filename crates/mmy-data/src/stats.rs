//! What is in a data set: classes, sizes, shapes, how many objects a picture has, and what is seen together.

use std::collections::BTreeSet;

use mmy_formats::picture::upright_size;
use rayon::prelude::*;
use serde::Serialize;

use crate::DatasetSource;

/// Areas in square pixels below which objects are small, and medium, in COCO's terms.
const SMALL: f64 = 32.0 * 32.0;
const MEDIUM: f64 = 96.0 * 96.0;

/// Rows and columns of [`Stats::centres`].
pub const GRID: usize = 16;

/// What is in a data set, as its annotations say.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// How many pictures.
    pub pictures: usize,
    /// How many of them have no object to learn.
    pub empty: usize,
    /// How many objects are learnt.
    pub objects: usize,
    /// How many objects are kept for evaluation alone: difficult ones and crowds.
    pub ignored: usize,
    /// The classes, in order.
    pub classes: Vec<ClassStats>,
    /// How many objects are small (below 32² pixels), medium (below 96²), large.
    pub areas: [usize; 3],
    /// Width and height of each object in pixels of its picture.
    #[serde(skip)]
    pub sizes: Vec<[f32; 2]>,
    /// The square root of the part of its picture that each object takes.
    #[serde(skip)]
    pub relative: Vec<f32>,
    /// How many pictures have so many objects, by that number; the last one stands for all above.
    pub per_picture: Vec<usize>,
    /// Objects in a picture, on average.
    pub mean_per_picture: f64,
    /// Widths and heights of pictures, and how many have them, the most frequent first.
    pub shapes: Vec<([usize; 2], usize)>,
    /// How many objects have their centre in each field of a grid over their picture, row by row.
    pub centres: Vec<[usize; GRID]>,
    /// In how many pictures the class of the row and that of the column are seen together; the diagonal has those with at
    /// least two of the class.
    pub together: Vec<Vec<usize>>,
}

/// What is in a data set of one class.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClassStats {
    /// Its name.
    pub name: String,
    /// How many objects are learnt.
    pub objects: usize,
    /// How many pictures have one.
    pub pictures: usize,
    /// How many objects are kept for evaluation alone.
    pub ignored: usize,
    /// How many are small, medium, large.
    pub areas: [usize; 3],
    /// The middle one of the objects' widths, heights and ratios of width to height; nothing without objects.
    pub median: Option<[f32; 3]>,
}

/// Objects in a picture beyond which pictures are counted together.
const MOST: usize = 60;

impl Stats {
    /// Counts what a data set holds. Where annotations do not say the size of a picture, its head is read; a picture that
    /// cannot be read counts with its objects' sizes alone.
    pub fn of(source: &dyn DatasetSource) -> Self {
        let names = &source.metainfo().classes;
        let classes: Vec<_> = names.iter().map(|it| ClassStats { name: it.clone(), ..ClassStats::default() }).collect();
        let n = classes.len();
        let mut out = Stats {
            pictures: source.len(),
            classes,
            per_picture: vec![0; MOST + 1],
            centres: vec![[0; GRID]; GRID],
            together: vec![vec![0; n]; n],
            ..Stats::default()
        };
        let shape = |index: usize| {
            let meta = source.meta(index);
            if meta.ori_shape == (0, 0) { upright_size(&meta.img_path).unwrap_or_default() } else { meta.ori_shape }
        };
        let shapes: Vec<_> = (0..source.len()).into_par_iter().map(shape).collect();
        let mut sides: Vec<Vec<[f32; 2]>> = vec![Vec::new(); n];
        for (index, (height, width)) in shapes.iter().copied().enumerate() {
            match out.shapes.iter_mut().find(|it| it.0 == [width, height]) {
                Some(it) => it.1 += 1,
                None => out.shapes.push(([width, height], 1)),
            }
            let mut counts = vec![0usize; n];
            for it in source.ground_truth(index) {
                let Some(class) = out.classes.get_mut(it.label as usize) else { continue };
                if it.ignore {
                    class.ignored += 1;
                    continue;
                }
                let (w, h) = (it.bbox.width(), it.bbox.height());
                let area = f64::from(w) * f64::from(h);
                let size = usize::from(area >= SMALL) + usize::from(area >= MEDIUM);
                class.objects += 1;
                class.areas[size] += 1;
                out.areas[size] += 1;
                counts[it.label as usize] += 1;
                sides[it.label as usize].push([w, h]);
                out.sizes.push([w, h]);
                if width > 0 && height > 0 {
                    out.relative.push((area / (width as f64 * height as f64)).sqrt() as f32);
                    let place = |low: f32, high: f32, side: usize| {
                        let at = (low + high) / 2.0 / side as f32 * GRID as f32;
                        (at.max(0.0) as usize).min(GRID - 1)
                    };
                    out.centres[place(it.bbox.y1, it.bbox.y2, height)][place(it.bbox.x1, it.bbox.x2, width)] += 1;
                }
            }
            let objects: usize = counts.iter().sum();
            out.empty += usize::from(objects == 0);
            out.per_picture[objects.min(MOST)] += 1;
            let there: BTreeSet<_> = (0..n).filter(|it| counts[*it] > 0).collect();
            for &a in &there {
                out.classes[a].pictures += 1;
                for &b in &there {
                    out.together[a][b] += usize::from(a != b || counts[a] > 1);
                }
            }
        }
        out.objects = out.classes.iter().map(|it| it.objects).sum();
        out.ignored = out.classes.iter().map(|it| it.ignored).sum();
        out.mean_per_picture = out.objects as f64 / out.pictures.max(1) as f64;
        let last = out.per_picture.iter().rposition(|it| *it > 0).map_or(0, |it| it + 1);
        out.per_picture.truncate(last);
        out.shapes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        for (class, sides) in out.classes.iter_mut().zip(sides) {
            let middle = |of: fn(&[f32; 2]) -> f32| {
                let mut all: Vec<_> = sides.iter().map(of).collect();
                all.sort_by(f32::total_cmp);
                all.get(all.len() / 2).copied()
            };
            class.median = middle(|it| it[0])
                .zip(middle(|it| it[1]))
                .zip(middle(|it| it[0] / it[1]))
                .map(|((width, height), ratio)| [width, height, ratio]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use mmy_structures::{BBox, Instance};

    use super::*;
    use crate::{FileDataset, MetaInfo, Pipeline, Record};

    #[test]
    fn everything_is_counted() {
        let object = |label: u32, x: f32, w: f32, h: f32, ignore: bool| Instance {
            bbox: BBox::from_xywh(x, 0.0, w, h),
            label,
            ignore,
        };
        let record = |shape: (usize, usize), instances: Vec<Instance>| Record {
            img_id: 0,
            path: "none.png".into(),
            shape,
            instances,
        };
        let records = vec![
            record((200, 400), vec![object(0, 0.0, 10.0, 20.0, false), object(0, 300.0, 100.0, 200.0, false)]),
            record((200, 400), vec![object(0, 0.0, 40.0, 40.0, false), object(1, 0.0, 30.0, 10.0, false)]),
            record((100, 100), vec![object(1, 0.0, 5.0, 5.0, true)]),
            record((0, 0), vec![]),
        ];
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        let metainfo = MetaInfo { classes, palette: Vec::new() };
        let stats = Stats::of(&FileDataset::new(records, metainfo, Pipeline::build(&[]).unwrap(), false));
        assert_eq!((stats.pictures, stats.empty, stats.objects, stats.ignored), (4, 2, 4, 1));
        assert_eq!((stats.areas, &stats.per_picture[..], stats.mean_per_picture), ([2, 1, 1], &[2, 0, 2][..], 1.0));
        let [a, b, c] = &stats.classes[..] else { panic!("three classes") };
        assert_eq!((a.objects, a.pictures, a.areas, a.median), (3, 2, [1, 1, 1], Some([40.0, 40.0, 0.5])));
        assert_eq!((b.objects, b.pictures, b.ignored, b.median), (1, 1, 1, Some([30.0, 10.0, 3.0])));
        assert_eq!((c.objects, c.median), (0, None));
        assert_eq!(stats.together, [vec![1, 1, 0], vec![1, 0, 0], vec![0, 0, 0]]);
        assert_eq!(stats.shapes, [([400, 200], 2), ([0, 0], 1), ([100, 100], 1)]);
        assert_eq!(stats.centres.iter().flatten().sum::<usize>(), 4);
        // The large object's centre is at 350 of 400 and 100 of 200.
        assert_eq!(stats.centres[8][14], 1);
        assert_eq!(stats.relative.len(), 4);
    }
}
