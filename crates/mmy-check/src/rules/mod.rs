//! The rules: one file for each thing that is looked at.

pub mod classes;
pub mod files;
pub mod groups;
pub mod idle;
pub mod missing;
pub mod optim;
pub mod parts;
pub mod sizes;
pub mod warmup;
