//! What can go wrong at the edge.

/// Any error, as a [`Function`](crate::function::Function) may return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of the C++ edge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch refused: the message of the C++ exception, without its backtrace.
    #[error("{0}")]
    Torch(String),
    /// The forward pass of a function written in Rust failed.
    #[error("in the forward pass of {name}: {source}")]
    Forward {
        /// The Rust type of the function.
        name: &'static str,
        /// What it returned.
        source: BoxError,
    },
    /// An argument is outside its range.
    #[error("{0}")]
    Argument(String),
    /// The underlying tch call failed.
    #[error(transparent)]
    Tch(#[from] tch::TchError),
}
