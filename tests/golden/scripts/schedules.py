"""Writes ../schedules.json: learning rate and momentum of each step under mmengine's schedules.

Needs torch 2.13.0 (CPU) and mmengine 0.10.7: python schedules.py
"""

import json
import pathlib
import warnings

import torch
from mmengine.optim import scheduler as schedulers

warnings.filterwarnings("ignore")
OUT = pathlib.Path(__file__).resolve().parent.parent
EPOCH, EPOCHS = 7, 12
METRICS = [0.1, 0.2, 0.3, 0.3, 0.3, 0.31, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]

FORMS = [
    dict(type="Constant", factor=0.25, by_epoch=False, begin=3, end=20),
    dict(type="Constant", factor=0.5, begin=1, end=4, convert_to_iter_based=True),
    dict(type="Linear", start_factor=0.001, by_epoch=False, begin=0, end=15),
    dict(type="Linear", start_factor=0.5, end_factor=0.1, begin=2, end=9),
    dict(type="Exponential", gamma=0.9, begin=1, end=8),
    dict(type="Exponential", gamma=0.99, by_epoch=False, begin=5, end=84),
    dict(type="Step", step_size=3, gamma=0.5, begin=0, end=12),
    dict(type="Step", step_size=2, begin=1, end=12, convert_to_iter_based=True),
    dict(type="MultiStep", milestones=[2, 5, 5, 9], gamma=0.5, begin=0, end=12),
    dict(type="MultiStep", milestones=[3, 6], begin=1, end=12, convert_to_iter_based=True),
    dict(type="Poly", power=0.9, eta_min=0.0001, begin=0, end=12),
    dict(type="Poly", power=2.0, begin=2, end=12, convert_to_iter_based=True),
    dict(type="CosineAnnealing", eta_min=0.0005, begin=0, end=12),
    dict(type="CosineAnnealing", T_max=4, eta_min_ratio=0.05, begin=1, end=12),
    dict(type="CosineAnnealing", T_max=5, begin=1, end=12, convert_to_iter_based=True),
    dict(type="CosineRestart", periods=[3, 4, 3], restart_weights=[1.0, 0.5, 0.25], eta_min=0.0001, begin=0, end=12),
    dict(type="CosineRestart", periods=[2, 6], restart_weights=[1.0, 0.8], eta_min_ratio=0.1, begin=1, end=12,
         convert_to_iter_based=True),
    dict(type="ReduceOnPlateau", monitor="coco/bbox_mAP", rule="greater", patience=1, factor=0.5),
    dict(type="ReduceOnPlateau", monitor="coco/bbox_mAP", rule="less", patience=0, factor=0.3, cooldown=2,
         threshold=0.05, threshold_rule="abs", min_value=0.002, begin=2, end=10),
]
ONE_CYCLE = [
    dict(type="OneCycleLR", eta_max=0.1, by_epoch=False, begin=0, end=84),
    dict(type="OneCycleLR", eta_max=0.1, pct_start=0.4, anneal_strategy="linear", div_factor=10.0,
         final_div_factor=100.0, begin=0, end=12),
    dict(type="OneCycleLR", eta_max=0.2, pct_start=0.25, three_phase=True, begin=0, end=12, convert_to_iter_based=True),
]
CHAINS = [
    [dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=10),
     dict(type="CosineAnnealingLR", eta_min=0.0002, begin=2, end=12, T_max=10),
     dict(type="LinearMomentum", start_factor=0.8, begin=0, end=3, convert_to_iter_based=True)],
    [dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
     dict(type="MultiStepLR", milestones=[4, 8], gamma=0.1, begin=0, end=12),
     dict(type="ReduceOnPlateauLR", monitor="coco/bbox_mAP", rule="greater", patience=0, factor=0.7)],
    [dict(type="ExponentialLR", gamma=0.8, begin=0, end=6), dict(type="PolyLR", begin=6, end=12, eta_min=1e-5)],
]


def build(optimizer, settings):
    settings = dict(settings)
    cls = getattr(schedulers, settings.pop("type"))
    if settings.pop("convert_to_iter_based", False):
        return cls.build_iter_from_epoch(optimizer, epoch_length=EPOCH, **settings)
    return cls(optimizer, **settings)


def run(settings):
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(
        [dict(params=params[:1], lr=0.01, momentum=0.9), dict(params=params[1:], lr=0.1, momentum=0.8)], lr=0.01
    )
    parts = [build(optimizer, it) for it in settings]
    rows = []
    for epoch in range(EPOCHS):
        for _ in range(EPOCH):
            rows.append([g["lr"] for g in optimizer.param_groups] + [g["momentum"] for g in optimizer.param_groups])
            optimizer.step()
            for it in parts:
                if not it.by_epoch:
                    it.step()
        for it in parts:
            if it.by_epoch:
                it.step()
        for it in parts:
            if getattr(it, "need_val_args", False):
                it.step({"coco/bbox_mAP": METRICS[epoch]})
    return {"param_scheduler": settings, "rows": rows}


cases = [[{**it, "type": it["type"] + form}] for it in FORMS for form in ("LR", "Momentum")]
cases += [[it] for it in ONE_CYCLE] + CHAINS
out = {"what": f"[lr, lr, momentum, momentum] of two groups, {EPOCHS} epochs of {EPOCH} steps; `metrics` come after each "
               "epoch", "metrics": METRICS, "cases": [run(it) for it in cases]}
(OUT / "schedules.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
