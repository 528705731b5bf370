//! Many pictures in one.

use image::{ImageBuffer, Rgb, imageops};
use mmy_structures::{BBox, Detections, Image};

use super::{draw, draw_truth, rect::Rect, text::Font};

/// A picture on a sheet.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The picture.
    pub image: Image,
    /// Boxes in its pixels.
    pub boxes: Detections,
    /// Whether the boxes are certain, so that their scores go unsaid.
    pub certain: bool,
    /// What stands below it.
    pub caption: String,
}

/// Between tiles, in pixels.
const GAP: usize = 6;
/// Height of the strip of a caption.
const STRIP: usize = 20;
/// Dark enough for light text, light enough to be seen on a dark page.
const GROUND: [u8; 3] = [38; 3];
const INK: [u8; 3] = [225; 3];

/// Tiles in rows of `columns`, each scaled to fit `side` × `side` pixels, boxes drawn after it, so that lines and letters
/// have one size. `None` without tiles.
pub fn sheet(tiles: &[Tile], classes: &[String], columns: usize, side: usize) -> Option<Image> {
    let columns = columns.clamp(1, tiles.len().max(1));
    let shapes: Vec<_> = tiles.iter().map(|it| fitted(&it.image, side)).collect();
    let heights: Vec<_> = shapes.chunks(columns).map(|row| row.iter().map(|it| it.0).max().unwrap_or(1)).collect();
    let width = (0..columns).map(|at| shapes.iter().skip(at).step_by(columns).map(|it| it.1).max().unwrap_or(1));
    let widths: Vec<_> = width.collect();
    if tiles.is_empty() {
        return None;
    }
    let total = |sizes: &[usize], more: usize| sizes.iter().map(|it| it + more + GAP).sum::<usize>() + GAP;
    let mut out = Image::filled(total(&heights, STRIP), total(&widths, 0), GROUND);
    let font = Font::new(13.0);
    for (at, (tile, shape)) in tiles.iter().zip(shapes).enumerate() {
        let (row, column) = (at / columns, at % columns);
        let (top, left) = (total(&heights[..row], STRIP), total(&widths[..column], 0));
        paste(&mut out, &drawn(tile, shape, classes), top, left);
        let (top, wide) = ((top + heights[row]) as i32, widths[column] as i32);
        let strip = Rect::at(left as i32, top, wide, STRIP as i32);
        // Twice the height, since a tag may not hide more than half of what it is in.
        let room = Rect::at(left as i32, top, wide, 2 * STRIP as i32);
        if let Some(text) = font.fit(&tile.caption, "", room) {
            font.draw(&mut out, Rect { y0: strip.y0 + 3, ..strip }, &text, INK);
        }
    }
    Some(out)
}

/// Two pictures of one height in one, the first on the left.
pub fn beside(left: &Image, right: &Image) -> Image {
    let mut out = Image::filled(left.height(), left.width() + right.width(), [0; 3]);
    paste(&mut out, left, 0, 0);
    paste(&mut out, right, 0, left.width());
    out
}

/// Height and width of a picture scaled to fit `side` × `side`, at least 1 each.
fn fitted(image: &Image, side: usize) -> (usize, usize) {
    let longer = image.height().max(image.width()).max(1);
    let scaled = |it: usize| ((it * side) as f64 / longer as f64).round().max(1.0) as usize;
    (scaled(image.height()), scaled(image.width()))
}

fn drawn(tile: &Tile, (height, width): (usize, usize), classes: &[String]) -> Image {
    let mut out = scaled(&tile.image, (height, width));
    let factor = |to: usize, from: usize| to as f32 / from.max(1) as f32;
    let (x, y) = (factor(width, tile.image.width()), factor(height, tile.image.height()));
    let mut boxes = tile.boxes.clone();
    for it in &mut boxes.bboxes {
        let [x1, y1, x2, y2] = it.xyxy();
        *it = BBox::new(x1 * x, y1 * y, x2 * x, y2 * y);
    }
    if tile.certain {
        draw_truth(&mut out, &boxes, classes)
    } else {
        draw(&mut out, &boxes, classes)
    }
    out
}

fn scaled(image: &Image, (height, width): (usize, usize)) -> Image {
    let buffer =
        ImageBuffer::<Rgb<u8>, _>::from_raw(image.width() as u32, image.height() as u32, image.data().to_vec());
    let (Some(buffer), true) = (buffer, image.shape() != (height, width)) else { return image.clone() };
    let filter = imageops::FilterType::Triangle;
    let data = imageops::resize(&buffer, width as u32, height as u32, filter).into_raw();
    Image::new(height, width, data).unwrap_or_else(|_| image.clone())
}

/// Puts a picture onto another one, where there is room.
fn paste(onto: &mut Image, image: &Image, top: usize, left: usize) {
    let width = image.width().min(onto.width().saturating_sub(left)) * Image::CHANNELS;
    let left = left * Image::CHANNELS;
    for y in 0..image.height().min(onto.height().saturating_sub(top)) {
        onto.row_mut(top + y)[left..left + width].copy_from_slice(&image.row(y)[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(height: usize, width: usize, shade: u8) -> Tile {
        let boxes = Detections { bboxes: vec![BBox::new(0.0, 0.0, 4.0, 4.0)], scores: vec![0.5], labels: vec![0] };
        Tile { image: Image::filled(height, width, [shade; 3]), boxes, certain: true, caption: "a.jpg".into() }
    }

    #[test]
    fn tiles_stand_in_rows_with_room_for_captions() {
        let tiles = [tile(8, 16, 10), tile(8, 8, 20), tile(8, 4, 30)];
        let sheet = sheet(&tiles, &["cat".to_owned()], 2, 160).unwrap();
        // Rows of 160 (beside 80) and 160 high, columns of 160 and 160 wide.
        assert_eq!(sheet.shape(), (2 * (160 + STRIP + GAP) + GAP, 2 * (160 + GAP) + GAP));
        assert_eq!(sheet.pixel(GAP + 150, GAP + 70), [10; 3]);
        assert_eq!(sheet.pixel(160 + 2 * GAP + 150, GAP + 150), [20; 3]);
        assert_eq!(sheet.pixel(GAP + 75, 160 + STRIP + 2 * GAP + 150), [30; 3]);
        // The box is scaled with its picture, and the caption is written.
        assert_eq!(sheet.pixel(GAP + 40, GAP + 20), super::super::color(0));
        let strip = (GAP + 160..GAP + 160 + STRIP).flat_map(|y| (GAP..GAP + 60).map(move |x| (x, y)));
        assert!(strip.map(|(x, y)| sheet.pixel(x, y)).any(|it| it[0] > 150));
        assert!(super::sheet(&[], &[], 2, 160).is_none());
    }

    #[test]
    fn halves_stand_side_by_side() {
        let (left, right) = (Image::filled(2, 3, [1; 3]), Image::filled(2, 3, [2; 3]));
        let both = beside(&left, &right);
        assert_eq!((both.shape(), both.pixel(2, 1), both.pixel(3, 0)), ((2, 6), [1; 3], [2; 3]));
    }

    #[test]
    fn pictures_without_pixels_do_no_harm() {
        let empty = Tile { image: Image::filled(0, 0, [0; 3]), ..tile(1, 1, 0) };
        assert!(sheet(&[empty, tile(1, 4000, 9)], &[], 3, 20).is_some());
    }
}
