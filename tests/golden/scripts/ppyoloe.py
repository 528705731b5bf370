"""Writes ../ppyoloe_schedule.json: the learning rates of MMYOLO's PPYOLOEParamSchedulerHook, by running the original.

Needs mmengine 0.10.7 and the wheel of mmyolo 0.6.0, unpacked (its own requirements are not needed):
python ppyoloe.py FOLDER_OF_THE_UNPACKED_WHEEL
"""

import json
import pathlib
import sys
import types

import torch
from mmengine.registry import HOOKS

OUT = pathlib.Path(__file__).resolve().parent.parent
registry = types.ModuleType("mmyolo.registry")
registry.HOOKS = HOOKS
sys.modules["mmyolo"], sys.modules["mmyolo.registry"] = types.ModuleType("mmyolo"), registry
path = pathlib.Path(sys.argv[1]) / "mmyolo/engine/hooks/ppyoloe_param_scheduler_hook.py"
original = {"__name__": "original"}
exec(compile(path.read_text(), str(path), "exec"), original)


def run(settings, epoch_len, epochs):
    hook = original["PPYOLOEParamSchedulerHook"](**settings)
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([dict(params=params[:1], lr=0.01), dict(params=params[1:], lr=0.002)], lr=0.01)
    runner = types.SimpleNamespace(
        optim_wrapper=types.SimpleNamespace(optimizer=optimizer), train_dataloader=range(epoch_len), iter=0, epoch=0,
        logger=types.SimpleNamespace(info=lambda *_: None),
    )
    hook.before_train(runner)
    rows = []
    for runner.iter in range(epoch_len * epochs):
        runner.epoch = runner.iter // epoch_len
        hook.before_train_iter(runner, runner.iter % epoch_len)
        rows.append([group["lr"] for group in optimizer.param_groups])
    return {"config": settings, "epoch_len": epoch_len, "rows": rows}


cases = [
    run(dict(warmup_min_iter=10, start_factor=0.1, warmup_epochs=2, total_epochs=12), 10, 10),
    run(dict(warmup_min_iter=35, warmup_epochs=1, min_lr_ratio=0.05, total_epochs=8), 10, 8),
]
(OUT / "ppyoloe_schedule.json").write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
