//! Sums of a branch and its input.

use tch::Tensor;

use crate::trace;

/// `branch + x`, in the memory of `branch` where that is possible.
///
/// While gradients are recorded, nothing may need the values of `branch` for its own gradient: the result of a
/// convolution is fine, that of an activation that works in place is not.
pub fn add_into(mut branch: Tensor, x: &Tensor) -> Tensor {
    if trace::shapes_only() || branch.kind() != x.kind() { branch + x } else { branch.g_add_(x) }
}
