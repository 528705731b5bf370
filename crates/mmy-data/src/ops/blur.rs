//! Mean and median over a square, as OpenCV's `blur` and `medianBlur`.

use mmy_structures::Image;

use crate::Buffers;

/// The place of a pixel beyond the edge: mirrored, without the edge itself twice (`BORDER_REFLECT_101`).
pub(super) fn mirrored(place: i64, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len as i64 - 1);
    let it = place.rem_euclid(period);
    it.min(period - it) as usize
}

/// The mean over `side` × `side` pixels; `side` is odd.
pub fn box_blur(image: Image, side: usize, buffers: &mut Buffers) -> Image {
    let (height, width) = image.shape();
    if image.data().is_empty() {
        return image;
    }
    let reach = (side / 2) as i64;
    let stride = width * Image::CHANNELS;
    // Sums along each row, then down the columns, each by adding what comes in and taking off what goes out.
    let mut rows = vec![0u32; height * stride];
    for y in 0..height {
        let (from, to) = (image.row(y), &mut rows[y * stride..(y + 1) * stride]);
        let at = |x: i64, c: usize| u32::from(from[mirrored(x, width) * Image::CHANNELS + c]);
        for c in 0..Image::CHANNELS {
            let mut sum: u32 = (-reach..=reach).map(|x| at(x, c)).sum();
            for x in 0..width {
                to[x * Image::CHANNELS + c] = sum;
                sum = sum + at(x as i64 + reach + 1, c) - at(x as i64 - reach, c);
            }
        }
    }
    let row = |y: i64| &rows[mirrored(y, height) * stride..][..stride];
    let mut sums = vec![0u32; stride];
    for y in -reach..=reach {
        sums.iter_mut().zip(row(y)).for_each(|(sum, it)| *sum += it);
    }
    let mut out = buffers.image(height, width);
    // An odd number of pixels has no halves to round.
    let area = (side * side) as u32;
    for y in 0..height {
        for (to, sum) in out.row_mut(y).iter_mut().zip(&sums) {
            *to = ((sum + area / 2) / area) as u8;
        }
        let (entering, leaving) = (row(y as i64 + reach + 1), row(y as i64 - reach));
        for ((sum, a), b) in sums.iter_mut().zip(entering).zip(leaving) {
            *sum = *sum + a - b;
        }
    }
    buffers.give_image(image);
    out
}

/// The median over `side` × `side` pixels, channel by channel, with the edge repeated outwards (`BORDER_REPLICATE`);
/// `side` is odd. Huang, Yang and Tang's sliding histogram (1979).
pub fn median_blur(image: Image, side: usize, buffers: &mut Buffers) -> Image {
    let (height, width) = image.shape();
    if image.data().is_empty() {
        return image;
    }
    let reach = (side / 2) as i64;
    let mut out = buffers.image(height, width);
    let clamped = |it: i64, len: usize| it.clamp(0, len as i64 - 1) as usize;
    for y in 0..height as i64 {
        let window: Vec<&[u8]> = (y - reach..=y + reach).map(|it| image.row(clamped(it, height))).collect();
        for c in 0..Image::CHANNELS {
            let column = |x: i64| {
                let at = clamped(x, width) * Image::CHANNELS + c;
                window.iter().map(move |row| usize::from(row[at]))
            };
            let mut median = Median::new(side * side);
            (-reach..=reach).for_each(|x| column(x).for_each(|it| median.add(it)));
            for x in 0..width {
                out.row_mut(y as usize)[x * Image::CHANNELS + c] = median.get();
                column(x as i64 - reach).for_each(|it| median.remove(it));
                column(x as i64 + reach + 1).for_each(|it| median.add(it));
            }
        }
    }
    buffers.give_image(image);
    out
}

/// A histogram that knows how many values lie below its last median, which the next one is near to.
struct Median {
    counts: [u32; 256],
    at: usize,
    below: u32,
    half: u32,
}

impl Median {
    fn new(len: usize) -> Self {
        Median { counts: [0; 256], at: 0, below: 0, half: (len / 2) as u32 }
    }

    fn add(&mut self, value: usize) {
        self.counts[value] += 1;
        self.below += u32::from(value < self.at);
    }

    fn remove(&mut self, value: usize) {
        self.counts[value] -= 1;
        self.below -= u32::from(value < self.at);
    }

    fn get(&mut self) -> u8 {
        while self.below > self.half {
            self.at -= 1;
            self.below -= self.counts[self.at];
        }
        while self.below + self.counts[self.at] <= self.half {
            self.below += self.counts[self.at];
            self.at += 1;
        }
        self.at as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::golden;

    /// The same by the definition.
    fn by_hand(image: &Image, side: usize, edge: fn(i64, usize) -> usize, f: fn(&mut [u8]) -> u8) -> Image {
        let (height, width) = image.shape();
        let reach = (side / 2) as i64;
        let mut out = image.clone();
        for (y, x, c) in (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (y, x, c)))) {
            let places = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)));
            let at = |(dy, dx)| image.pixel(edge(x as i64 + dx, width), edge(y as i64 + dy, height))[c];
            let mut values: Vec<u8> = places.map(at).collect();
            out.row_mut(y)[x * 3 + c] = f(&mut values);
        }
        out
    }

    #[test]
    fn equal_their_definitions() {
        for (height, width) in [(13, 9), (1, 1), (2, 5), (1, 4)] {
            let image = golden::by_rule("blur", height, width);
            for side in [3, 5, 7] {
                let mean = by_hand(&image, side, mirrored, |it| {
                    let sum: f64 = it.iter().map(|it| f64::from(*it)).sum();
                    (sum / it.len() as f64).round() as u8
                });
                assert_eq!(box_blur(image.clone(), side, &mut Buffers::default()), mean, "{height}×{width}, {side}");
                let repeat = |it: i64, len: usize| it.clamp(0, len as i64 - 1) as usize;
                let median = by_hand(&image, side, repeat, |it| {
                    it.sort_unstable();
                    it[it.len() / 2]
                });
                assert_eq!(
                    median_blur(image.clone(), side, &mut Buffers::default()),
                    median,
                    "{height}×{width}, {side}"
                );
            }
        }
    }

    #[test]
    fn mirrored_without_the_edge_twice() {
        let check =
            |len, expect: [usize; 9]| assert_eq!([-4, -3, -2, -1, 0, 1, 2, 3, 4].map(|it| mirrored(it, len)), expect);
        check(4, [2, 3, 2, 1, 0, 1, 2, 3, 2]);
        check(2, [0, 1, 0, 1, 0, 1, 0, 1, 0]);
        check(1, [0; 9]);
    }
}
