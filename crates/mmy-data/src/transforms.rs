//! The steps of a pipeline, under MMYOLO's names.
