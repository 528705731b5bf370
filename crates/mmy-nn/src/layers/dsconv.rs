//! DSConv's kernels (arXiv 1901.01928): whole numbers, a scale for each block of input channels, a shift of each output
//! channel.

use std::sync::Arc;

use mmy_torch::{
    autograd::is_grad_enabled,
    memory_format::{MemoryFormat, to_memory_format},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    Init, Role, Scope, StateDict,
    quantise::{blocks, closest, pack, packed_len, published, spread, unpack},
    reparam::{Trained, Unmade},
};

/// What of a DSConv kernel is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DsKernel {
    /// Ordinary weights, which are quantised anew in every forward pass; the gradient takes no notice of that
    /// (straight-through).
    #[default]
    Shadow,
    /// The scales; the whole numbers, made from a trained kernel, stay.
    Fixed,
    /// Ordinary weights, not quantised at all, as the published layer computes.
    Plain,
}

/// How convolutions made in a [scope](Scope::dsconv) keep their kernels.
///
/// The kernel is `CDSw · (KDSw · q / 2^(bits−1) + KDSb) + CDSb`: `q` are the whole numbers of `bits` bits, KDS ("kernel
/// distribution shift") has a scale and perhaps a shift for each output channel, block of input channels and place of the
/// kernel, CDS ("channel distribution shift") has one of both for each output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct DsConv {
    /// Bits of a number, one of [`crate::quantise::BITS`].
    pub bits: u8,
    /// Input channels that share a scale.
    pub block_size: i64,
    /// What is trained.
    pub kernel: DsKernel,
    /// Whether there is a KDSb; of [`DsKernel::Fixed`] alone.
    pub kds_shift: bool,
    /// Whether there are CDSw and CDSb.
    pub cds: bool,
    /// Kernels that see fewer channels stay as they are: their scales would take more room than their numbers.
    pub min_channels: i64,
    /// Paths at and below which kernels stay as they are.
    pub skip: Vec<String>,
}

impl DsConv {
    /// Whether the convolution at `path` has such a kernel, when it sees `in_per_group` channels.
    pub(crate) fn applies(&self, path: &str, in_per_group: i64) -> bool {
        let below = |it: &String| path.strip_prefix(it.as_str()).is_some_and(|it| it.is_empty() || it.starts_with('.'));
        self.kernel != DsKernel::Plain && in_per_group >= self.min_channels && !self.skip.iter().any(below)
    }

    /// 2^(bits−1), which the scale is that of.
    fn half(&self) -> f64 {
        f64::from(1u32 << (self.bits - 1))
    }

    fn packed(&self, shape: [i64; 4]) -> i64 {
        packed_len(shape.iter().product::<i64>() as usize, self.bits) as i64
    }

    fn per_block(&self, [out, channels, height, width]: [i64; 4]) -> [i64; 4] {
        [out, blocks(channels, self.block_size), height, width]
    }
}

/// A convolution's kernel, however it is kept.
#[derive(Debug)]
pub(crate) enum Weight {
    Plain(Tensor),
    Quantised(Box<DsWeight>),
}

impl Weight {
    /// Makes a kernel of that shape, in the form that the scope asks for.
    pub(crate) fn new(scope: &Scope, shape: [i64; 4]) -> Self {
        match scope.dsconv_of(shape[1]) {
            None => Self::plain(scope, shape),
            Some(_) if scope.is_deployed() => {
                let read = Self::reader(scope, shape);
                scope.made_from(&["weight"], move |trained| Ok(vec![read(trained)?]));
                Self::plain(scope, shape)
            }
            Some(form) => Weight::Quantised(Box::new(DsWeight::new(scope, form, shape))),
        }
    }

    /// Makes an ordinary kernel.
    pub(crate) fn plain(scope: &Scope, shape: [i64; 4]) -> Self {
        Weight::Plain(scope.param("weight", &shape, scope.start().weight(), Role::Weight))
    }

    /// The kernel that is convolved with.
    pub(crate) fn value(&self) -> Tensor {
        match self {
            Weight::Plain(weight) => weight.shallow_clone(),
            Weight::Quantised(weight) => weight.value(),
        }
    }

