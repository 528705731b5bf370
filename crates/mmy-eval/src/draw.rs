//! Pictures with boxes and labels.

mod label;
mod palette;
mod rect;
mod sheet;
mod text;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use image::{ExtendedColorType, ImageEncoder, codecs};
use mmy_structures::{BBox, Detections, Image};

use self::{label::Tags, rect::Rect, text::Font};
pub use palette::color;
pub use sheet::{Tile, beside, sheet};

/// Draws detections onto a picture: a box in the colour of the class, and a tag with class name and score.
///
/// Lines and letters grow with the picture. Tags stay inside the picture and make way for one another, those of higher
/// scores first; in a picture too small for letters there are none. Boxes are in pixels of `image`. What lies outside is
/// cut off, boxes with a NaN or an infinity are left out. A label beyond `classes` is shown as its number.
///
/// ```
/// use mmy_eval::draw::{color, draw};
/// use mmy_structures::{BBox, Detections, Image};
///
/// let mut image = Image::filled(120, 160, [0; 3]);
/// let found = Detections { bboxes: vec![BBox::new(20.0, 40.0, 90.0, 110.0)], scores: vec![0.87], labels: vec![0] };
/// draw(&mut image, &found, &["cat".to_owned()]);
/// assert_eq!(image.pixel(50, 40), color(0));
/// ```
pub fn draw(image: &mut Image, detections: &Detections, classes: &[String]) {
    draw_tags(image, detections, classes, true);
}

/// As [`draw`], for boxes that are certain: their tags tell the class alone.
pub fn draw_truth(image: &mut Image, truth: &Detections, classes: &[String]) {
    draw_tags(image, truth, classes, false);
}

fn draw_tags(image: &mut Image, detections: &Detections, classes: &[String], scores: bool) {
    let picture = Rect { x0: 0, y0: 0, x1: image.width() as i32, y1: image.height() as i32 };
    let scale = (image.width() as f32 * image.height() as f32).sqrt();
    // One pixel is hard to see but where there are few of them.
    let line = (scale / 300.0).round().max(if scale < 100.0 { 1.0 } else { 2.0 }) as i32;

    let mut visible: Vec<_> = detections
        .iter()
        .filter_map(|(bbox, score, label)| Some((outline(bbox, line, picture)?, score, label)))
        .collect();
    // Best first; the sort is stable, so that equal scores keep their order.
    visible.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (bbox, _, label) in visible.iter().rev() {
        bbox.stroke(image, line, color(*label));
    }

    let font = Font::new((scale / 34.0).max(13.0));
    let mut tags = Tags::new(picture, line);
    for (bbox, score, label) in &visible {
        let name = classes.get(*label as usize).map_or_else(|| label.to_string(), Clone::clone);
        if let Some(text) = font.fit(&name, &if scores { format!("{score:.2}") } else { String::new() }, picture) {
            let size = font.tag_size(&text);
            tags.place(*bbox, text, color(*label), size);
        }
    }
    tags.draw(image, &font);
}

/// The outer edge of a box's line, cut to the picture so that the line of a box that reaches outside runs along the
/// border; `None` for a box that is not in the picture.
fn outline(bbox: BBox, line: i32, picture: Rect) -> Option<Rect> {
    let [x1, y1, x2, y2] = bbox.xyxy();
    if ![x1, y1, x2, y2].iter().all(|it| it.is_finite()) {
        return None;
    }
    // Far coordinates would overflow later; a pixel beyond the border is as good.
    let near = |it: f32, end: i32| it.clamp(-1.0, end as f32 + 1.0);
    let (left, right) = (near(x1.min(x2), picture.x1), near(x1.max(x2), picture.x1));
    let (top, bottom) = (near(y1.min(y2), picture.y1), near(y1.max(y2), picture.y1));
    let inside = right > 0.0 && bottom > 0.0 && left < picture.x1 as f32 && top < picture.y1 as f32;
    let grow = line / 2;
    inside.then(|| {
        let rect = Rect {
            x0: left.floor() as i32 - grow,
            y0: top.floor() as i32 - grow,
            x1: (right.ceil() as i32).max(left.floor() as i32 + 1) + grow,
            y1: (bottom.ceil() as i32).max(top.floor() as i32 + 1) + grow,
        };
        rect.intersect(picture)
    })
}

