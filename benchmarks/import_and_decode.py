"""The other side of table ``start``: import torch and decode the four files of Fashion-MNIST."""

from __future__ import annotations

import torch

from data import IMAGES_HEADER, LABELS_HEADER, read

if __name__ == "__main__":
    for part in ("train", "t10k"):
        torch.from_numpy(read(f"{part}-images-idx3-ubyte", IMAGES_HEADER).copy())
        torch.from_numpy(read(f"{part}-labels-idx1-ubyte", LABELS_HEADER).copy())
