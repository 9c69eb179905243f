#!/bin/sh
# DTensor's topk along a sharded axis sends every value, and leaves whole gradients in each process.
#
# Most expect: of values that are sharded along the axis, each process sends its own k largest; codes and
#   the gradients of the weights stay sharded as the weights are.
# Seen: torch 2.14.1 redistributes all values from columns to rows (an all-gather on gloo) before it looks
#   for the largest. The codes are then sharded by rows, and the gradient of a weight of 4096 rows, of
#   which each of two processes holds 2048, has 4096 rows in each, a Partial(sum).
#   Whoever shards a dictionary because it is too wide for one device has its whole gradient on each.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/sharded.py" <<'END'
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

torch.manual_seed(0)
mesh = init_device_mesh("cpu", (2,))
encoder = distribute_tensor(torch.randn(4096, 64), mesh, [Shard(0)]).requires_grad_()
decoder = distribute_tensor(torch.randn(64, 4096), mesh, [Shard(1)]).requires_grad_()
x = distribute_tensor(torch.randn(32, 64), mesh, [Replicate()])
pre_codes = x @ encoder.t()
with CommDebugMode() as sent:
    values, places = pre_codes.topk(8, dim=1)
codes = torch.zeros_like(pre_codes).scatter(1, places, values.relu())
(codes @ decoder.t() - x).square().sum().backward()
if distributed.get_rank() == 0:
    shapes = [tuple(one.to_local().shape) for one in (pre_codes, values, encoder.grad)]
    print(sent.get_total_counts(), shapes, encoder.grad.placements)
distributed.destroy_process_group()
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.14.1" "numpy==2.4.6"
seen=$(OMP_NUM_THREADS=1 "$folder/venv/bin/python" -m torch.distributed.run --standalone \
    --nproc-per-node 2 "$folder/sharded.py" 2>"$folder/errors")
echo "messages of topk, local shapes of pre-codes, values and gradient: torch 2.14.1 $seen"
[ "$seen" = "1 [(32, 2048), (16, 8), (4096, 64)] (Partial(sum),)" ]
