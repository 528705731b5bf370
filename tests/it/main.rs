//! The tests of the whole: the built binary in a temporary folder, with real files.

mod breakage;
mod check;
mod config_tools;
mod configs;
mod data_faults;
mod data_tools;
mod deploy;
mod docs;
mod editor;
mod faults;
mod forward;
mod kill;
mod layer_lists;
mod new_models;
mod optimise;
mod plugins;
mod published;
mod quantise;
mod resume;
mod support;
mod trace;
mod train;
mod verify;
mod weights;