    /// Numbers in the parameters.
    pub(crate) fn params(&self) -> u64 {
        match self {
            Weight::Plain(weight) => weight.numel() as u64,
            Weight::Quantised(weight) => weight.params(),
        }
    }

    /// Reads the kernel that a trained convolution at `scope` has.
    pub(crate) fn reader(
        scope: &Scope,
        shape: [i64; 4],
    ) -> impl Fn(&Trained<'_>) -> Result<Tensor, Unmade> + Clone + Send + Sync + use<> {
        let form = scope.dsconv_of(shape[1]);
        move |trained| match &form {
            None => trained.get("weight", &shape),
            Some(form) => read(trained, form, shape),
        }
    }
}

/// A kernel of whole numbers.
#[derive(Debug)]
pub(crate) struct DsWeight {
    form: Arc<DsConv>,
    shape: [i64; 4],
    numbers: Numbers,
    cds: Option<[Tensor; 2]>,
    format: MemoryFormat,
}

#[derive(Debug)]
enum Numbers {
    /// The ordinary weight.
    Shadow(Tensor),
    /// Packed whole numbers, KDSw and perhaps KDSb.
    Fixed { intweight: Tensor, kds_scale: Tensor, kds_shift: Option<Tensor> },
}

impl DsWeight {
    fn new(scope: &Scope, form: Arc<DsConv>, shape: [i64; 4]) -> Self {
        let zero = |name: &str, shape: &[i64]| scope.param(name, shape, Init::Const(0.0), Role::Weight);
        let numbers = match form.kernel {
            DsKernel::Fixed => {
                let intweight = scope.buffer("intweight", &[form.packed(shape)], 0.0, Kind::Uint8);
                let kds_scale = zero("KDSw", &form.per_block(shape));
                let kds_shift = form.kds_shift.then(|| zero("KDSb", &form.per_block(shape)));
                Numbers::Fixed { intweight, kds_scale, kds_shift }
            }
            _ => Numbers::Shadow(scope.param("weight", &shape, Init::KaimingUniform, Role::Weight)),
        };
        let cds = form.cds.then(|| {
            // Decay would pull this scale to 0, as it would that of a norm.
            let scale = scope.param("CDSw", &shape[..1], Init::Const(1.0), Role::NormWeight);
            [scale, zero("CDSb", &shape[..1])]
        });
        if form.kernel == DsKernel::Fixed {
            Self::make_from_float(scope, form.clone(), shape);
        }
        DsWeight { form, shape, numbers, cds, format: scope.store().format() }
    }

    /// How a trained convolution's weights become whole numbers.
    fn make_from_float(scope: &Scope, form: Arc<DsConv>, shape: [i64; 4]) {
        let mut outputs = vec!["intweight", "KDSw"];
        outputs.extend(form.kds_shift.then_some("KDSb"));
        outputs.extend(form.cds.then_some(["CDSw", "CDSb"]).into_iter().flatten());
        scope.made_from(&outputs, move |trained| {
            let weight = trained.get("weight", &shape)?;
            let found = closest(&weight, form.bits, form.block_size);
            let zeros = Tensor::zeros_like(&found.scale);
            let mut made = vec![Tensor::from_slice(&pack(&found.q, form.bits)), found.scale * form.half()];
            made.extend(form.kds_shift.then_some(zeros));
            if form.cds {
                let [scale, shift] = read_cds(trained, shape)?;
                made.extend([scale, shift]);
            }
            Ok(made)
        });
    }

    fn value(&self) -> Tensor {
        let DsConv { bits, block_size, .. } = *self.form;
        let kernel = match &self.numbers {
            Numbers::Shadow(weight) => {
                let rounded = tch::no_grad(|| published(weight, bits, block_size, true).kernel(block_size));
                match is_grad_enabled() {
                    // The values are those of `rounded`, the gradient is that of `weight`.
                    true => weight + (rounded - weight).detach(),
                    false => rounded,
                }
            }
            Numbers::Fixed { intweight, kds_scale, kds_shift } => {
                fixed(&self.form, self.shape, intweight, kds_scale, kds_shift.as_ref())
            }
        };
        let kernel = shifted(kernel, self.cds.as_ref());
        to_memory_format(&kernel, self.format).unwrap_or(kernel)
    }

