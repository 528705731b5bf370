"""Writes ../optimizers.json and ../paramwise.json: PyTorch's optimisers over 100 steps, mmengine's parameter groups.

Needs torch 2.13.0 (CPU) and mmengine 0.10.7: python optim.py
"""

import json
import pathlib

import torch
from mmengine.optim import build_optim_wrapper

OUT = pathlib.Path(__file__).resolve().parent.parent
SHAPES = {"vector": [7], "kernel": [4, 2, 3, 3]}


def gradient(step, place, count):
    """Numbers in -1..1 that any language makes alike."""
    return torch.tensor([(step * 7919 + (i + place) * 104729) % 2003 / 1001 - 1 for i in range(count)], dtype=torch.float64)


def run(kind, settings):
    params = []
    for shape in SHAPES.values():
        count = torch.Size(shape).numel()
        start = torch.tensor([i * 31 % 17 / 16 - 0.5 for i in range(count)]).reshape(shape)
        params.append(torch.nn.Parameter(start))
    optimizer = getattr(torch.optim, kind)(params, foreach=False, fused=False, **settings)
    rows = {}
    for step in range(1, 101):
        for place, param in enumerate(params):
            param.grad = gradient(step, place, param.numel()).float().reshape(param.shape)
        optimizer.step()
        if step in (1, 10, 100):
            rows[step] = {name: param.detach().flatten().tolist() for name, param in zip(SHAPES, params)}
    return {"config": {"type": kind, **settings}, "after": rows}


CASES = [
    ("SGD", dict(lr=0.01, momentum=0.937, weight_decay=5e-4, nesterov=True)),
    ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.2, weight_decay=0.01)),
    ("Adam", dict(lr=0.001)),
    ("Adam", dict(lr=0.01, betas=[0.8, 0.95], eps=1e-6, weight_decay=0.05)),
    ("Adam", dict(lr=0.01, amsgrad=True)),
    ("AdamW", dict(lr=0.001, weight_decay=0.05)),
    ("AdamW", dict(lr=0.02, betas=[0.9, 0.99], amsgrad=True)),
]


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Module()
        self.backbone.conv = torch.nn.Conv2d(3, 4, 3)
        self.backbone.dw = torch.nn.Conv2d(4, 4, 3, groups=4)
        self.backbone.bn = torch.nn.BatchNorm2d(4)
        self.backbone.gamma = torch.nn.Parameter(torch.ones(4))
        self.head = torch.nn.Module()
        self.head.fc = torch.nn.Linear(4, 2)
        self.head.ln = torch.nn.LayerNorm(2)


PARAMWISE = [
    {},
    dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    dict(bias_lr_mult=2.0, bias_decay_mult=0.5),
    dict(dwconv_decay_mult=0.1, flat_decay_mult=0.2),
    dict(dwconv_decay_mult=0.1, bias_decay_mult=0.3, flat_decay_mult=0.2, norm_decay_mult=0.4),
    dict(custom_keys={"backbone": dict(lr_mult=0.1), "backbone.bn": dict(decay_mult=0.0), "head": dict()}, bias_lr_mult=2.0),
    dict(custom_keys={"fc": dict(lr_mult=0.5), "dw": dict(lr_mult=0.25, decay_mult=2.0), "conv.": dict(lr_mult=4.0)}),
]


def groups(paramwise):
    model = Toy()
    names = {id(param): name for name, param in model.named_parameters()}
    settings = json.loads(json.dumps(paramwise))
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.05), paramwise_cfg=settings or None)
    )
    rows = {names[id(p)]: [g["lr"], g["weight_decay"]] for g in wrapper.optimizer.param_groups for p in g["params"]}
    return {"paramwise_cfg": paramwise, "params": rows}


def write(name, what, cases):
    text = json.dumps({"what": what, "cases": cases}, indent=None, separators=(",", ":"))
    (OUT / name).write_text(text + "\n")


write("optimizers.json", "parameters after 1, 10 and 100 steps, by torch " + torch.__version__, [run(*it) for it in CASES])
write("paramwise.json", "[lr, weight decay] of each parameter, by mmengine", [groups(it) for it in PARAMWISE])
