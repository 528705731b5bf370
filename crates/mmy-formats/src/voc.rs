//! Pascal VOC annotation files: one XML file for each picture.

use roxmltree::{Document, Node, ParsingOptions};

pub use crate::Fault;

/// What is read of an annotation file.
#[derive(Debug)]
pub struct Xml {
    /// The picture's file, as the annotation has it.
    pub filename: Option<String>,
    /// `(height, width)`, zeros where nothing is said.
    pub shape: (usize, usize),
    /// Line of `<size>`, or 1.
    pub shape_line: u32,
    /// Its objects, or what is wrong with them.
    pub objects: Vec<Result<Object, Fault>>,
    /// What else is said, with dots between the names of nested elements.
    pub extra: Vec<(String, String)>,
}

/// An object in a picture.
#[derive(Debug)]
pub struct Object {
    /// Its class.
    pub name: String,
    /// Left, top, right, bottom, as written: counted from 1, the last pixel included.
    pub edges: [f64; 4],
    /// Whether it is hard to see, and therefore not learnt.
    pub difficult: bool,
    /// The line where it begins.
    pub line: u32,
    /// What else is said, with dots between the names of nested elements.
    pub extra: Vec<(String, String)>,
}

/// Nodes of a file; the parser's own structures take about a hundred bytes for each.
const MAX_NODES: u32 = 1 << 20;

/// Reads a file.
///
/// # Errors
/// When it is not XML. What is wrong with a single object stands in its place.
pub fn parse(text: &str) -> Result<Xml, Fault> {
    // Entities that a file defines itself can grow without end; the parser refuses them unless it is asked not to.
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| Fault {
        line: error.pos().row,
        column: Some(error.pos().col),
        reason: error.to_string(),
    })?;
    let lines = Lines::of(text);
    let root = document.root_element();
    let size = child(root, "size");
    let side = |name| size.and_then(|it| text_of(it, name)?.parse::<f64>().ok()).unwrap_or(0.0) as usize;
    let shape = match (side("height"), side("width")) {
        (0, _) | (_, 0) => (0, 0),
        known => known,
    };
    let objects = root.children().filter(|it| it.has_tag_name("object")).map(|it| object(it, lines.at(it)));
    Ok(Xml {
        filename: text_of(root, "filename").map(str::to_owned),
        shape,
        shape_line: size.map_or(1, |it| lines.at(it)),
        objects: objects.collect(),
        extra: leaves(root, &["object", "filename", "folder", "path", "size"]),
    })
}

fn object(node: Node<'_, '_>, line: u32) -> Result<Object, Fault> {
    let bad = |reason: String| Fault { line, column: None, reason };
    let name = text_of(node, "name").ok_or_else(|| bad("an object without a name".into()))?;
    let edges = child(node, "bndbox").ok_or_else(|| bad("an object without a bndbox".into()))?;
    let edge = |name| {
        let value = text_of(edges, name).and_then(|it| it.parse::<f64>().ok());
        value.ok_or_else(|| bad(format!("`{name}` is not a number")))
    };
    let edges = [edge("xmin")?, edge("ymin")?, edge("xmax")?, edge("ymax")?];
    let difficult = text_of(node, "difficult").is_some_and(|it| it != "0");
    let extra = leaves(node, &["name", "bndbox", "difficult"]);
    Ok(Object { name: name.to_owned(), edges, difficult, line, extra })
}

/// The texts below a node, without those below the children that are known. Elements that are nested more than twice are
/// passed over.
fn leaves(node: Node<'_, '_>, known: &[&str]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for it in node.children().filter(|it| it.is_element() && !known.contains(&it.tag_name().name())) {
        let name = it.tag_name().name();
        if it.children().any(|it| it.is_element()) {
            for inner in it.children().filter(|it| it.is_element()) {
                let text = inner.text().unwrap_or_default().trim();
                out.push((format!("{name}.{}", inner.tag_name().name()), text.to_owned()));
            }
        } else {
            out.push((name.to_owned(), it.text().unwrap_or_default().trim().to_owned()));
        }
    }
    out
}

/// The parser finds a line by counting from the top, which is quadratic over many objects.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Lines(text.bytes().enumerate().filter(|it| it.1 == b'\n').map(|it| it.0).collect())
    }

    fn at(&self, node: Node<'_, '_>) -> u32 {
        self.0.partition_point(|&at| at < node.range().start) as u32 + 1
    }
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|it| it.has_tag_name(name))
}

fn text_of<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_object_does_not_hide_the_others() {
        let good = "<object><name>dog</name><difficult>1</difficult>\n<bndbox><xmin>1</xmin><ymin>2</ymin>\
                    <xmax>3.5</xmax><ymax>nan</ymax></bndbox></object>";
        let text = format!(
            "<annotation><filename>a.png</filename>\n{good}\n<object/>\n<object><name>x</name></object>\n</annotation>"
        );
        let xml = parse(&text).unwrap();
        assert_eq!((xml.filename.as_deref(), xml.shape, xml.objects.len()), (Some("a.png"), (0, 0), 3));
        let dog = xml.objects[0].as_ref().unwrap();
        assert_eq!((dog.name.as_str(), dog.difficult, dog.line), ("dog", true, 2));
        assert_eq!(dog.edges[..3], [1.0, 2.0, 3.5]);
        assert!(dog.edges[3].is_nan());
        let faults: Vec<_> = xml.objects[1..]
            .iter()
            .map(|it| it.as_ref().unwrap_err())
            .map(|it| (it.line, it.reason.as_str()))
            .collect();
        assert_eq!(faults, [(4, "an object without a name"), (5, "an object without a bndbox")]);
    }

    #[test]
    fn what_is_no_xml_is_an_error_with_its_place() {
        for text in ["", "<a>", "{}", "<a></b>", &"<a>".repeat(100_000), "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"] {
            let fault = parse(text).unwrap_err();
            assert!(fault.place().contains("column"), "{fault:?}");
        }
    }
}