    fn params(&self) -> u64 {
        let numbers = match &self.numbers {
            Numbers::Shadow(weight) => weight.numel(),
            Numbers::Fixed { kds_scale, kds_shift, .. } => {
                kds_scale.numel() + kds_shift.as_ref().map_or(0, Tensor::numel)
            }
        };
        (numbers + self.cds.iter().flatten().map(Tensor::numel).sum::<usize>()) as u64
    }
}

/// `KDSw · q / 2^(bits−1) + KDSb`.
fn fixed(form: &DsConv, shape: [i64; 4], packed: &Tensor, scale: &Tensor, shift: Option<&Tensor>) -> Tensor {
    let bytes = Vec::<u8>::try_from(packed.contiguous()).unwrap_or_default();
    let q = unpack(&bytes, form.bits, shape.iter().product::<i64>() as usize);
    let q = Tensor::from_slice(&q).to_device(scale.device()).to_kind(scale.kind()).view(shape) / form.half();
    let kernel = q * spread(scale, form.block_size, shape[1]);
    match shift {
        Some(shift) => kernel + spread(shift, form.block_size, shape[1]),
        None => kernel,
    }
}

/// `CDSw · kernel + CDSb`.
fn shifted(kernel: Tensor, cds: Option<&[Tensor; 2]>) -> Tensor {
    match cds {
        Some([scale, shift]) => kernel * scale.view([-1, 1, 1, 1]) + shift.view([-1, 1, 1, 1]),
        None => kernel,
    }
}

/// CDSw and CDSb of a trained convolution, 1 and 0 where it has none.
fn read_cds(trained: &Trained<'_>, shape: [i64; 4]) -> Result<[Tensor; 2], Unmade> {
    let full = |value: f64| Tensor::full([shape[0]], value, (Kind::Double, tch::Device::Cpu));
    let scale = trained.find("CDSw", &shape[..1])?.unwrap_or_else(|| full(1.0));
    let shift = trained.find("CDSb", &shape[..1])?.unwrap_or_else(|| full(0.0));
    Ok([scale, shift])
}

/// The kernel that a trained convolution of that form convolves with, from its whole numbers or, where it has none yet,
/// from the weights that they would be made of.
fn read(trained: &Trained<'_>, form: &DsConv, shape: [i64; 4]) -> Result<Tensor, Unmade> {
    let block = form.block_size;
    let kernel = match trained.get("intweight", &[form.packed(shape)]) {
        Ok(packed) => {
            let scale = trained.get("KDSw", &form.per_block(shape))?;
            let shift = trained.find("KDSb", &form.per_block(shape))?;
            fixed(form, shape, &packed, &scale, shift.as_ref())
        }
        Err(Unmade::Missing(_)) => {
            let weight = trained.get("weight", &shape)?;
            match form.kernel {
                DsKernel::Fixed => closest(&weight, form.bits, block).kernel(block),
                _ => published(&weight, form.bits, block, true).kernel(block),
            }
        }
        Err(other) => return Err(other),
    };
    Ok(shifted(kernel, Some(&read_cds(trained, shape)?)))
}

/// One kernel before and after it was made of whole numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Path of the convolution.
    pub path: String,
    /// Shape of its kernel.
    pub shape: Vec<i64>,
    /// Bytes of the float32 kernel.
    pub float_bytes: usize,
    /// Bytes of whole numbers, scales and shifts.
    pub stored_bytes: usize,
    /// Root of the mean squared difference, divided by that of the float32 kernel.
    pub error: f64,
}

