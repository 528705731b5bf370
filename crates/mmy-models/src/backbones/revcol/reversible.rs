//! The backward pass that keeps no activations: a column's inputs are computed anew from its outputs.
//!
//! The forward pass runs without a graph and keeps the stem's map and the last column's outputs. The backward pass of a
//! column goes from its last level to its first: it runs a level again with a graph, takes its gradients, and divides
//! what is left of the level's output by the level's factor, which gives the input that the column before gave out. That
//! is handed to the column before, whose own backward pass comes next.
//!
//! Each division enlarges what was rounded away by one over the factor, and each level by its own slope: in float32 the
//! first of nine columns came back with an error of hundredths. So columns add up in float64, while levels compute in
//! float32. A map that comes back is then the same float32 number, and a level gives the same again, however many
//! columns there are.

use std::{
    array, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mmy_torch::{
    BoxError, Error,
    autocast::State,
    autograd::{Graph, grad, is_grad_enabled, no_grad, with_grad},
    function::{Backward, Forward, Function, apply},
    rng,
};
use tch::{Kind, Tensor};

use super::column::{Column, Columns, LEVELS, Maps, locked};

/// What columns add up in.
const SUM: Kind = Kind::Double;

/// The maps of the last column; `visit` sees those of each. With `draws`, layers draw at random.
///
/// # Errors
/// When libtorch refuses something.
pub(super) fn forward(
    columns: &Columns,
    stem: &Tensor,
    train: bool,
    draws: bool,
    visit: &mut dyn FnMut(usize, &Maps),
) -> Result<Maps, Error> {
    let chain = Arc::new(Chain {
        columns: columns.clone(),
        train,
        autocast: State::current(stem.device())?,
        draws: draws.then(Mutex::default),
        rebuilt: Mutex::default(),
    });
    let mut newest: Option<Maps> = None;
    for (index, column) in columns.iter().enumerate() {
        let params = locked(column).params();
        let inputs: Vec<_> = [stem].into_iter().chain(newest.iter().flatten()).chain(&params).collect();
        let keep = index + 1 == columns.len();
        let outputs = apply(Reversible { chain: chain.clone(), index, keep }, &inputs)?;
        let outputs = maps(outputs)?;
        visit(index, &in_float(&outputs));
        newest = Some(outputs);
    }
    Ok(in_float(&newest.unwrap_or_default()))
}

/// The maps as whoever reads them takes them.
fn in_float(maps: &Maps) -> Maps {
    maps.each_ref().map(|it| it.to_kind(Kind::Float))
}

fn maps(tensors: Vec<Tensor>) -> Result<Maps, Error> {
    tensors.try_into().map_err(|_| Error::Argument("a column has not four maps".into()))
}

/// What the columns of one forward pass share.
struct Chain {
    columns: Columns,
    train: bool,
    autocast: State,
    /// The generator's state before each level of each column, where layers draw.
    draws: Option<Mutex<Vec<Vec<u8>>>>,
    /// The outputs of the column of that index, which the backward pass of the one behind it has computed.
    rebuilt: Mutex<Option<(usize, Maps)>>,
}

impl Chain {
    fn rebuilt(&self) -> MutexGuard<'_, Option<(usize, Maps)>> {
        self.rebuilt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draws(&self) -> Option<MutexGuard<'_, Vec<Vec<u8>>>> {
        self.draws.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts the generator where it was before that level's forward pass.
    fn replay(&self, column: usize, level: usize) -> Result<(), Error> {
        match self.draws().as_ref().and_then(|it| it.get(column * LEVELS + level)) {
            Some(state) => rng::set_state(state),
            None => Ok(()),
        }
    }

    /// The outputs of column `last` from the beginning: for a result that depends on no column behind it, so that none
    /// has handed them over.
    fn computed_anew(&self, stem: &Tensor, last: usize) -> Result<Maps, Error> {
        no_grad(|| {
            let mut maps: Option<Maps> = None;
            for (index, column) in self.columns[..=last].iter().enumerate() {
                let mut failed = Ok(());
                let next = locked(column).forward(stem, maps.as_ref(), self.train, SUM, |level| {
                    if let Err(error) = self.replay(index, level) {
                        failed = Err(error);
                    }
                });
                failed?;
                maps = Some(next);
            }
            Ok(maps.unwrap_or_default())
        })
    }
}

/// One column as a function of the stem's map, the maps of the column before (not the first column), the parameters of
/// its levels, and its factors.
struct Reversible {
    chain: Arc<Chain>,
    index: usize,
    keep: bool,
}

impl Reversible {
    fn column(&self) -> MutexGuard<'_, Column> {
        locked(&self.chain.columns[self.index])
    }
}

