"""Architectures: each returns an auto-encoder of a data set's shape.

Importing this package registers them all.
"""

from __future__ import annotations

from sae_cli.architectures import conv, conv_group, dictionary, local, recurrent, unrolled
from sae_cli.architectures.dense import ARCHITECTURES

__all__ = [
    "ARCHITECTURES",
    "conv",
    "conv_group",
    "dictionary",
    "local",
    "recurrent",
    "unrolled",
]
