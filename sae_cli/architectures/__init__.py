"""Architectures: each returns an auto-encoder of a data set's shape."""

from sae_cli.architectures import conv as conv
from sae_cli.architectures import conv_group as conv_group
from sae_cli.architectures import recurrent as recurrent
from sae_cli.architectures.dense import ARCHITECTURES

__all__ = ["ARCHITECTURES", "local"]
