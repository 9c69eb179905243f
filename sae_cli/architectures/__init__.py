"""Architectures: each returns an auto-encoder of a data set's shape."""

from sae_cli.architectures import conv, conv_group, recurrent
from sae_cli.architectures.dense import ARCHITECTURES

__all__ = ["ARCHITECTURES", "conv", "conv_group", "recurrent"]