/// A picture that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file name ends in something else than `.png`, `.jpg` or `.jpeg`.
    #[error("{}: pictures are written as .png or .jpg", .0.display())]
    Format(PathBuf),
    /// The encoder or the system refused.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: image::ImageError,
    },
}

/// JPEG quality of saved pictures: thin coloured lines suffer below.
const JPEG_QUALITY: u8 = 95;

/// Writes a picture as PNG or JPEG, as the end of the name says.
///
/// # Errors
/// For other names, and when the file cannot be written.
pub fn save(image: &Image, path: &Path) -> Result<(), SaveError> {
    let end = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
    let jpeg = match end.as_str() {
        "png" => false,
        "jpg" | "jpeg" => true,
        _ => return Err(SaveError::Format(path.to_owned())),
    };
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        encode(image, jpeg.then_some(JPEG_QUALITY), &mut file)?;
        file.flush()?;
        Ok(())
    };
    write().map_err(|source| SaveError::Write { path: path.to_owned(), source })
}

/// A picture as the bytes of a JPEG file of that quality, 1 to 100.
///
/// # Errors
/// For a picture without pixels, or one too large for the format.
pub fn jpeg(image: &Image, quality: u8) -> Result<Vec<u8>, image::ImageError> {
    let mut out = Vec::new();
    encode(image, Some(quality), &mut out)?;
    Ok(out)
}

