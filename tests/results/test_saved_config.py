"""The configuration of a run folder: what was written comes back, and only plain YAML is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.results.saved_config import read_config
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES
from tests.conftest import Configure


@pytest.fixture
def written(tmp_path: Path, configure: Configure) -> Path:
    RunFolder(tmp_path).write_config(configure().as_dict())
    return tmp_path / "config.yaml"


def changed(written: Path, old: str, new: str) -> Path:
    text = written.read_text()
    assert old in text
    written.write_text(text.replace(old, new, 1))
    return written


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=sparse_kl", "optimizer.learning_rate=1e-5", "optimizer.eps=1e-20"),
        ("model=stacked", "dataset=array", "dataset.path='1e-3'"),
        ("model=tied", "dataset=array", "dataset.path='2001-01-01'"),
        ("dataset=array", "dataset.path='on'", "dataset.key='null'"),
        ("dataset=array", r"dataset.path='~/\x.npy'"),
    ],
)
def test_what_a_run_wrote_comes_back(
    tmp_path: Path, configure: Configure, overrides: tuple[str, ...]
) -> None:
    config = configure(*overrides)
    RunFolder(tmp_path).write_config(config.as_dict())
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("!!python/object/apply:os.mkdir [x]", "tags are not read"),
        ("!!int 0", "tags are not read"),
        ("&a [*a]", "aliases are not read"),
        ("[" * 20 + "]" * 20, "more than 8 levels are not"),
        ("[" * 50_000, "more than 8 levels are not|maximum nesting depth"),
        ("{1: 2}", "only text can be a key"),
        ("{<<: {a: 1}}", "<< is not read without quotes"),
        ("{a: 1, a: 2}", "the key a is given twice"),
        ("9" * 5000, "more than 100 digits"),
        ("1:" * 5000 + "1", "more than 100 digits"),
        ("0x_", "is not a configuration"),
        ("2001-99-99", "is not a configuration"),
        ('"\\UFFFFFFFF"', "is not a configuration"),
        ("0\nseed: 1", "the key seed is given twice"),
        ("#" * MAX_CONFIG_BYTES, f"more than {MAX_CONFIG_BYTES} bytes"),
    ],
)
def test_more_than_plain_yaml_is_refused(written: Path, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read_config(changed(written, "seed: 0", f"seed: {value}"))
    assert "\n" not in str(caught.value)


def test_what_is_not_a_configuration_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read: No such file"):
        read_config(file)
    for content in (b"", b"seed", b"[1]", b"\xff\xfe seed", b"--- 1\n--- 2\n", b"a: \x00"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="is not a configuration"):
            read_config(file)


def test_a_run_of_an_earlier_version_finds_the_data_that_it_found(
    tmp_path: Path, configure: Configure
) -> None:
    """Its root was a single folder, and Debian's was searched as well."""
    config = configure("dataset=fashion_mnist", "dataset.root=/data").as_dict()
    assert config["dataset"]["root"] == ["/data"]
    RunFolder(tmp_path).write_config(config)
    assert read_config(tmp_path / "config.yaml").parts["dataset"]["root"] == ["/data"]
    config["dataset"]["root"] = "/data"
    RunFolder(tmp_path).write_config(config)
    found = read_config(tmp_path / "config.yaml").parts["dataset"]["root"]
    assert found == ["/data", "/usr/share/datasets/fashion-mnist"]
