//! Backbones, necks, heads, losses and detectors.
