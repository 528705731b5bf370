//! Progress bars for long work; without a terminal there are none.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mmy_engine::{MessageHub, Observer, Pass};

/// A bar with count, rate and estimate; `unit` names what is counted.
pub fn bar(bars: &MultiProgress, label: impl Into<String>, total: u64, unit: &str) -> ProgressBar {
    let template = format!("{{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{msg}}  eta {{eta}}");
    let style = ProgressStyle::with_template(&template).expect("the template is well formed");
    let bar = bars.add(ProgressBar::new(total).with_style(style.progress_chars("━╸ ")).with_prefix(label.into()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Shows a run's passes.
pub struct RunBars {
    bars: MultiProgress,
    current: Option<(ProgressBar, u64)>,
}

impl RunBars {
    /// Shows passes among `bars`.
    pub fn new(bars: MultiProgress) -> Self {
        RunBars { bars, current: None }
    }
}

impl Observer for RunBars {
    fn pass_begins(&mut self, pass: Pass, first: usize, batches: usize) {
        let label = match pass {
            Pass::Train { epoch, max_epochs } => format!("epoch {epoch}/{max_epochs}"),
            Pass::Steps { .. } => "train".into(),
            Pass::Val { epoch } => format!("val after epoch {epoch}"),
            Pass::Test => "test".into(),
        };
        let bar = bar(&self.bars, label, batches as u64, "batches");
        bar.set_position(first as u64);
        bar.reset_eta();
        self.current = Some((bar, 0));
    }

    fn batch_done(&mut self, pass: Pass, pictures: usize, messages: &MessageHub) {
        let Some((bar, seen)) = &mut self.current else { return };
        bar.inc(1);
        *seen += pictures as u64;
        let rate = *seen as f64 / bar.elapsed().as_secs_f64().max(1e-9);
        let loss = messages.mean("train/loss", 50).filter(|_| matches!(pass, Pass::Train { .. } | Pass::Steps { .. }));
        bar.set_message(match loss {
            Some(loss) => format!("loss {loss:.4}  {rate:.1} img/s"),
            None => format!("{rate:.1} img/s"),
        });
    }

    fn pass_ends(&mut self, _: Pass) {
        if let Some((bar, _)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}