/// Holds the quantised kernels of `after` (by the names of a model whose kernels are [`DsKernel::Fixed`]) against the
/// float32 ones of `before`, in the order of `names`.
pub fn compare<'a>(
    form: &DsConv,
    before: &StateDict,
    after: &StateDict,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<Compared> {
    let path = |name: &'a str| name.strip_suffix(".intweight");
    let row = |path: &str| {
        let weight = before.get(&format!("{path}.weight"))?;
        let shape: [i64; 4] = weight.size().try_into().ok()?;
        let part = |name: &str| after.get(&format!("{path}.{name}"));
        let cds = part("CDSw").zip(part("CDSb")).map(|it| [it.0.shallow_clone(), it.1.shallow_clone()]);
        let kernel = tch::no_grad(|| {
            let kernel = fixed(form, shape, part("intweight")?, part("KDSw")?, part("KDSb"));
            Some(shifted(kernel, cds.as_ref()))
        })?;
        let square = |it: Tensor| it.square().sum(Kind::Double).double_value(&[]);
        let error = (square(weight - kernel) / square(weight.shallow_clone()).max(f64::MIN_POSITIVE)).sqrt();
        let bytes = |it: &Tensor| it.numel() * it.kind().elt_size_in_bytes();
        let stored = ["intweight", "KDSw", "KDSb", "CDSw", "CDSb"].into_iter().filter_map(part).map(bytes).sum();
        let shape = shape.to_vec();
        Some(Compared { path: path.to_owned(), shape, float_bytes: bytes(weight), stored_bytes: stored, error })
    };
    names.into_iter().filter_map(path).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{
        LoadPolicy, ParamStore,
        layers::{Activation, Conv, Conv2d, ConvModule, Norm},
        testing::{assert_close, fill, sfield},
        trace,
    };

    fn form(kernel: DsKernel) -> DsConv {
        DsConv { bits: 4, block_size: 16, kernel, kds_shift: true, cds: true, min_channels: 8, skip: vec![] }
    }

    fn conv(store: &ParamStore, kernel: DsKernel) -> Conv2d {
        Conv2d::new(&(store.root().dsconv(form(kernel)) / "conv"), 40, 24, Conv::new(3, 1).with_bias())
    }

    fn state(store: &ParamStore) -> StateDict {
        store.state_dict().into_iter().map(|(name, it)| (name, it.detach())).collect()
    }

    #[test]
    fn fixed_kernels_are_made_of_a_trained_one_and_come_back_from_a_file() {
        let (float, quantised) = (ParamStore::new(Device::Cpu, 3), ParamStore::new(Device::Cpu, 4));
        let (plain, fixed) = (conv(&float, DsKernel::Plain), conv(&quantised, DsKernel::Fixed));
        let report = quantised.load_state(&state(&float), LoadPolicy::Exact).unwrap();
        assert_eq!(report.applied.len(), 6);
        let x = sfield("x", &[2, 40, 6, 7], 1.0);
        let (want, got) = (plain.forward(&x), fixed.forward(&x));
        // 15 levels: a kernel spread evenly over its range is off by about a level's √12th part.
        let off = crate::testing::relative_error(&got, &want);
        assert!((0.001..0.2).contains(&off), "{off}");
        let rows = compare(&form(DsKernel::Fixed), &state(&float), &state(&quantised), ["conv.intweight", "conv.bias"]);
        assert_eq!((rows.len(), rows[0].float_bytes), (1, 24 * 40 * 9 * 4));
        assert_eq!(rows[0].stored_bytes, 24 * 40 * 9 / 2 + 2 * 24 * 3 * 9 * 4 + 2 * 24 * 4);
        assert!(rows[0].error < 0.1, "{rows:?}");

        let again = ParamStore::new(Device::Cpu, 5);
        let copy = conv(&again, DsKernel::Fixed);
        again.load_state(&state(&quantised), LoadPolicy::Exact).unwrap();
        assert_eq!(copy.forward(&x), got);
    }

    #[test]
    fn scales_and_shifts_are_trained_and_whole_numbers_stay() {
        let store = ParamStore::new(Device::Cpu, 3);
        let layer = conv(&store, DsKernel::Fixed);
        let float = ParamStore::new(Device::Cpu, 4);
        conv(&float, DsKernel::Plain);
        store.load_state(&state(&float), LoadPolicy::Exact).unwrap();
        layer.forward(&sfield("x", &[1, 40, 5, 5], 1.0)).square().sum(Kind::Float).backward();
        for name in ["KDSw", "KDSb", "CDSw", "CDSb", "bias"] {
            let grad = store.get(&format!("conv.{name}")).unwrap().grad();
            assert!(grad.defined() && grad.abs().max().double_value(&[]) > 0.0, "{name}");
        }
        assert!(!store.get("conv.intweight").unwrap().requires_grad());
    }

    #[test]
    fn shadow_weights_see_the_gradient_of_the_quantised_kernel() {
        let store = ParamStore::new(Device::Cpu, 3);
        let scope = store.root().dsconv(DsConv { cds: false, ..form(DsKernel::Shadow) });
        let layer = Conv2d::new(&scope, 40, 24, Conv::new(3, 1));
        assert_eq!(store.num_params(), 24 * 40 * 9);
        let x = sfield("x", &[1, 40, 5, 5], 1.0);
        let y = layer.forward(&x);
        y.sum(Kind::Float).backward();
        let rounded = tch::no_grad(|| layer.weight()).set_requires_grad(true);
        let want = x.conv2d(&rounded, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
        want.sum(Kind::Float).backward();
        assert_close("output", &y, &want, 1e-6);
        assert_close("gradient", &store.get("weight").unwrap().grad(), &rounded.grad(), 1e-6);
        let levels: std::collections::HashSet<u32> = {
            let block = rounded.detach().select(0, 0).narrow(0, 0, 16).select(1, 0).select(1, 0);
            Vec::<f32>::try_from(block).unwrap().into_iter().map(f32::to_bits).collect()
        };
        assert!(levels.len() <= 16, "{} levels in a block of 4 bits", levels.len());
    }

    #[test]
    fn deployed_kernels_are_ordinary_ones() {
        for kernel in [DsKernel::Shadow, DsKernel::Fixed] {
            let (trained, deployed) = (ParamStore::new(Device::Cpu, 3), ParamStore::new(Device::Cpu, 3).deployed());
            let module = |store: &ParamStore| {
                let scope = store.root().dsconv(form(kernel));
                ConvModule::new(&scope, 40, 24, Conv::new(3, 2), Norm::TORCH, Activation::SiLU)
            };
            let (before, after) = (module(&trained), module(&deployed));
            let float = ParamStore::new(Device::Cpu, 3);
            ConvModule::new(&float.root(), 40, 24, Conv::new(3, 2), Norm::TORCH, Activation::SiLU);
            fill(&float, 1.0, "");
            trained.load_state(&state(&float), LoadPolicy::Lenient).unwrap();
            deployed.load_state(&state(&trained), LoadPolicy::Exact).unwrap();
            assert_eq!(deployed.entries().len(), 2);
            let x = sfield("x", &[2, 40, 6, 7], 1.0);
            let forward = |it: &ConvModule| tch::no_grad(|| it.forward(&x, false));
            assert_close("deployed", &forward(&after), &forward(&before), 2e-6);
        }
    }

    #[test]
    fn parameters_and_shapes_are_counted_without_memory() {
        for kernel in [DsKernel::Shadow, DsKernel::Fixed, DsKernel::Plain] {
            let store = ParamStore::dry();
            let layer = conv(&store, kernel);
            let x = Tensor::zeros([1, 40, 8, 8], (Kind::Float, Device::Cpu));
            let (y, rows) = trace::shapes(|| layer.forward(&x));
            assert_eq!((y.size(), rows[0].params), (vec![1, 24, 8, 8], store.num_params()), "{kernel:?}");
            assert_eq!(rows[0].macs, 8 * 8 * 24 * 40 * 9);
        }
    }

    #[test]
    fn the_outermost_form_holds_and_small_or_skipped_kernels_stay() {
        let outer = DsConv { skip: vec!["head".into()], ..form(DsKernel::Fixed) };
        let scope = ParamStore::dry().root().dsconv(outer);
        let inner = scope.dsconv(form(DsKernel::Shadow));
        assert_eq!((&inner / "neck").dsconv_of(8).map(|it| it.kernel), Some(DsKernel::Fixed));
        assert!((&inner / "neck").dsconv_of(7).is_none());
        assert!((&inner / "head" / "conv").dsconv_of(64).is_none());
        assert!((&inner / "header").dsconv_of(64).is_some());
    }
}
