//! What the shapes look like, as distances to their edges.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Rng;

/// A shape that can be a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShapeClass {
    /// A disc, or an ellipse when it is stretched.
    Circle,
    /// A square, or a rectangle.
    Square,
    /// A triangle with equal sides, or stretched.
    Triangle,
    /// A star of five points.
    Star,
    /// A disc with a hole.
    Ring,
    /// A cross with four equal arms.
    Cross,
    /// A hexagon.
    Hexagon,
}

/// A point or a direction.
pub(super) type Point = [f32; 2];

/// A filled outline within about 1 of the origin.
pub(super) enum Outline {
    /// Points whose distance from the origin lies between two radii.
    Disc {
        inner: f32,
        outer: f32,
    },
    /// A disc without those points that lie in another one.
    Crescent {
        centre: Point,
        radius: f32,
    },
    Polygon(Vec<Point>),
}

const HALF_SQRT_3: f32 = 0.866_025_4;

/// Corners of a regular pentagon, the first one up.
const PENTAGON: [Point; 5] = [
    [0.0, -1.0],
    [0.951_056_5, -0.309_017],
    [0.587_785_25, 0.809_017],
    [-0.587_785_25, 0.809_017],
    [-0.951_056_5, -0.309_017],
];

impl ShapeClass {
    pub(super) fn outline(self) -> Outline {
        let polygon = |points: &[Point]| Outline::Polygon(points.to_vec());
        match self {
            ShapeClass::Circle => Outline::Disc { inner: 0.0, outer: 0.92 },
            ShapeClass::Ring => Outline::Disc { inner: 0.48, outer: 0.95 },
            ShapeClass::Square => polygon(&[[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]]),
            ShapeClass::Triangle => polygon(&[[0.0, -1.0], [HALF_SQRT_3, 0.5], [-HALF_SQRT_3, 0.5]]),
            ShapeClass::Star => {
                // Between two outer corners lies an inner one: the opposite outer one, nearer to the middle.
                let inner = |n: usize| PENTAGON[(n + 3) % 5].map(|it| it * -0.42);
                Outline::Polygon((0..5).flat_map(|n| [PENTAGON[n], inner(n)]).collect())
            }
            ShapeClass::Cross => {
                let (a, b) = (0.32, 0.95);
                polygon(&[
                    [-a, -b],
                    [a, -b],
                    [a, -a],
                    [b, -a],
                    [b, a],
                    [a, a],
                    [a, b],
                    [-a, b],
                    [-a, a],
                    [-b, a],
                    [-b, -a],
                    [-a, -a],
                ])
            }
            ShapeClass::Hexagon => {
                let c = HALF_SQRT_3;
                polygon(&[[0.0, -1.0], [c, -0.5], [c, 0.5], [0.0, 1.0], [-c, 0.5], [-c, -0.5]])
            }
        }
    }
}

impl Outline {
    /// Something that is none of the classes: a crescent, a half disc, a hook or a jagged blob.
    pub(super) fn clutter(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Outline::Crescent { centre: [rng.uniform(0.35, 0.7) as f32, 0.0], radius: 0.95 },
            1 => {
                // A half disc by nine corners.
                let heights = [0.0, 0.38, 0.71, 0.92, 1.0, 0.92, 0.71, 0.38, 0.0];
                let widths = [-1.0, -0.92, -0.71, -0.38, 0.0, 0.38, 0.71, 0.92, 1.0];
                Outline::Polygon(widths.into_iter().zip(heights).map(|(x, y)| [x, y - 0.4]).collect())
            }
            2 => {
                let a = rng.uniform(0.2, 0.5) as f32;
                Outline::Polygon(vec![
                    [-0.8, -0.9],
                    [a - 0.8, -0.9],
                    [a - 0.8, 0.9 - a],
                    [0.8, 0.9 - a],
                    [0.8, 0.9],
                    [-0.8, 0.9],
                ])
            }
            _ => {
                let mut corners = PENTAGON.to_vec();
                for it in &mut corners {
                    let far = rng.uniform(0.3, 1.0) as f32;
                    *it = it.map(|it| it * far);
                }
                Outline::Polygon(corners)
            }
        }
    }

    /// A bar from end to end, `width` wide.
    pub(super) fn bar(width: f32) -> Self {
        Outline::Polygon(vec![[-1.0, -width], [1.0, -width], [1.0, width], [-1.0, width]])
    }

    /// How far outside of the outline a point lies; negative inside.
    pub(super) fn distance(&self, p: Point) -> f32 {
        let length = |[x, y]: Point| (x * x + y * y).sqrt();
        match self {
            Outline::Disc { inner, outer } => {
                let r = length(p);
                if *inner > 0.0 { (r - outer).max(inner - r) } else { r - outer }
            }
            Outline::Crescent { centre, radius } => {
                let hole = radius - length([p[0] - centre[0], p[1] - centre[1]]);
                (length(p) - radius).max(hole)
            }
            Outline::Polygon(corners) => {
                let (mut nearest, mut inside) = (f32::MAX, false);
                let mut b = corners[corners.len() - 1];
                for &a in corners {
                    let (e, w) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
                    let along = ((w[0] * e[0] + w[1] * e[1]) / (e[0] * e[0] + e[1] * e[1])).clamp(0.0, 1.0);
                    let (dx, dy) = (w[0] - e[0] * along, w[1] - e[1] * along);
                    nearest = nearest.min(dx * dx + dy * dy);
                    // A ray to the right crosses the edge from a to b.
                    if (a[1] > p[1]) != (b[1] > p[1]) && p[0] < a[0] + e[0] * (p[1] - a[1]) / e[1] {
                        inside = !inside;
                    }
                    b = a;
                }
                if inside { -nearest.sqrt() } else { nearest.sqrt() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ShapeClass::{Circle, Cross, Hexagon, Ring, Square, Star, Triangle};

    #[test]
    fn distances_to_the_edge() {
        let check = |class: ShapeClass, p: Point, expect: f32| {
            let got = class.outline().distance(p);
            assert!((got - expect).abs() < 1e-5, "{class:?} at {p:?}: {got}, not {expect}");
        };
        check(Circle, [0.6, 0.8], 0.08);
        check(Circle, [0.0, 0.0], -0.92);
        check(Ring, [0.0, 0.0], 0.48);
        check(Ring, [0.0, 0.9], -0.05);
        check(Square, [0.5, 0.0], -0.3);
        check(Square, [1.1, 1.2], 0.5);
        check(Triangle, [0.0, 0.0], -0.5);
        check(Triangle, [0.0, -2.0], 1.0);
        check(Cross, [0.0, 0.9], -0.05);
        check(Cross, [0.62, 0.62], 0.3);
        check(Hexagon, [0.0, 0.0], -HALF_SQRT_3);
        check(Star, [0.0, -1.5], 0.5);
        assert!(Star.outline().distance([0.0, 0.5]) > 0.0 && Star.outline().distance([0.0, 0.3]) < 0.0);
    }
}
