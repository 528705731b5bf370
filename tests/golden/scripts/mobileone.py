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

# Training: batch statistics, and what a loss of squares gives back, of the size with four branches.
model = timm.create_model("mobileone_s0", num_classes=0).train()
fill.fill(model, 0.5)
maps = stages(model, fill.field("train", (2, 3, 128, 128)))[1:3]
loss = sum((it * it).sum() for it in maps)
loss.backward()
out |= {f"train.stage{i + 1}": it.detach().contiguous() for i, it in enumerate(maps)}
out["train.loss"] = loss.detach().reshape(1)
gradients = [(name, it.grad) for name, it in model.named_parameters() if name.endswith(("conv.weight", "identity.weight"))]
fill.grad_pack(gradients, out, full_max=64, nsample=8)
save_file(out, "mobileone.safetensors")
