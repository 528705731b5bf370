//! Backbones, necks, heads, losses and detectors.
//!
//! [`kinds`] says what each family of parts is; every part is one file that registers itself. A detector is built from
//! its config and a place in the parameter tree:
//!
//! ```
//! use mmy_models::kinds::Detector;
//! use mmy_nn::ParamStore;
//! use mmy_registry::Slot;
//!
//! let config = r#"{
//!     "type": "YOLODetector",
//!     "backbone": {"type": "YOLOv5CSPDarknet", "deepen_factor": 0.33, "widen_factor": 0.25},
//!     "neck": {"type": "YOLOv5PAFPN", "deepen_factor": 0.33, "widen_factor": 0.25, "num_csp_blocks": 3},
//!     "bbox_head": {
//!         "type": "YOLOv5Head",
//!         "head_module": {"type": "YOLOv5HeadModule", "widen_factor": 0.25},
//!         "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": true, "loss_weight": 0.5},
//!         "loss_bbox": {"type": "IoULoss", "loss_weight": 0.05},
//!         "loss_obj": {"type": "CrossEntropyLoss", "use_sigmoid": true}
//!     }
//! }"#;
//! let slot: Slot<Detector> = serde_json::from_str(config)?;
//! let store = ParamStore::dry();
//! let model = slot.build(&store.root())?;
//! assert_eq!((model.num_classes(), store.num_params()), (80, 1_872_157));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assigners;
pub mod backbones;
pub mod bbox_coders;
pub mod blocks;
pub mod data_preprocessors;
pub mod detectors;
pub mod heads;
pub mod kinds;
pub mod layer_list;
pub mod layers;
pub mod losses;
pub mod necks;
pub mod nms;
pub mod prior_generators;
mod scaling;