/// Writes a picture as JPEG of the given quality, or as PNG.
fn encode(image: &Image, jpeg: Option<u8>, out: &mut impl Write) -> Result<(), image::ImageError> {
    let mut rgb = image.data().to_vec();
    rgb.as_chunks_mut::<3>().0.iter_mut().for_each(|it| it.reverse());
    let (width, height, kind) = (image.width() as u32, image.height() as u32, ExtendedColorType::Rgb8);
    match jpeg {
        Some(quality) => {
            codecs::jpeg::JpegEncoder::new_with_quality(out, quality).write_image(&rgb, width, height, kind)
        }
        None => codecs::png::PngEncoder::new(out).write_image(&rgb, width, height, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(them: &[([f32; 4], f32, u32)]) -> Detections {
        let mut out = Detections::default();
        for ([x1, y1, x2, y2], score, label) in them {
            out.bboxes.push(BBox::new(*x1, *y1, *x2, *y2));
            out.scores.push(*score);
            out.labels.push(*label);
        }
        out
    }

    const GREY: [u8; 3] = [128; 3];

    /// Draws on grey; the picture and how many of its pixels changed.
    fn drawn(height: usize, width: usize, them: &[([f32; 4], f32, u32)], classes: &[&str]) -> (Image, usize) {
        let mut image = Image::filled(height, width, GREY);
        draw(&mut image, &found(them), &classes.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        let changed = image.data().as_chunks::<3>().0.iter().filter(|it| **it != GREY).count();
        (image, changed)
    }

    #[test]
    fn line_on_the_edges_tag_above_and_nothing_else() {
        let (image, _) = drawn(300, 300, &[([100.0, 100.0, 200.0, 180.0], 0.5, 3)], &["a", "b", "c", "dog"]);
        for (x, y) in [(100, 140), (199, 140), (150, 100), (150, 179), (100, 100), (199, 179)] {
            assert_eq!(image.pixel(x, y), color(3), "{x}, {y}");
        }
        for (x, y) in [(98, 140), (202, 140), (150, 182), (150, 140), (50, 50), (190, 90)] {
            assert_eq!(image.pixel(x, y), GREY, "{x}, {y}");
        }
        // The tag has its ground and at least a letter's worth of text on it.
        let tag: Vec<_> =
            (86..100).flat_map(|y| (100..160).map(move |x| (x, y))).map(|(x, y)| image.pixel(x, y)).collect();
        assert!(tag.iter().filter(|it| **it == color(3)).count() > 200);
        assert!(tag.iter().filter(|it| it.iter().all(|it| *it < 64)).count() > 40);
    }

    #[test]
    fn lines_and_letters_grow_with_the_picture() {
        let ink = |size: usize| {
            let end = size as f32;
            let (_, changed) =
                drawn(size, size, &[([0.2 * end, 0.2 * end, 0.8 * end, 0.8 * end], 0.5, 0)], &["person"]);
            changed as f32 / (size * size) as f32
        };
        assert!((ink(3000) / ink(900) - 1.0).abs() < 0.1, "{} {}", ink(3000), ink(900));
    }

    #[test]
    fn odd_boxes_and_names_do_no_harm() {
        let (nan, inf, far) = (f32::NAN, f32::INFINITY, 1e30);
        let long = "a very long class name ".repeat(50);
        let names = [long.as_str(), "", "猫 кот Ζώο \u{1f408}\n\t\u{0}", "x"];
        let nothing = [
            [nan, 0.0, 10.0, 10.0],
            [0.0, 0.0, inf, 10.0],
            [-inf, nan, inf, nan],
            [-20.0, 0.0, -10.0, 10.0],
            [0.0, 500.0, 10.0, 510.0],
            [far, far, far, far],
        ];
        let something = [
            [5.0, 5.0, 5.0, 5.0],
            [10.0, 10.0, 2.0, 3.0],
            [-50.0, -50.0, 9999.0, 9999.0],
            [-far, -far, far, far],
            [0.0, 0.0, 0.5, 0.5],
            [-5.0, -5.0, 1.0, 1.0],
        ];
        for (height, width) in [(1, 1), (1, 40), (40, 1), (3, 3), (12, 12), (30, 200), (120, 90)] {
            for label in [0, 1, 2, 3, 4, u32::MAX] {
                for bbox in nothing {
                    assert_eq!(drawn(height, width, &[(bbox, 0.5, label)], &names).1, 0, "{bbox:?}");
                }
            }
            let all: Vec<_> =
                something.iter().zip(0..).map(|(bbox, label)| (*bbox, label as f32 / 9.0, label)).collect();
            assert!(drawn(height, width, &all, &names).1 > 0);
        }
        assert_eq!(drawn(0, 0, &[(something[0], nan, 0)], &names).1, 0);
        assert_eq!(drawn(0, 9, &[(something[2], 0.5, 0)], &[]).1, 0);
    }

    #[test]
    fn a_box_around_the_picture_runs_along_its_border() {
        let (image, _) = drawn(60, 80, &[([-9.0, -9.0, 300.0, 300.0], 0.5, 1)], &[]);
        for (x, y) in [(0, 30), (79, 30), (70, 0), (40, 59)] {
            assert_eq!(image.pixel(x, y), color(1), "{x}, {y}");
        }
        assert_eq!(image.pixel(40, 40), GREY);
    }

    #[test]
    fn a_crowd_is_drawn_in_any_order_alike() {
        let mut crowd: Vec<_> = (0..400)
            .map(|it| {
                let (x, y) = ((it * 37 % 500) as f32, (it * 53 % 400) as f32);
                ([x, y, x + 40.0, y + 30.0], 1.0 / (1.0 + it as f32), it % 7)
            })
            .collect();
        let (first, changed) = drawn(480, 640, &crowd, &["one", "two", "three"]);
        assert!(changed > 10_000);
        crowd.reverse();
        assert!(drawn(480, 640, &crowd, &["one", "two", "three"]).0 == first);
    }

    #[test]
    fn png_round_trip_and_jpeg_by_extension() {
        let dir = tempfile::tempdir().unwrap();
        let mut image = Image::filled(8, 8, [10, 20, 200]);
        image.row_mut(0)[0] = 99;
        let path = dir.path().join("a.PNG");
        save(&image, &path).unwrap();
        let read = image::open(&path).unwrap().into_rgb8();
        assert_eq!((read.get_pixel(0, 0).0, read.get_pixel(1, 0).0), ([200, 20, 99], [200, 20, 10]));
        let path = dir.path().join("a.jpeg");
        save(&image, &path).unwrap();
        let near = image::open(&path).unwrap().into_rgb8().get_pixel(6, 6).0;
        assert!(near[0].abs_diff(200) < 6 && near[1].abs_diff(20) < 6 && near[2].abs_diff(10) < 6, "{near:?}");
        assert!(matches!(save(&image, &dir.path().join("a.bmp")), Err(SaveError::Format(_))));
        assert!(matches!(save(&image, &dir.path().join("no/a.png")), Err(SaveError::Write { .. })));
        assert!(save(&Image::filled(0, 0, GREY), &dir.path().join("empty.png")).is_err());
    }
}
