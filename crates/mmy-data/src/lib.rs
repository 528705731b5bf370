//! Data sets, transforms, samplers and the loader.
