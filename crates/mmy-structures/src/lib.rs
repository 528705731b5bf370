//! What travels between data, models and metrics: images, boxes, samples, batches, detections.