impl Function for Reversible {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        let column = self.column();
        let old: Option<Maps> = (!column.is_first()).then(|| array::from_fn(|l| inputs[1 + l].shallow_clone()));
        let mut failed = Ok(());
        let new = column.forward(inputs[0], old.as_ref(), self.chain.train, SUM, |_| {
            if let Some(mut draws) = self.chain.draws() {
                match rng::state() {
                    Ok(state) => draws.push(state),
                    Err(error) => failed = Err(error),
                }
            }
        });
        failed?;
        // The parameters are among them so that a change in place before the backward pass is noticed.
        let maps = old.map_or(0, |it| it.len());
        ctx.save_for_backward(&inputs[..1]);
        ctx.save_for_backward(&inputs[1 + maps..]);
        if self.keep {
            ctx.save_for_backward(&new.each_ref());
        }
        Ok(new.into())
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        if is_grad_enabled() {
            return Err("gradients of a reversible pass cannot be differentiated: set reversible = false".into());
        }
        let mut saved = ctx.saved()?;
        let stem = saved.first().map(Tensor::shallow_clone).ok_or("the stem's map is gone")?;
        let _autocast = self.chain.autocast.enter()?;
        let generator = self.chain.draws.as_ref().map(|_| rng::state()).transpose()?;
        let handed = self.chain.rebuilt().take().filter(|it| it.0 == self.index);
        let outputs = match handed {
            _ if self.keep => maps(saved.split_off(saved.len() - LEVELS))?,
            Some((_, maps)) => maps,
            None => self.chain.computed_anew(&stem, self.index)?,
        };
        let walk = Walk::new(self, stem, outputs, grads).run(&self.column());
        if let Some(state) = generator {
            rng::set_state(&state)?;
        }
        Ok(walk?)
    }
}

/// The backward pass of one column, level by level.
struct Walk<'a> {
    of: &'a Reversible,
    stem: Tensor,
    /// This column's maps; the column before's, where the walk has passed.
    maps: Maps,
    /// Gradients of this column's maps; of the column before's, where the walk has passed.
    grads: [Option<Tensor>; LEVELS],
    stem_grad: Option<Tensor>,
    /// Gradients of each level's parameters.
    params: [Vec<Option<Tensor>>; LEVELS],
    alphas: [Option<Tensor>; LEVELS],
}

impl<'a> Walk<'a> {
    fn new(of: &'a Reversible, stem: Tensor, maps: Maps, grads: &[Option<Tensor>]) -> Self {
        let grads = array::from_fn(|l| grads.get(l).and_then(Option::as_ref).map(Tensor::shallow_clone));
        Walk { of, stem, maps, grads, stem_grad: None, params: Default::default(), alphas: Default::default() }
    }

    fn run(mut self, column: &Column) -> Result<Vec<Option<Tensor>>, Error> {
        for l in (0..LEVELS).rev() {
            self.level(column, l)?;
        }
        let Walk { of, maps, grads, stem_grad, params, alphas, .. } = self;
        if let Some(before) = of.index.checked_sub(1) {
            *of.chain.rebuilt() = Some((before, maps));
        }
        let old: Vec<_> = match column.is_first() {
            true => Vec::new(),
            false => grads.into_iter().map(|it| it.map(|it| it.to_kind(SUM))).collect(),
        };
        Ok([stem_grad].into_iter().chain(old).chain(params.into_iter().flatten()).chain(alphas).collect())
    }

    /// Undoes level `l`: its map becomes the column before's, and so does its gradient.
    fn level(&mut self, column: &Column, l: usize) -> Result<(), Error> {
        let Walk { of, maps, .. } = self;
        let train = of.chain.train;
        let (level, alpha) = (&column.levels()[l], column.alphas()[l].detach());
        of.chain.replay(of.index, l)?;
        let leaf = |map: &Tensor| map.detach().to_kind(Kind::Float).set_requires_grad(true);
        let below = match l.checked_sub(1) {
            Some(below) => leaf(&maps[below]),
            None => self.stem.detach().set_requires_grad(true),
        };
        // The walk has passed the level above, so its map is the one that this level saw.
        let above = maps.get(l + 1).filter(|_| !column.is_first()).map(leaf);
        let upstream = mem::take(&mut self.grads[l]);
        let y = match upstream {
            Some(_) => with_grad(|| level.forward(&below, above.as_ref(), train)),
            None => level.forward(&below, above.as_ref(), train),
        };
        if !column.is_first() {
            maps[l] = no_grad(|| (&maps[l] - y.detach()) / &alpha);
        }
        let Some(upstream) = upstream else {
            self.params[l] = level.params().iter().map(|_| None).collect();
            return Ok(());
        };

        let wanted: Vec<_> = [&below].into_iter().chain(&above).chain(level.params()).collect();
        let mut found = grad(&[y], &wanted, &[Some(upstream.to_kind(Kind::Float))], Graph::Free)?.into_iter();
        let below_grad = found.next().flatten();
        add(if l == 0 { &mut self.stem_grad } else { &mut self.grads[l - 1] }, below_grad);
        if above.is_some() {
            add(&mut self.grads[l + 1], found.next().flatten());
        }
        self.params[l] = found.collect();
        if column.is_first() {
            self.alphas[l] = Some(alpha.zeros_like());
        } else {
            self.alphas[l] = Some((&upstream * &maps[l]).sum_dim_intlist([0i64, 2, 3].as_slice(), true, Kind::Float));
            self.grads[l] = Some(upstream * alpha);
        }
        Ok(())
    }
}

fn add(to: &mut Option<Tensor>, more: Option<Tensor>) {
    *to = match (to.take(), more) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
}
