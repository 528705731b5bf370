//! The predictions that a loss looks at, taken out of a level's table in one step.
//!
//! A loss needs a few hundred rows and one column. Taken one after the other, each has a gradient of the whole table's
//! size, which is then summed; together they fill one.

use mmy_torch::{
    BoxError, Error,
    function::{Backward, Forward, Function, apply},
};
use tch::{Device, Kind, Tensor};

/// Rows and one column of a table (N, W), both in float32: (rows, W) and (N). Differentiable as often as one likes.
///
/// # Errors
/// When an index is out of range.
pub(super) fn rows_and_column(table: &Tensor, rows: &Tensor, column: i64) -> Result<(Tensor, Tensor), Error> {
    let (size, kind, device) = (table.size(), table.kind(), table.device());
    let gather = Gather { rows: rows.shallow_clone(), column, size, kind, device };
    let mut outputs = apply(gather, &[table])?.into_iter();
    Ok((outputs.next().unwrap_or_default(), outputs.next().unwrap_or_default()))
}

struct Gather {
    rows: Tensor,
    column: i64,
    size: Vec<i64>,
    kind: Kind,
    device: Device,
}

impl Function for Gather {
    fn forward(&mut self, _ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        let rows = inputs[0].f_index_select(0, &self.rows)?.f_to_kind(Kind::Float)?;
        let column = inputs[0].f_select(1, self.column)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        Ok(vec![rows, column])
    }

    fn backward(&self, _ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let mut table = Tensor::f_zeros(&self.size, (self.kind, self.device))?;
        if let Some(rows) = &grads[0] {
            table = table.f_index_add_(0, &self.rows, &rows.f_to_kind(self.kind)?)?;
        }
        if let Some(column) = &grads[1] {
            let _ = table.f_select(1, self.column)?.f_add_(&column.f_to_kind(self.kind)?)?;
        }
        Ok(vec![Some(table)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_plain_operators() {
        let table = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([6, 4]).sin();
        for indices in [&[4i64, 0, 4, 5][..], &[]] {
            let rows = Tensor::from_slice(indices);
            let (ours, plain) = (table.copy().set_requires_grad(true), table.copy().set_requires_grad(true));
            let (a, b) = rows_and_column(&ours, &rows, 2).unwrap();
            let (c, d) = (plain.index_select(0, &rows), plain.select(1, 2));
            assert_eq!((&a, &b), (&c, &d));
            (a.square().sum(Kind::Float) + b.exp().sum(Kind::Float)).backward();
            (c.square().sum(Kind::Float) + d.exp().sum(Kind::Float)).backward();
            assert!(ours.grad().allclose(&plain.grad(), 1e-6, 1e-7, false));
        }
        assert!(rows_and_column(&table, &Tensor::from_slice(&[6i64]), 2).is_err());
    }
}
