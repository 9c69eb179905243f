#!/bin/sh
# A fake GPU without a GPU computes forward, and not backward.
#
# Most expect: FakeTensorMode, which gives tensors a device and a shape and no values, traces a step for a
#   GPU on a machine that has none, forward and backward, as it does for the CPU.
# Seen: torch 2.14.1 (the CUDA build, no GPU) makes tensors on "cuda", multiplies them, and shows which
#   copies from the host a program makes. autograd.grad raises "hasPrimaryContext expects a valid device
#   index": the engine asks the driver before it starts. On "cpu" and "meta" the same step has gradients.
#   Who counts copies or looks for tensors on the wrong device this way sees the forward pass alone.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/step.py" <<'END'
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

for device in ("cpu", "meta", "cuda"):
    with FakeTensorMode():
        weight = torch.zeros(4, 3, device=device, requires_grad=True)
        loss = (torch.zeros(5, 4, device=device) @ weight).square().sum()
        try:
            (gradient,) = torch.autograd.grad(loss, weight)
            seen = f"gradient {tuple(gradient.shape)}"
        except RuntimeError as error:
            seen = str(error).split(",")[0]
        print(f"{device}: loss on {loss.device.type}, {seen}")
END
cat >"$folder/expected" <<'END'
cpu: loss on cpu, gradient (4, 3)
meta: loss on meta, gradient (4, 3)
cuda: loss on cuda, hasPrimaryContext expects a valid device index
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.14.1" "numpy==2.4.6"
# Where there is a GPU, it is not to be seen.
CUDA_VISIBLE_DEVICES="" "$folder/venv/bin/python" "$folder/step.py" | tee "$folder/seen"
cmp "$folder/seen" "$folder/expected"
