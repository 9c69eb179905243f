#!/bin/sh
# Makes benchmarks/.env/lightning and benchmarks/.env/keras, which compare.py then finds.
# Run it with sae-train's environment active, or with PYTHON set to its interpreter: Lightning gets
# sae-train's version of PyTorch.

set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
torch=$("$python" -c 'from importlib.metadata import version; print(version("torch").split("+")[0])')

"$python" -m venv .env/keras
.env/keras/bin/python -m pip install keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.10.2

"$python" -m venv .env/lightning
.env/lightning/bin/python -m pip install "torch==$torch" numpy lightning==2.6.6
