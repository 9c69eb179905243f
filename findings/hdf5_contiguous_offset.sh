#!/bin/sh
# A data set of an HDF5 file that lies in one piece may begin at any byte.
#
# Most expect: the values of a data set without chunks begin at a multiple of their size, as those of .npy
#   (64 bytes) and .safetensors (8) do, so that a mapping of the file is an ordinary array.
# Seen: h5py 3.16.0 with HDF5 2.0.0 lets float32 values begin right behind the 17 bytes of the data set
#   before, at byte 2065. NumPy maps them, as an array that is not aligned; np.require(..., "A") copies
#   it whole, so that what was to stay on disk is in memory.
#   Whoever maps such files looks at the offset first (id.get_offset()).
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/offset.py" <<'END'
import sys

import h5py
import numpy as np

path = sys.argv[1]
with h5py.File(path, "w") as file:
    file["name"] = np.arange(17, dtype=np.uint8)
    file["x"] = np.arange(24, dtype=np.float32).reshape(6, 4)
with h5py.File(path) as file:
    offset = file["x"].id.get_offset()
mapped = np.memmap(path, np.float32, "r", offset, (6, 4))
copied = not np.shares_memory(mapped, np.require(mapped, requirements="A"))
print(f"offset {offset}, sum {mapped.sum():.0f}, aligned {mapped.flags.aligned}, copied {copied}")
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "h5py==3.16.0" "numpy==2.4.6"
seen=$("$folder/venv/bin/python" "$folder/offset.py" "$folder/x.h5")
echo "h5py 3.16.0: $seen"
[ "$seen" = "offset 2065, sum 276, aligned False, copied True" ]
