"""mobileone.safetensors and mobileone_{s0,s4}.keys.txt: MobileOne's maps, by timm.

pip install timm==1.0.31 torch==2.13.0 safetensors numpy; run in tests/golden as `python scripts/mobileone.py`.
fill.py is the rule of crates/mmy-nn/src/testing.rs; gain 0.5 keeps 21 blocks with a way past them within float32.
"""
import timm
import torch
from safetensors.torch import save_file

import fill



def stages(model, x):
    """The maps behind each of the four stages."""
    maps = [model.stem(x)]
    for stage in model.stages:
        maps.append(stage(maps[-1]))
    return maps[1:]


out = {}
for size in ("s0", "s1", "s2", "s3", "s4"):
    model = timm.create_model(f"mobileone_{size}", num_classes=0).eval()
    fill.fill(model, 0.5)
    with torch.no_grad():
        maps = stages(model, fill.field("input", (1, 3, 64, 32)))
    out |= {f"{size}.stage{i}": it.contiguous() for i, it in enumerate(maps)}
    if size in ("s0", "s4"):
        lines = [f"{name}\t{list(it.shape)}\t{str(it.dtype)[6:]}" for name, it in model.state_dict().items()]
        open(f"mobileone_{size}.keys.txt", "w").write("\n".join(lines) + "\n")

# Training: batch statistics in the size with four branches. Of its gradients float32 says little (ReLU's corners: timm's
# own differ from float64 by a tenth), so these are of one stage alone, with stride, attention and the identity.
model = timm.create_model("mobileone_s0", num_classes=0).train()
fill.fill(model, 0.5)
with torch.no_grad():
    maps = stages(model, fill.field("train", (2, 3, 128, 128)))[1:3]
out |= {f"train.stage{i + 1}": it.contiguous() for i, it in enumerate(maps)}

stage = timm.create_model("mobileone_s4", num_classes=0).stages[3].train()
fill.fill(stage, 0.5)
x = fill.sfield("stage", (2, 896, 10, 6)).requires_grad_()
y = stage(x)
loss = (y * y).sum()
loss.backward()
out |= {"block.y": y.detach().contiguous(), "block.loss": loss.detach().reshape(1)}
fill.grad_pack([("x", x.grad), *((name, it.grad) for name, it in stage.named_parameters())], out, full_max=64, nsample=16)
double = timm.create_model("mobileone_s4", num_classes=0).stages[3].train()
fill.fill(double, 0.5)
double = double.double()
(double(x.detach().double()) ** 2).sum().backward()
for (name, a), (_, b) in zip(stage.named_parameters(), double.named_parameters()):
    print(name, float((a.grad - b.grad).abs().max() / b.grad.abs().max()))
save_file(out, "mobileone.safetensors")
