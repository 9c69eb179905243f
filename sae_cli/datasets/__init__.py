from sae_cli.datasets import digits
from sae_cli.datasets.dataset import DATASETS, Dataset, Split

__all__ = ["DATASETS", "Dataset", "Split", "digits"]
