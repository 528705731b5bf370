//! Boxes and arrows as SVG: one row for each box, in a column of its own for each stride.

use std::{collections::BTreeSet, fmt::Write};

/// A box.
#[derive(Debug, Clone)]
pub struct Node {
    title: String,
    text: String,
    parameters: String,
    stride: i64,
    part: &'static str,
}

impl Node {
    /// A box with a title, a line of text below it and a number of parameters at its right, where maps have that stride.
    pub fn new(title: impl Into<String>, text: impl Into<String>, parameters: impl Into<String>, stride: i64) -> Self {
        Node { title: title.into(), text: text.into(), parameters: parameters.into(), stride, part: "" }
    }

    /// The part of the model that it belongs to, which colours it.
    #[must_use]
    pub fn part(self, part: &'static str) -> Self {
        Node { part, ..self }
    }

    fn width(&self) -> f64 {
        // Characters of the two fonts below are about that wide.
        let title = 7.2 * (self.title.chars().count() + 2 + self.parameters.chars().count()) as f64;
        let text = 5.9 * self.text.chars().count() as f64;
        title.max(text) + 2.0 * MARGIN
    }
}

/// Boxes and arrows between them.
#[derive(Debug)]
pub struct Picture {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<(usize, usize)>,
}

const ROW: f64 = 58.0;
const HEIGHT: f64 = 40.0;
const GAP: f64 = 46.0;
const MARGIN: f64 = 10.0;
const TOP: f64 = 84.0;
const LEFT: f64 = 30.0;

impl Picture {
    /// A picture without boxes.
    pub fn new(title: String) -> Self {
        Picture { title, nodes: Vec::new(), edges: Vec::new() }
    }

    /// Adds a box below the others.
    pub fn node(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds an arrow.
    pub fn edge(&mut self, from: usize, to: usize) {
        self.edges.push((from, to));
    }

    /// The stride of a box.
    pub fn stride(&self, node: usize) -> i64 {
        self.nodes[node].stride
    }

    /// The picture as a file.
    pub fn to_svg(&self) -> String {
        let strides: BTreeSet<_> = self.nodes.iter().map(|it| it.stride).collect();
        let strides: Vec<_> = strides.into_iter().collect();
        let column = |node: &Node| strides.iter().position(|it| *it == node.stride).unwrap_or(0);
        let mut widths = vec![90.0f64; strides.len()];
        for node in &self.nodes {
            let width = &mut widths[column(node)];
            *width = width.max(node.width());
        }
        let mut lefts = vec![LEFT];
        for width in &widths {
            lefts.push(lefts[lefts.len() - 1] + width + GAP);
        }
        let place = |at: usize| {
            let column = column(&self.nodes[at]);
            Place { x: lefts[column], y: TOP + ROW * at as f64, width: widths[column] }
        };
        let (width, height) = (lefts[strides.len()] + LEFT, TOP + ROW * self.nodes.len() as f64 + 10.0);
        let mut out = String::new();
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">"
        );
        out.push_str(
            "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#5b6b7b\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        );
        let _ = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"32\" font-size=\"16\" font-weight=\"bold\" fill=\"#1d2733\">{}</text>",
            escape(&self.title)
        );
        for (column, stride) in strides.iter().enumerate() {
            let (x, bottom) = (lefts[column] + widths[column] / 2.0, height - 6.0);
            let _ = writeln!(
                out,
                "<text x=\"{x:.0}\" y=\"62\" font-size=\"12\" text-anchor=\"middle\" fill=\"#5b6b7b\">stride {stride}</text>\
                 <path d=\"M{x:.0} 70V{bottom:.0}\" stroke=\"#eef1f4\" stroke-width=\"2\"/>"
            );
        }
        for &(from, to) in &self.edges {
            out.push_str(&arrow(place(from), place(to), to - from == 1));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            out.push_str(&boxed(node, place(at)));
        }
        out.push_str("</svg>\n");
        out
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
}

/// Down from the middle to a neighbour below; else out at the right of the lower numbered box and in at a side of the other.
fn arrow(from: Place, to: Place, next: bool) -> String {
    let (from_middle, to_middle) = (from.x + from.width / 2.0, to.x + to.width / 2.0);
    let path = if next {
        let (y1, y2) = (from.y + HEIGHT, to.y);
        let bend = (y2 - y1) * 0.6;
        format!(
            "M{from_middle:.0} {y1:.0}C{from_middle:.0} {:.0} {to_middle:.0} {:.0} {to_middle:.0} {y2:.0}",
            y1 + bend,
            y2 - bend
        )
    } else {
        let (x1, y1, y2) = (from.x + from.width, from.y + HEIGHT / 2.0, to.y + HEIGHT / 2.0);
        // Beside its own column on the way down, then across into the nearer side.
        let lane = x1 + 14.0 + (y2 - y1) / 90.0;
        let lane = lane.min(x1 + GAP - 8.0);
        let (x2, side) = if to.x > x1 { (to.x, -1.0) } else { (to.x + to.width, 1.0) };
        let corner = 10.0;
        let (near_y, far_y) = (y1 + corner, y2 - corner);
        let across = if side < 0.0 || x2 < lane { lane } else { lane.max(x2 + 14.0) };
        format!(
            "M{x1:.0} {y1:.0}Q{lane:.0} {y1:.0} {lane:.0} {near_y:.0}L{across:.0} {far_y:.0}Q{across:.0} {y2:.0} {x2:.0} {y2:.0}"
        )
    };
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"#5b6b7b\" stroke-width=\"1.4\" marker-end=\"url(#tip)\"/>\n")
}

fn boxed(node: &Node, Place { x, y, width }: Place) -> String {
    let (fill, stroke) = match node.part {
        "backbone" => ("#e6f0fb", "#3b78b5"),
        "neck" | "head" => ("#fdf1de", "#c07f1d"),
        "bbox_head" => ("#e5f5e9", "#37895a"),
        _ => ("#f3f4f6", "#7b8794"),
    };
    let (left, right, first, second) = (x + MARGIN, x + width - MARGIN, y + 16.0, y + 32.0);
    format!(
        "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{fill}\" \
         stroke=\"{stroke}\"/><text x=\"{left:.0}\" y=\"{first:.0}\" font-size=\"12\" font-weight=\"bold\" \
         fill=\"#1d2733\">{}</text><text x=\"{right:.0}\" y=\"{first:.0}\" font-size=\"11\" text-anchor=\"end\" \
         fill=\"#5b6b7b\">{}</text><text x=\"{left:.0}\" y=\"{second:.0}\" font-size=\"10\" fill=\"#3c4a59\">{}</text>\n",
        escape(&node.title),
        escape(&node.parameters),
        escape(&node.text)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_well_formed_and_holds_every_box_and_arrow() {
        let mut picture = Picture::new("a <model> & more".to_owned());
        let a = picture.node(Node::new("0  Conv", "16×320×320", "1,760", 2).part("backbone"));
        let b = picture.node(Node::new("1  Conv", "32×160×160", "", 4));
        let c = picture.node(Node::new("2  Concat", "", "", 2).part("head"));
        picture.edge(a, b);
        picture.edge(a, c);
        let svg = picture.to_svg();
        assert_eq!((svg.matches("rx=\"6\"").count(), svg.matches("marker-end").count()), (3, 2));
        for text in ["a &lt;model&gt; &amp; more", "stride 4", "16×320×320"] {
            assert!(svg.contains(text), "`{text}` is not in\n{svg}");
        }
    }
}
