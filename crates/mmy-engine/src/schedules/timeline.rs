//! The values of all schedules, step by step.

use mmy_eval::Evaluation;
use serde::{Deserialize, Serialize};

use super::{Motion, Param, ParamScheduler, ScheduleArgs, reduce_on_plateau::Memory};
use crate::{error::Result, optim::ParamGroup};

/// What the plateau schedules remember: all that a resumed run cannot compute anew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateaus {
    /// One for each plateau schedule, in the order of the config.
    memories: Vec<Memory>,
    /// Training steps after which one of them acted, with its index in the config's list.
    drops: Vec<(usize, usize)>,
}

/// Learning rate and momentum of each group, as the schedules lead them from the start of a run.
#[derive(Debug)]
pub struct Timeline {
    schedules: Vec<ParamScheduler>,
    epoch_len: usize,
    /// For each group, learning rate and momentum of the config.
    bases: Vec<[f64; 2]>,
    /// The same, now.
    values: Vec<[f64; 2]>,
    iter: usize,
    epoch: usize,
    plateaus: Plateaus,
    /// How many of `plateaus.drops` are in `values`.
    dropped: usize,
}

impl Timeline {
    /// At the first step of a run. `plateaus` is what [`Timeline::plateaus`] gave in the run that goes on.
    pub fn new(
        schedules: Vec<ParamScheduler>,
        args: ScheduleArgs,
        groups: &[ParamGroup],
        mut plateaus: Plateaus,
    ) -> Self {
        let bases: Vec<_> = groups.iter().map(|it| [it.initial_lr, it.initial_momentum]).collect();
        plateaus.memories.resize_with(schedules.len(), Memory::default);
        let values = bases.clone();
        let epoch_len = args.epoch_len;
        let mut out = Timeline { schedules, epoch_len, bases, values, iter: 0, epoch: 0, plateaus, dropped: 0 };
        // In the order of the config, whatever each counts in.
        (0..out.schedules.len()).for_each(|at| out.apply(at, 0));
        out
    }

    /// What the plateau schedules remember.
    pub fn plateaus(&self) -> &Plateaus {
        &self.plateaus
    }

    /// Goes on to where `iter` training steps and `epoch` epochs are over, and sets the groups' values.
    pub fn advance(&mut self, iter: usize, epoch: usize, groups: &mut [ParamGroup]) {
        loop {
            if self.epoch < epoch && self.iter == (self.epoch + 1) * self.epoch_len {
                self.epoch += 1;
                self.step(true, self.epoch);
            }
            while let Some((at, schedule)) = self.plateaus.drops.get(self.dropped).copied()
                && at <= self.iter
            {
                self.dropped += 1;
                self.drop(schedule);
            }
            if self.iter >= iter {
                break;
            }
            self.iter += 1;
            self.step(false, self.iter);
        }
        for (group, [lr, momentum]) in groups.iter_mut().zip(&self.values) {
            (group.lr, group.momentum) = (*lr, *momentum);
        }
    }

    /// Shows the plateau schedules the metrics of a validation; [`Timeline::advance`] does what they lead to.
    ///
    /// # Errors
    /// When one watches a metric that is not there.
    pub fn validated(&mut self, evaluation: &Evaluation) -> Result<()> {
        for (at, schedule) in self.schedules.iter().enumerate() {
            let Motion::Plateau(plateau) = &schedule.motion else { continue };
            if schedule.window.step(self.epoch).is_none() {
                continue;
            }
            if plateau.sees(&mut self.plateaus.memories[at], evaluation)? {
                self.plateaus.drops.push((self.iter, at));
            }
        }
        Ok(())
    }

    /// A step of all schedules that count in this unit.
    fn step(&mut self, by_epoch: bool, now: usize) {
        for at in 0..self.schedules.len() {
            if self.schedules[at].window.by_epoch == by_epoch {
                self.apply(at, now);
            }
        }
    }

    fn apply(&mut self, schedule: usize, now: usize) {
        let ParamScheduler { param, window, motion: Motion::Curve(curve) } = &self.schedules[schedule] else { return };
        let Some(step) = window.step(now) else { return };
        for (values, bases) in self.values.iter_mut().zip(&self.bases) {
            let value = &mut values[column(*param)];
            *value = curve.next(step, *value, bases[column(*param)]);
        }
    }

    fn drop(&mut self, schedule: usize) {
        let Some(ParamScheduler { param, motion: Motion::Plateau(plateau), .. }) = self.schedules.get(schedule) else {
            return;
        };
        for values in &mut self.values {
            let value = &mut values[column(*param)];
            *value = plateau.lower(*value);
        }
    }
}

