//! A plugin crate as an example: efficient channel attention, which the core lacks, between backbone and neck.
//!
//! `mmy new plugin` makes a crate of this form outside of mmy's checkout.

pub mod eca;
