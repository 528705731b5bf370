//! One self-contained HTML file.

use std::fmt::Write;

use crate::svg::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--muted:#5a6676;--line:#dde2e8;--paper:#ffffff;--panel:#f5f7fa;--accent:#1f5fa8;\
--good:#1d7f4f;--bad:#b3261e}\
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--muted:#a3adba;--line:#343c47;--paper:#15191f;--panel:#1d232b;\
--accent:#7ab6f5;--good:#5fcf96;--bad:#f2877f}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);\
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
main{max-width:1160px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.6rem;line-height:1.25;margin:0 0 4px}\
h2{font-size:1.2rem;margin:36px 0 8px;padding-top:12px;border-top:1px solid var(--line)}h3{font-size:1rem;margin:20px 0 6px}\
p{margin:8px 0;max-width:75ch}.muted{color:var(--muted)}.good{color:var(--good)}.bad{color:var(--bad)}a{color:var(--accent)}\
code,pre{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.88em}\
pre{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:10px 12px;overflow-x:auto;margin:8px 0}\
code{overflow-wrap:anywhere}pre code{overflow-wrap:normal}\
.charts{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}\
.charts figure{margin:0;border:1px solid var(--line);border-radius:8px;overflow-x:auto;padding:4px}figure svg{display:block;margin:0 auto}\
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin:8px 0}\
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}\
th,td{padding:6px 10px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}\
tr:last-child td{border-bottom:0}th{background:var(--panel);font-weight:600}td.num,th.num{text-align:right}\
summary{cursor:pointer;padding:4px 0}figcaption{color:var(--muted);font-size:.9rem;padding:2px 8px 6px}\
@media print{body{background:#fff}}";

/// One self-contained HTML file: style inside, no scripts, nothing that is fetched. Good at a phone's width and in the dark;
/// wide tables scroll on their own.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with its title as a heading.
    pub fn new(title: impl Into<String>) -> Self {
        Page { title: title.into(), body: String::new() }
    }

    /// A heading.
    pub fn heading(mut self, text: &str) -> Self {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(text));
        self
    }

    /// A heading below one.
    pub fn subheading(mut self, text: &str) -> Self {
        let _ = writeln!(self.body, "<h3>{}</h3>", escape(text));
        self
    }

    /// A paragraph.
    pub fn text(mut self, text: &str) -> Self {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
        self
    }

    /// A paragraph that stands back.
    pub fn remark(mut self, text: &str) -> Self {
        let _ = writeln!(self.body, "<p class=\"muted\">{}</p>", escape(text));
        self
    }

    /// Text as it is typed: a command, a config.
    pub fn code(mut self, text: &str) -> Self {
        let _ = writeln!(self.body, "<pre><code>{}</code></pre>", escape(text));
        self
    }

    /// A table; a column of nothing but numbers is set to the right.
    pub fn table<C: AsRef<str>>(mut self, head: &[C], rows: &[Vec<String>]) -> Self {
        let numeric = |column: usize| {
            let cells = || rows.iter().filter_map(|it| it.get(column)).filter(|it| !it.is_empty() && *it != "–");
            let begins = |it: &String| it.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
            cells().next().is_some() && cells().all(|it| begins(it) && !it.contains(['/', ':']))
        };
        let classes: Vec<_> = (0..head.len()).map(|it| if numeric(it) { " class=\"num\"" } else { "" }).collect();
        self.body.push_str("<div class=\"wide\"><table><thead><tr>");
        for (text, class) in head.iter().zip(&classes) {
            let _ = write!(self.body, "<th{class}>{}</th>", escape(text.as_ref()));
        }
        self.body.push_str("</tr></thead><tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (text, class) in row.iter().zip(&classes) {
                let _ = write!(self.body, "<td{class}>{}</td>", escape(text));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
        self
    }

    /// Charts side by side, as many as there is room for.
    pub fn charts(mut self, charts: impl IntoIterator<Item = String>) -> Self {
        self.body.push_str("<div class=\"charts\">\n");
        for chart in charts {
            let _ = writeln!(self.body, "<figure>{chart}</figure>");
        }
        self.body.push_str("</div>\n");
        self
    }

    /// HTML as it is. Whatever in it is not the caller's own words has to have gone through [`escape`].
    pub fn html(mut self, html: &str) -> Self {
        self.body.push_str(html);
        self.body.push('\n');
        self
    }

    /// The file.
    pub fn to_html(&self) -> String {
        let (title, body) = (escape(&self.title), &self.body);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_and_needs_nothing_from_elsewhere() {
        let page = Page::new("<runs>")
            .heading("a & b")
            .code("x < y")
            .table(&["name", "AP"], &[vec!["<b>".into(), "0.5".into()], vec!["c".into(), "–".into()]]);
        let html = page.to_html();
        for piece in ["&lt;runs&gt;", "a &amp; b", "x &lt; y", "<td>&lt;b&gt;</td>", "<td class=\"num\">0.5</td>"] {
            assert!(html.contains(piece), "{piece}: {html}");
        }
        assert!(!html.contains("http") && !html.contains("<script"), "{html}");
    }
}
