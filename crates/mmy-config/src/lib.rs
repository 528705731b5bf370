//! From a TOML file and its _base_ chain to one tree that knows where each value was written.
