"""Milliseconds of a training step in PyTorch, for comparison with `mmy bench train`.

Builds YOLOv5-n and StarNet-s1 + YOLOv5 layer for layer as MMYOLO has them (the parameter counts are checked) and trains on
random pictures. The loss is a cross entropy over every output, which is less than YOLOv5's loss does.

    pip install torch==2.13.0
    python docs/performance/pytorch_step.py yolov5_n --dtype bfloat16 --format channels-last
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


def conv(a, b, k=1, s=1, p=None):
    layers = [nn.Conv2d(a, b, k, s, k // 2 if p is None else p, bias=False), nn.BatchNorm2d(b, 1e-3, 0.03), nn.SiLU(True)]
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    def __init__(self, c, add):
        super().__init__()
        self.conv1, self.conv2, self.add = conv(c, c), conv(c, c, 3), add

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        return x + y if self.add else y


class Csp(nn.Module):
    def __init__(self, a, b, n, add):
        super().__init__()
        mid = b // 2
        self.main, self.short, self.final = conv(a, mid), conv(a, mid), conv(2 * mid, b)
        self.blocks = nn.Sequential(*[Bottleneck(mid, add) for _ in range(n)])

    def forward(self, x):
        return self.final(torch.cat([self.blocks(self.main(x)), self.short(x)], 1))


class Sppf(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = conv(c, c // 2), conv(c * 2, c)

    def forward(self, x):
        x = [self.conv1(x)]
        for _ in range(3):
            x.append(F.max_pool2d(x[-1], 5, 1, 2))
        return self.conv2(torch.cat(x, 1))


class CspDarknet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv(3, 16, 6, 2, 2)
        widths, depths = [16, 32, 64, 128, 256], [1, 2, 3, 1]
        stages = [[conv(widths[i], widths[i + 1], 3, 2), Csp(widths[i + 1], widths[i + 1], n, True)] for i, n in enumerate(depths)]
        stages[3].append(Sppf(256))
        self.stages = nn.ModuleList(nn.Sequential(*it) for it in stages)

    def forward(self, x):
        x, out = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out[1:]


def conv_bn(a, b, k=1, s=1, g=1, bn=True):
    layers = [nn.Conv2d(a, b, k, s, k // 2, groups=g)]
    return nn.Sequential(*layers, nn.BatchNorm2d(b)) if bn else layers[0]


class Star(nn.Module):
    def __init__(self, c, ratio=4):
        super().__init__()
        self.dw, self.dw2 = conv_bn(c, c, 7, g=c), conv_bn(c, c, 7, g=c, bn=False)
        self.f1, self.f2 = conv_bn(c, ratio * c, bn=False), conv_bn(c, ratio * c, bn=False)
        self.g = conv_bn(ratio * c, c)

    def forward(self, x):
        y = self.dw(x)
        return x + self.dw2(self.g(F.relu6(self.f1(y)) * self.f2(y)))


class StarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 32, 3, 2), nn.ReLU6(True))
        widths, depths = [32, 24, 48, 96, 192], [2, 2, 8, 3]
        stages = [
            nn.Sequential(conv_bn(widths[i], widths[i + 1], 3, 2), *[Star(widths[i + 1]) for _ in range(n)])
            for i, n in enumerate(depths)
        ]
        self.stages = nn.ModuleList(stages)

    def forward(self, x):
        x, out = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out[1:]


class Detector(nn.Module):
    def __init__(self, backbone, c3, c4, c5):
        super().__init__()
        self.backbone, self.reduce = backbone, conv(c5, c4)
        self.top0, self.top0b, self.top1 = Csp(2 * c4, c4, 1, False), conv(c4, c3), Csp(2 * c3, c3, 1, False)
        self.down0, self.up0 = conv(c3, c3, 3, 2), Csp(2 * c3, c4, 1, False)
        self.down1, self.up1 = conv(c4, c4, 3, 2), Csp(2 * c4, c5, 1, False)
        self.head = nn.ModuleList(nn.Conv2d(c, 255, 1) for c in (c3, c4, c5))

    def forward(self, x):
        x3, x4, x5 = self.backbone(x)
        r = self.reduce(x5)
        i = self.top0b(self.top0(torch.cat([F.interpolate(r, scale_factor=2), x4], 1)))
        o0 = self.top1(torch.cat([F.interpolate(i, scale_factor=2), x3], 1))
        o1 = self.up0(torch.cat([self.down0(o0), i], 1))
        o2 = self.up1(torch.cat([self.down1(o1), r], 1))
        return [head(it) for head, it in zip(self.head, (o0, o1, o2))]


MODELS = {
    "yolov5_n": (lambda: Detector(CspDarknet(), 64, 128, 256), 1_872_157),
    "starnet_s1": (lambda: Detector(StarNet(), 48, 96, 192), 3_162_837),
}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model", choices=MODELS)
    args.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    args.add_argument("--format", choices=["contiguous", "channels-last"], default="contiguous")
    args.add_argument("--size", type=int, default=320)
    args.add_argument("--batch-size", type=int, default=8)
    args.add_argument("--rounds", type=int, default=10)
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    make, count = MODELS[args.model]
    layout = torch.channels_last if args.format == "channels-last" else torch.contiguous_format
    model = make().to(memory_format=layout).train()
    assert sum(it.numel() for it in model.parameters()) == count
    x = torch.rand(args.batch_size, 3, args.size, args.size).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, 0.937, nesterov=True, fused=True)
    times = []
    for step in range(args.rounds + 2):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bfloat16"):
            maps = model(x)
        loss = sum(F.binary_cross_entropy_with_logits(it.float(), torch.zeros_like(it, dtype=torch.float32)) for it in maps)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= 2:
            times.append((time.perf_counter() - start) * 1e3)
    print(f"{args.model} {args.dtype} {args.format}: {statistics.median(times):.1f} ms ({min(times):.1f} to {max(times):.1f})")


if __name__ == "__main__":
    main()
