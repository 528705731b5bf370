//! What the loader hands to the model.

use tch::Tensor;

use crate::{ImageMeta, Instance};

/// A batch of pictures of one size with their targets.
#[derive(Debug)]
pub struct Batch {
    /// Pictures, `(B, 3, H, W)`, u8, blue first, channels-last in memory.
    pub inputs: Tensor,
    /// What to learn from them; none at test time.
    pub targets: Targets,
    /// One for each picture.
    pub metas: Vec<ImageMeta>,
    /// Ground truth in pixels of the stored picture, one list for each picture, for metrics; empty while training.
    pub ground_truth: Vec<Vec<Instance>>,
}

/// Boxes to learn, of all pictures of a batch in one table.
#[derive(Debug)]
pub struct Targets {
    /// `(N, 6)`, f32, on the CPU: picture index in the batch, class index, x1, y1, x2, y2 in pixels of the network
    /// input.
    pub bboxes_labels: Tensor,
}

impl Targets {
    /// A table without rows.
    pub fn none() -> Self {
        Targets { bboxes_labels: Tensor::zeros([0, 6], (tch::Kind::Float, tch::Device::Cpu)) }
    }

    /// A table from the instances of each picture, in order; ignored ones are left out.
    pub fn from_instances<'a>(pictures: impl IntoIterator<Item = &'a [Instance]>) -> Self {
        let mut rows = Vec::new();
        for (index, instances) in pictures.into_iter().enumerate() {
            for it in instances.iter().filter(|it| !it.ignore) {
                rows.extend([index as f32, it.label as f32]);
                rows.extend(it.bbox.xyxy());
            }
        }
        let n = (rows.len() / 6) as i64;
        Targets { bboxes_labels: Tensor::from_slice(&rows).view([n, 6]) }
    }
}

impl Batch {
    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Whether there is no picture in it.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }
}
