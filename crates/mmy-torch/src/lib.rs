//! The C++ edge over libtorch: what [tch] leaves out.
//!
//! The only crate of the workspace with `unsafe`. Two rules hold at the edge. No C++ exception leaves the C++ side:
//! each entry catches all of them and hands the message back, which becomes [`Error::Torch`]. No Rust panic leaves the
//! Rust side: a callback that libtorch makes catches it and hands it back as a message.
//!
//! | module | what |
//! |---|---|
//! | [`function`] | differentiable operations whose backward pass is written in Rust |
//! | [`autograd`] | gradients of chosen inputs, backward passes that keep the graph, grad mode |
//! | [`autocast`] | mixed precision regions with device and kind |
//! | [`bytes`] | tensors of bytes, put together in one copy |
//! | [`memory_format`] | contiguous and channels-last tensors |
//! | [`rng`] | the default generator's state |
//! | [`depthwise`] | depthwise convolutions whose weight gradient is ours |
//! | [`foreach`] | one operation over a list of tensors |
//! | [`norm_act`] | batch normalisation and activation as one operation |
//! | [`optim`] | fused SGD, Adam and AdamW steps, clipping of gradients |
//! | [`star`] | StarNet's `relu6(a) · b` in one pass |
//! | [`lif`] | spiking neurons over time in one pass |
//! | [`threads`] | libtorch's thread pools |
//! | [`alloc`] | the C allocator's thresholds, peak memory of the process and of tensors |
//! | [`cpu`] | what the processor can do |

pub mod alloc;
pub mod autocast;
pub mod autograd;
pub mod bytes;
pub mod cpu;
pub mod depthwise;
mod error;
mod ffi;
pub mod foreach;
pub mod function;
pub mod lif;
pub mod memory_format;
pub mod norm_act;
pub mod optim;
pub mod rng;
pub mod star;
pub mod threads;

pub use error::{BoxError, Error};
