//! Runner, loops, hooks, optimisers, schedules, averaging, checkpoints, logs.
//!
//! [`RunConfig`] is the typed root of a config. [`Runner::for_training`] and [`Runner::for_testing`] build everything that
//! it names; [`Runner::train`] and [`Runner::test`] run it. What a run does next depends on its config and [`Progress`]
//! alone; whatever a hook has to remember it hands over as data ([`hooks::Hook::state`]).

mod checkpoint;
mod compare;
mod config;
mod digest;
mod error;
mod failed_step;
mod guard;
pub mod hooks;
mod interrupt;
pub mod loops;
mod messages;
mod model;
mod number;
pub mod optim;
mod priority;
mod progress;
mod report;
mod runner;
pub mod schedules;
mod text;
pub mod trace;
mod work_dir;

/// The libtorch that this program is built against.
pub const LIBTORCH_VERSION: &str = mmy_libtorch::VERSION;

pub use checkpoint::{Checkpoint, CheckpointError, Manifest};
pub use compare::Difference;
pub use config::{AutoScaleLr, EnvConfig, LogProcessor, Randomness, RunConfig};
pub use digest::Fingerprint;
pub use error::{EngineError, Result};
pub use failed_step::{FailedStep, Replay, replay};
pub use guard::is_out_of_memory;
pub use interrupt::Interrupt;
pub use messages::MessageHub;
pub use model::Model;
pub use priority::Priority;
pub use progress::{Length, Progress};
pub use report::{Observer, Pass, Quiet};
pub use runner::{Resume, RunInfo, Runner, Start, build_hooks};
pub use text::duration;
pub use work_dir::WorkDir;

/// Target of events that are for a run's log file alone: too long for a terminal.
pub const LOG_ONLY: &str = "mmy::log_only";
