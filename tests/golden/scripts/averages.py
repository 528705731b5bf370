"""Writes ../averages.json: a parameter's and a buffer's running average under mmengine's averaged models.

Needs torch 2.13.0 (CPU) and mmengine 0.10.7: python averages.py
"""

import json
import pathlib

import torch
from mmengine.model import averaged_model

OUT = pathlib.Path(__file__).resolve().parent.parent
CASES = [
    dict(ema_type=kind, **settings)
    for kind, settings in [
        ("ExponentialMovingAverage", dict(momentum=0.1)),
        ("MomentumAnnealingEMA", dict(momentum=0.05, gamma=4)),
        ("StochasticWeightAverage", dict()),
    ]
]
CASES += [dict(it, interval=3, update_buffers=True) for it in CASES]


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))


def run(config):
    settings = dict(config)
    model = Toy()
    average = getattr(averaged_model, settings.pop("ema_type"))(model, **settings)
    rows = []
    for step in range(15):
        weight, mean = ((step * 7919 + at * 104729) % 2003 / 1001 - 1 for at in range(2))
        model.weight.data.fill_(weight)
        model.mean.fill_(mean)
        average.update_parameters(model)
        rows.append([average.module.weight.item(), average.module.mean.item()])
    return {"config": config, "rows": rows}


out = {"what": "[parameter, buffer] of the average after each step", "cases": [run(it) for it in CASES]}
(OUT / "averages.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