fn column(param: Param) -> usize {
    match param {
        Param::Lr => 0,
        Param::Momentum => 1,
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;
    use serde_json::Value;

    use super::*;
    use crate::{optim::Defaults, schedules::ParamSchedulerKind};

    const ARGS: ScheduleArgs = ScheduleArgs { epoch_len: 7, max_epochs: 12, max_iters: 84 };

    fn groups() -> Vec<ParamGroup> {
        let of = |lr, momentum| {
            let defaults = Defaults { lr, momentum, weight_decay: 0.0, batch_size: None };
            ParamGroup::new("g", Vec::new(), &defaults, 0.0)
        };
        vec![of(0.01, 0.9), of(0.1, 0.8)]
    }

    fn timeline(list: &Value, plateaus: Plateaus) -> Timeline {
        let slots: Vec<Slot<ParamSchedulerKind>> = serde_json::from_value(list.clone()).unwrap();
        let schedules = slots.iter().map(|it| it.build(ARGS).unwrap()).collect();
        Timeline::new(schedules, ARGS, &groups(), plateaus)
    }

    /// Runs training as the hook does; the groups' values at each step. `metrics` come after each epoch.
    fn run(mut line: Timeline, metrics: &[f64], from: usize) -> (Vec<[f64; 4]>, Timeline) {
        let mut groups = groups();
        let mut rows = Vec::new();
        line.advance(from, from / ARGS.epoch_len, &mut groups);
        for iter in from..ARGS.max_iters {
            rows.push([groups[0].lr, groups[1].lr, groups[0].momentum, groups[1].momentum]);
            let (over, epoch) = (iter + 1, iter / ARGS.epoch_len);
            line.advance(over, epoch, &mut groups);
            if over.is_multiple_of(ARGS.epoch_len) {
                line.advance(over, epoch + 1, &mut groups);
                if let Some(value) = metrics.get(epoch) {
                    let values = vec![("coco/bbox_mAP".to_owned(), *value)];
                    line.validated(&Evaluation { values, table: None }).unwrap();
                    line.advance(over, epoch + 1, &mut groups);
                }
            }
        }
        (rows, line)
    }

    #[test]
    fn every_step_is_mmengines() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/schedules.json")).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        let metrics: Vec<f64> = serde_json::from_value(golden["metrics"].clone()).unwrap();
        let mut names = std::collections::HashSet::new();
        for case in cases {
            for schedule in case["param_scheduler"].as_array().unwrap() {
                names.insert(schedule["type"].as_str().unwrap().to_owned());
            }
            let want: Vec<[f64; 4]> = serde_json::from_value(case["rows"].clone()).unwrap();
            let (rows, _) = run(timeline(&case["param_scheduler"], Plateaus::default()), &metrics, 0);
            assert_eq!(rows.len(), want.len());
            for (step, (ours, want)) in rows.iter().zip(want).enumerate() {
                for (ours, want) in ours.iter().zip(want) {
                    // The same formulas; libm's cosine may differ in the last bit, and errors add up along a chain.
                    let off = (ours - want).abs() / want.abs().max(1e-12);
                    assert!(off < 1e-12, "{}, step {step}: {ours} is not {want}", case["param_scheduler"]);
                }
            }
        }
        let registered = mmy_registry::names("param_scheduler");
        let untested: Vec<_> = registered.iter().filter(|it| !names.contains(**it)).collect();
        assert!(untested.is_empty(), "no golden for {untested:?}");
    }

    #[test]
    fn a_resumed_run_goes_on_with_the_same_values() {
        let list = serde_json::json!([
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": false, "end": 10},
            {"type": "CosineAnnealingLR", "begin": 1, "convert_to_iter_based": true, "eta_min_ratio": 0.05},
            {"type": "StepMomentum", "step_size": 4, "gamma": 0.9},
            {"type": "ReduceOnPlateauLR", "monitor": "coco/bbox_mAP", "patience": 0, "factor": 0.5},
        ]);
        let metrics = [0.1, 0.2, 0.15, 0.15, 0.3, 0.3, 0.2, 0.4, 0.4, 0.4, 0.5, 0.1];
        let (whole, line) = run(timeline(&list, Plateaus::default()), &metrics, 0);
        assert!(!line.plateaus().drops.is_empty());
        for from in [1, 7, 30, 55, 63] {
            // What had happened until then: drops up to this step.
            let mut so_far = line.plateaus().clone();
            so_far.drops.retain(|it| it.0 <= from);
            let json = serde_json::to_string(&so_far).unwrap();
            let resumed = timeline(&list, serde_json::from_str(&json).unwrap());
            let (rows, _) = run(resumed, &[], from);
            // Until the next drop, which needs the metrics.
            let until = line.plateaus().drops.iter().map(|it| it.0).find(|it| *it > from).unwrap_or(whole.len());
            assert_eq!(rows[..until - from], whole[from..until], "from {from}");
        }
    }

    #[test]
    fn windows_that_make_no_sense_are_refused_at_their_keys() {
        let error = |json: &str| {
            let slot: Slot<ParamSchedulerKind> = serde_json::from_str(json).unwrap();
            slot.build(ARGS).unwrap_err().path.join(".")
        };
        assert_eq!(error(r#"{"type": "ConstantLR", "begin": 12}"#), "begin");
        assert_eq!(error(r#"{"type": "ConstantLR", "begin": 5, "end": 5}"#), "begin");
        let both = r#"{"type": "ConstantLR", "by_epoch": false, "convert_to_iter_based": true}"#;
        assert_eq!(error(both), "convert_to_iter_based");
        assert_eq!(error(r#"{"type": "CosineAnnealingLR", "eta_min": 0.1, "eta_min_ratio": 0.1}"#), "eta_min_ratio");
        assert_eq!(error(r#"{"type": "LinearLR", "start_factor": 0.0}"#), "start_factor");
        assert_eq!(error(r#"{"type": "StepLR", "step_size": 0}"#), "step_size");
    }
}
