//! What PyTorch's own functions return, as plain data.

use safetensors::Dtype;

use super::{
    Id, Storage, Tensor, Value, Values,
    machine::{Fault, MAX_NAME, bad},
};

/// What a call comes to.
pub(super) enum Outcome {
    /// A value that is there already.
    Same(Id),
    /// A new one.
    New(Value),
    /// The function is not one of those that are known.
    Unknown,
}

/// The kinds of numbers, by the names of PyTorch's storages and of its dtypes.
const DTYPES: [(&str, &str, Dtype); 19] = [
    ("FloatStorage", "float32", Dtype::F32),
    ("DoubleStorage", "float64", Dtype::F64),
    ("HalfStorage", "float16", Dtype::F16),
    ("BFloat16Storage", "bfloat16", Dtype::BF16),
    ("LongStorage", "int64", Dtype::I64),
    ("IntStorage", "int32", Dtype::I32),
    ("ShortStorage", "int16", Dtype::I16),
    ("CharStorage", "int8", Dtype::I8),
    ("ByteStorage", "uint8", Dtype::U8),
    ("BoolStorage", "bool", Dtype::BOOL),
    ("ComplexFloatStorage", "complex64", Dtype::C64),
    ("", "uint16", Dtype::U16),
    ("", "uint32", Dtype::U32),
    ("", "uint64", Dtype::U64),
    ("", "float8_e4m3fn", Dtype::F8_E4M3),
    ("", "float8_e5m2", Dtype::F8_E5M2),
    ("", "float8_e4m3fnuz", Dtype::F8_E4M3FNUZ),
    ("", "float8_e5m2fnuz", Dtype::F8_E5M2FNUZ),
    ("", "float8_e8m0fnu", Dtype::F8_E8M0),
];

/// What the function `class` returns for `args`.
pub(super) fn result(values: &Values, class: Id, args: Id) -> Result<Outcome, Fault> {
    let Value::Global(name) = values.get(class) else { return Ok(Outcome::Unknown) };
    let args = values.elements(args);
    Ok(match (&*name.module, &*name.name) {
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor" | "_rebuild_tensor_v3") => {
            let dtype = args.get(6).filter(|_| &*name.name == "_rebuild_tensor_v3");
            tensor(values, args, dtype.copied())?
        }
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter", "Parameter" | "Buffer") => match args.first() {
            Some(&data) => Outcome::Same(data),
            None => return bad("a parameter without a tensor"),
        },
        // A subclass of Tensor: the function that makes its tensor, the class, the arguments, the state.
        ("torch._tensor", "_rebuild_from_type_v2") => match args {
            [function, _, args, ..] if *function != class => match values.get(*function) {
                Value::Global(inner) if &*inner.module == "torch._utils" => result(values, *function, *args)?,
                _ => Outcome::Unknown,
            },
            _ => Outcome::Unknown,
        },
        ("collections", "OrderedDict") => match args.first() {
            None => Outcome::New(Value::Dict(Vec::new())),
            // Python 2 writes a list of pairs.
            Some(&list) => {
                let pairs = values.elements(list).iter().filter_map(|&it| match values.elements(it) {
                    &[key, value] => Some((key, value)),
                    _ => None,
                });
                Outcome::New(Value::Dict(pairs.collect()))
            }
        },
        ("torch", "Size") | ("builtins" | "__builtin__", "set" | "frozenset") => match args.first() {
            Some(&items) => Outcome::Same(items),
            None => Outcome::Unknown,
        },
        _ => Outcome::Unknown,
    })
}

/// `(storage, offset, size, stride, …)`.
fn tensor(values: &Values, args: &[Id], dtype: Option<Id>) -> Result<Outcome, Fault> {
    let [storage, offset, size, stride, ..] = args else {
        return bad("a tensor without storage, offset, size, stride");
    };
    match values.get(*storage) {
        Value::Storage(_) => {}
        // Under a reader that gave a storage another name, as in files that were pickled without `torch.save`.
        _ => return Ok(Outcome::Unknown),
    }
    if values.elements(*size).len() > 64 || values.elements(*stride).len() != values.elements(*size).len() {
        return bad("a tensor whose sizes and strides do not fit together");
    }
    let whole = |id: Id| match values.get(id) {
        Value::Int(it) => u64::try_from(*it).or_else(|_| bad("a negative size, stride or offset of a tensor")),
        _ => bad("a size, stride or offset of a tensor that is no number"),
    };
    let shape = values.elements(*size).iter().map(|&it| whole(it).map(|it| it as usize)).collect::<Result<_, _>>()?;
    let shape: Box<[usize]> = shape;
    let stride = values.elements(*stride).iter().map(|&it| whole(it)).collect::<Result<Box<[u64]>, _>>()?;
    let dtype = match dtype.map(|it| values.get(it)) {
        Some(Value::Global(name)) if &*name.module == "torch" => match DTYPES.iter().find(|it| it.1 == &*name.name) {
            Some(row) => Some(row.2),
            None => return Ok(Outcome::Unknown),
        },
        _ => None,
    };
    Ok(Outcome::New(Value::Tensor(Box::new(Tensor {
        storage: *storage,
        dtype,
        offset: whole(*offset)?,
        shape,
        stride,
    }))))
}

/// The value of a persistent name: `("storage", type, key, device, numel)`, or a module's class with its source text.
pub(super) fn persistent(values: &Values, id: Id) -> Result<Outcome, Fault> {
    let parts = values.elements(id);
    match parts.first().and_then(|&it| values.text(it)) {
        Some("storage") => {}
        Some("module") => {
            return match parts.get(1) {
                Some(&class) => Ok(Outcome::Same(class)),
                None => bad("a module without a class"),
            };
        }
        _ => return bad("a persistent name that is not PyTorch's"),
    }
    let [_, class, key, _, numel, ..] = parts else { return bad("a storage without type, key, device, size") };
    let (Some(key), Value::Int(numel), Value::Global(class)) =
        (values.text(*key), values.get(*numel), values.get(*class))
    else {
        return bad("a storage without type, key, device, size");
    };
    let Ok(numel) = u64::try_from(*numel) else { return bad("a storage of a negative size") };
    let dtype = match &*class.name {
        "UntypedStorage" => Some(Dtype::U8),
        name => DTYPES.iter().find(|it| it.0 == name).map(|it| it.2),
    };
    if key.len().max(class.name.len()) > MAX_NAME {
        return bad("a storage with an endless name");
    }
    Ok(Outcome::New(Value::Storage(Box::new(Storage { key: key.into(), class: class.name.clone(), dtype, numel }))))
}
