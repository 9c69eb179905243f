"""A wheel built from the checkout works from any folder: pages and digits are inside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "sae_cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_every_page_and_the_credits(unpacked: Path) -> None:
    def pages(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.rglob("*.yaml")}

    assert pages(unpacked / "sae_cli" / "conf") == pages(CHECKOUT / "conf")
    assert (unpacked / "sae_cli" / "datasets" / "digits.npz").is_file()
    assert (unpacked / "sae_cli" / "datasets" / "fashion_2k.npz").is_file()
    page = Path("sae_cli", "results", "page")
    for folder in ("templates", "assets"):
        names = {path.name for path in (unpacked / page / folder).iterdir()}
        assert names == {path.name for path in (CHECKOUT / page / folder).iterdir()}
        assert names
    (notice,) = unpacked.rglob("NOTICE")
    assert "CC BY 4.0" in notice.read_text()
    script = (unpacked / page / "assets" / "chart.umd.min.js").read_text()
    version = re.search(r"Chart\.js v([\d.]+)", script)
    assert version is not None and f"Chart.js {version[1]}" in notice.read_text()


@pytest.mark.slow
def test_a_run_and_a_sweep_from_another_folder(unpacked: Path, tmp_path: Path) -> None:
    small = ("dataset.test=1500", "epochs=1", "pictures=false")
    done = run(unpacked, tmp_path, "model=sparse_kl", "penalty.weight=0.05", *small)
    assert done.returncode == 0, done.stderr
    done = run(unpacked, tmp_path, "-m", "model=sparse_l1,sparse_kl", "penalty.weight=0.01", *small)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "outputs").iterdir())) == 2


def test_the_package_that_ran_is_the_one_of_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    program = "import sae_cli.config.compose as c; print(c.CONF)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(unpacked / "sae_cli" / "conf")
