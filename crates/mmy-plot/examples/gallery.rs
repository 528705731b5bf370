//! One of each, as a page: `cargo run -p mmy-plot --example gallery > gallery.html`.

use mmy_plot::{Bars, Chart, Heatmap, Page};

fn main() {
    let curve =
        |rate: f64| (1..=12).map(|it| (f64::from(it), 0.6 * (1.0 - (-rate * f64::from(it)).exp()))).collect::<Vec<_>>();
    let band: Vec<_> = curve(0.3).iter().map(|it| (it.0, it.1 - 0.04, it.1 + 0.03)).collect();
    let mut lines = Chart::new("Learning curves").x_label("epoch").y_label("coco/bbox_mAP");
    for (at, rate) in [0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02].into_iter().enumerate() {
        lines = lines.line(format!("lr {rate}"), &curve(rate));
        if at == 0 {
            lines = lines.band(&band);
        }
    }
    let lines = lines.rule(0.5, "goal");
    let log = Chart::new("AP against learning rate").x_label("optim_wrapper.optimizer.lr").y_label("AP").x_log();
    let log = log.points("seeds", &[(1e-4, 0.1), (1e-3, 0.31), (1e-3, 0.29), (1e-2, 0.44), (0.1, 0.2)]);
    let names = Chart::new("AP against backbone").y_label("AP").x_names(["StarNet s1", "CSPDarknet", "RevCol"]);
    let names = names.points("mean ± deviation", &[(0.0, 0.31), (1.0, 0.35), (2.0, 0.28)]);
    let names = names.band(&[(0.0, 0.28, 0.34), (1.0, 0.33, 0.37), (2.0, 0.22, 0.34)]);
    let pr = [(0.0, 1.0), (0.2, 0.98), (0.5, 0.9), (0.8, 0.6), (0.9, 0.1), (1.0, 0.0)];
    let pr = Chart::new("Precision and recall").x_label("recall").y_label("precision").steps("circle", &pr);
    let bars = Bars::new("Boxes of each class", ["circle", "square", "triangle"]).label("boxes");
    let bars = bars.series("train", &[1200.0, 800.0, 950.0]).series("val", &[120.0, 90.0, 88.0]);
    let lying = (0..14).map(|it| format!("a class with a name {it}"));
    let lying =
        Bars::new("AP of each class", lying).series("", &(0..14).map(|it| f64::from(it) / 15.0).collect::<Vec<_>>());
    let map = Heatmap::new(
        "Confusion",
        ["circle", "square", "triangle", "background"],
        ["circle", "square", "triangle", "background"],
        vec![
            vec![0.82, 0.1, 0.0, 0.08],
            vec![0.05, 0.9, 0.01, 0.04],
            vec![0.0, 0.02, 0.71, 0.27],
            vec![0.3, 0.2, 0.5, f64::NAN],
        ],
    );
    let map = map.labels("true", "predicted").range(0.0, 1.0);
    let rows = [vec!["a1b2".into(), "0.41".into(), "done".into()], vec!["c3d4".into(), "0.37".into(), "failed".into()]];
    let charts = [lines.to_svg(), log.to_svg(), names.y_range(0.0, 0.5).to_svg(), pr.x_range(0.0, 1.0).to_svg()];
    let page = Page::new("A gallery of charts").remark("One of each.").charts(charts);
    let page = page.heading("Bars and shades").charts([bars.to_svg(), lying.to_svg(), map.to_svg()]);
    print!("{}", page.heading("A table").table(&["trial", "AP", "state"], &rows).code("mmy train x.toml").to_html());
}
