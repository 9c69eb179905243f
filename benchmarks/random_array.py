"""Write random bytes as rows of a .npy file: ``random_array.py PATH ROWS COLUMNS``."""

from __future__ import annotations

import sys

import numpy as np

if __name__ == "__main__":
    path, rows, columns = sys.argv[1:]
    generator = np.random.default_rng(0)
    np.save(path, generator.integers(0, 256, (int(rows), int(columns)), np.uint8))
