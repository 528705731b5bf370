//! Orders in which samples are drawn.

mod default;
mod infinite;
