"""Architectures: each returns an auto-encoder of a data set's shape."""

from sae_cli.architectures import dictionary, unrolled
from sae_cli.architectures.dense import ARCHITECTURES

__all__ = ["ARCHITECTURES", "dictionary", "unrolled"]
