//! Log lines in mmengine's form, on the terminal and in the run's file.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::{MultiProgress, ProgressDrawTarget};
use mmy_engine::LOG_ONLY;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

/// Where log lines go: past the progress bars to the terminal, and into a file once there is one.
#[derive(Clone)]
pub struct Log {
    bars: MultiProgress,
    /// What the terminal gets; the file gets [`LOG_ONLY`] besides.
    terminal: Targets,
    file: Arc<Mutex<Option<File>>>,
}

static LOG: OnceLock<Log> = OnceLock::new();
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on the terminal gets warnings and errors alone, and no progress bars; a file gets the same as ever.
pub fn quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Starts logging for this process; `MMY_LOG=debug` shows more, `MMY_LOG=warn` less, `MMY_LOG=info,mmy_data=debug` more of
/// one crate.
pub fn start() -> Log {
    LOG.get_or_init(|| {
        let asked = std::env::var("MMY_LOG").ok().and_then(|it| it.parse::<Targets>().ok());
        let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
        let quiet = QUIET.load(Ordering::Relaxed);
        let terminal = if quiet { Targets::new().with_default(LevelFilter::WARN) } else { filter.clone() };
        let filter = filter.with_target(LOG_ONLY, LevelFilter::DEBUG);
        let bars = MultiProgress::new();
        if quiet {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let log = Log { bars, terminal, file: Arc::default() };
        // Fails only when there is a subscriber already, which then goes on.
        let _ = tracing_subscriber::registry().with(log.clone().with_filter(filter)).try_init();
        log
    })
    .clone()
}

impl Log {
    /// The bars that log lines go past.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// From now on lines go into this file too.
    pub fn to_file(&self, path: &Path) -> std::io::Result<()> {
        let file = File::options().create(true).append(true).open(path)?;
        *self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let level = match *event.metadata().level() {
            Level::WARN => "WARNING",
            ref other => other.as_str(),
        };
        let now = jiff::Zoned::now();
        let line = |date: &str| format!("{} - mmy - {level} - {}", now.strftime(date), message.0);
        // The bar stands still while the line goes past; without a terminal it is not there.
        if self.terminal.would_enable(event.metadata().target(), event.metadata().level()) {
            self.bars.suspend(|| eprintln!("{}", line("%m/%d %H:%M:%S")));
        }
        if let Some(file) = &mut *self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            // A log that cannot be written must not end a run that can go on.
            let _ = writeln!(file, "{}", line("%Y/%m/%d %H:%M:%S"));
        }
    }
}

/// The text of an event, with its other fields behind it.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
