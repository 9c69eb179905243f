#!/bin/sh
# ParquetFile.iter_batches keeps all that it has read of a file in memory.
#
# Most expect: batches of 1 000 rows need the memory of a batch, or of a group of rows, whatever the size
#   of the file. The documentation calls it streaming.
# Seen: PyArrow 26.0.1 holds 52 MB after a file of 51 MB in ten groups of rows, and 206 MB after one of 205
#   MB in forty, though every batch was let go. What is read ahead (pre_buffer, true unless said
#   otherwise, meant for object stores) stays until the ParquetFile goes. With pre_buffer=False 6 MB are
#   the most at any time, a group and its pages, for both files.
#   Whoever reads files larger than the memory turns it off.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/batches.py" <<'END'
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1]
# In a process of its own, because the most that was ever allocated is asked for.
READ = """
import sys
import pyarrow as pa
import pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1], **({"pre_buffer": False} if sys.argv[2] == "off" else {}))
n = sum(len(batch) for batch in file.iter_batches(batch_size=1000))
print(f"{n} rows, {pa.default_memory_pool().max_memory() / 1e6:.0f} MB at most")
"""
for n in (200_000, 800_000):
    rows = np.random.default_rng(0).random((n, 64), dtype=np.float32)
    table = pa.table({f"c{i}": rows[:, i] for i in range(64)})
    pq.write_table(table, path, row_group_size=20_000, use_dictionary=False, compression="none")
    for ahead in ("default", "off"):
        command = [sys.executable, "-c", READ, path, ahead]
        print(ahead, subprocess.check_output(command, text=True).strip(), sep=": ")
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "pyarrow==26.0.1" "numpy==2.4.6"
seen=$("$folder/venv/bin/python" "$folder/batches.py" "$folder/x.parquet")
echo "PyArrow 26.0.1:"
echo "$seen"
[ "$seen" = "default: 200000 rows, 52 MB at most
off: 200000 rows, 6 MB at most
default: 800000 rows, 206 MB at most
off: 800000 rows, 6 MB at most" ]
