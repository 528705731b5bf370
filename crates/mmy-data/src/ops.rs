//! What the transforms do to pixels, held against OpenCV's numbers.
