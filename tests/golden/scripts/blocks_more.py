"""Outputs and gradients of blocks that `blocks.safetensors` is silent about: `blocks_more.safetensors`.

    pip install torch numpy safetensors yolov5 ultralytics
    python blocks_more.py fill.py blocks_more.safetensors

`fill.py` holds the rule that `mmy_nn::testing` repeats: `fill(module)`, `sfield(name, shape)`, `grad_pack(…)`. Blocks that
no package has (SE, CBAM, the global context block) are written down here from their papers with torch's own layers.
"""
import importlib.util, sys
import torch
from torch import nn
from safetensors.torch import save_file
from ultralytics.nn.modules.block import C2f
from yolov5.models.common import C3TR, C3SPP, C3x, Classify
from yolov5.models.experimental import MixConv2d

spec = importlib.util.spec_from_file_location("fill", sys.argv[1])
rule = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rule)


class SE(nn.Module):
    def __init__(self, c, reduction):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(c, c // reduction, bias=False), nn.ReLU(), nn.Linear(c // reduction, c, bias=False), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class CBAM(nn.Module):
    def __init__(self, c, reduction):
        super().__init__()
        self.channel_attention = nn.Module()
        self.channel_attention.shared_MLP = nn.Sequential(
            nn.Linear(c, c // reduction), nn.LeakyReLU(0.1), nn.Linear(c // reduction, c)
        )
        self.spatial_attention = nn.Module()
        self.spatial_attention.conv2d = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x):
        mlp = self.channel_attention.shared_MLP
        gate = mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))
        x = x * gate.sigmoid()[:, :, None, None]
        planes = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.spatial_attention.conv2d(planes).sigmoid()


class GlobalContext(nn.Module):
    def __init__(self, c, pool="att", mul=True):
        super().__init__()
        inside = c // 4
        if pool == "att":
            self.conv_mask = nn.Conv2d(c, 1, 1)

        def branch():
            return nn.Sequential(
                nn.Conv2d(c, inside, 1), nn.LayerNorm([inside, 1, 1]), nn.ReLU(), nn.Conv2d(inside, c, 1)
            )

        self.channel_add_conv = branch()
        if mul:
            self.channel_mul_conv = branch()
        self.pool, self.mul = pool, mul

    def forward(self, x):
        if self.pool == "att":
            weights = self.conv_mask(x).flatten(2).softmax(-1)
            context = torch.einsum("bcn,bin->bc", x.flatten(2), weights)[:, :, None, None]
        else:
            context = x.mean((2, 3), keepdim=True)
        if self.mul:
            x = x * self.channel_mul_conv(context).sigmoid()
        return x + self.channel_add_conv(context)


class EarlyMix(MixConv2d):
    """The form of 2020: another activation, and the input is added."""

    def __init__(self, *args):
        super().__init__(*args)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x):
        return x + super().forward(x)


CASES = {
    "c2f": (C2f(16, 24, 2, True), (2, 16, 12, 10)),
    "c2f_noadd": (C2f(16, 24, 1), (2, 16, 12, 10)),
    "c3tr": (C3TR(16, 24, 2), (2, 16, 6, 5)),
    "c3x": (C3x(16, 24, 2), (2, 16, 12, 10)),
    "c3spp": (C3SPP(16, 24), (2, 16, 12, 10)),
    "mixconv2d": (MixConv2d(16, 24, (1, 3, 5), 2), (2, 16, 12, 10)),
    "mixconv2d_early": (EarlyMix(16, 16, (1, 3)), (2, 16, 12, 10)),
    "classify": (Classify(16, 10), (2, 16, 12, 10)),
    "se": (SE(32, 8), (2, 32, 12, 10)),
    "cbam": (CBAM(32, 8), (2, 32, 12, 10)),
    "gc": (GlobalContext(16), (2, 16, 12, 10)),
    "gc_avg": (GlobalContext(16, "avg", mul=False), (2, 16, 12, 10)),
}

out = {}
for name, (module, shape) in CASES.items():
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps, m.momentum = 1e-3, 0.03
        if hasattr(m, "inplace"):
            m.inplace = False
    rule.fill(module)
    x = rule.sfield("x", shape, 1.0)
    module.eval()
    with torch.no_grad():
        out[f"{name}.eval.y"] = module(x).clone()
    module.train()
    x.requires_grad_(True)
    y = module(x)
    loss = y.square().sum()
    loss.backward()
    out[f"{name}.y"], out[f"{name}.loss"], out[f"{name}.grad_x"] = y.detach(), loss.detach().reshape(1), x.grad
    rule.grad_pack([(k, p.grad) for k, p in module.named_parameters()], out, pre=f"{name}.grad.")
    for k, b in module.named_buffers():
        if k.endswith(("running_mean", "running_var")):
            out[f"{name}.buf.{k}"] = b.clone()
    print(name, sum(p.numel() for p in module.parameters()), tuple(y.shape), float(loss.detach()))
save_file({k: v.detach().contiguous() for k, v in out.items()}, sys.argv[2])
