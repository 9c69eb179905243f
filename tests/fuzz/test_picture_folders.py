"""Folders of pictures made at random: what is trained on, against a reader of the test's own."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS
from sae_cli.datasets.dataset import Split

SIDE = 12
SPLITS = ("train", "val", "test")
READ = {".png", ".jpg", ".gif", ".jfif", ".webp", ".tif", ".tiff", ".bmp"}
FORMS = {".jpg": "JPEG", ".jfif": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
MODES = {
    **{".png": ("RGB", "RGBA", "L", "LA", "P", "1"), ".gif": ("P", "L", "1"), ".bmp": ("RGB", "L")},
    **{".tif": ("RGB", "RGBA", "L", "LA", "CMYK", "1"), ".tiff": ("RGB", "L")},
    **{".jpg": ("RGB", "L", "CMYK"), ".jfif": ("RGB",), ".webp": ("RGB", "RGBA")},
}
JUNK = ("._0.png", ".DS_Store", "Thumbs.db", ".hidden.jpg", "notes.txt", "x.heic")
JUNK_FOLDERS = (".ipynb_checkpoints", "__MACOSX", ".thumbnails", ".Trash-1000")


def save_one(folder: Path, number: int, rng: random.Random) -> None:
    ending = rng.choice(sorted(READ))
    mode = rng.choice(MODES[ending])
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    image = Image.fromarray(pixels)
    image = image if mode == "RGBA" else image.convert("RGB").convert(mode)
    if mode == "LA":
        image.putalpha(Image.fromarray(pixels[..., 3]))
    options: dict[str, Any] = {}
    if mode == "P" and rng.random() < 0.5:
        options["transparency"] = rng.randrange(4)
    if ending in {".jpg", ".png", ".webp", ".tif"} and rng.random() < 0.5:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = rng.randint(0, 9)
    spelled = rng.choice([ending, ending.upper()])
    image.save(folder / f"{number}{spelled}", FORMS.get(ending, ending[1:].upper()), **options)


def fill(folder: Path, n: int, rng: random.Random) -> None:
    """Put pictures there, some of them deeper, and what systems and programs leave."""
    for number in range(n):
        deep = folder / rng.choice(["", "", "deep", "deep/er"])
        deep.mkdir(parents=True, exist_ok=True)
        save_one(deep, number, rng)
    for name in rng.sample(JUNK, rng.randint(0, 3)):
        (folder / name).write_bytes(b"no picture")
    for name in rng.sample(JUNK_FOLDERS, rng.randint(0, 2)):
        (folder / name).mkdir()
        save_one(folder / name, 0, rng)


def make(root: Path, rng: random.Random) -> None:
    """Make a folder that can be read: classes, or splits of classes, and links inside."""
    tops = [root / name for name in SPLITS[: rng.choice([0, 2, 3])]] or [root]
    if len(tops) == 2 and rng.random() < 0.5:
        tops[1] = root / "test"
    for top in tops:
        for name in "abc":
            fill(top / name, rng.randint(4, 6), rng)
    files = sorted(p for p in root.rglob("*") if p.is_file() and is_read(root, p))
    for number in range(rng.randint(0, 3)):
        old, folder = rng.choice(files), rng.choice(files).parent
        new = folder / f"zz{number}{old.suffix}"
        os.link(old, new) if rng.random() < 0.5 else new.symlink_to(old)


def is_read(root: Path, path: Path) -> bool:
    names = path.relative_to(root).parts
    hidden = any(name[0] == "." or name in {"__MACOSX", "Thumbs.db"} for name in names)
    return path.suffix.lower() in READ and not hidden


def show(path: Path) -> bytes:
    """The pixels that a viewer shows on a white page."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
    sheet = Image.new("RGBA", upright.size, "white")
    sheet.alpha_composite(upright.convert("RGBA"))
    return sheet.convert("RGB").tobytes()


def expected(root: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Class and pixels of the pictures of each split; those to be split at random under "drawn"."""
    by_file: dict[int, Path] = {}
    for parent, _, files in os.walk(root):
        for path in (Path(parent) / name for name in files):
            if is_read(root, path) and not path.is_symlink():
                number = path.stat().st_ino
                by_file[number] = min(path, by_file.get(number, path))
    found: dict[str, list[tuple[str, bytes]]] = {}
    for path in by_file.values():
        names = path.relative_to(root).parts
        split = names[0] if names[0] in SPLITS else "drawn"
        label = names[0] if split == "drawn" else names[1]
        found.setdefault(split, []).append((label, show(path)))
    return found


def trained(split: Split) -> list[tuple[str, bytes]]:
    assert split.labels is not None
    pixels = split.tensor[split.rows].permute(0, 2, 3, 1).contiguous().numpy()
    labels = split.labels[split.rows].tolist()
    return [("abc"[k], image.tobytes()) for k, image in zip(labels, pixels, strict=True)]


def read(root: Path, name: str = "image_folder") -> Any:
    section: dict[str, Any] = {"name": name, "path": str(root)}
    if name == "image_folder":
        section |= {"size": SIDE, "channels": 3, "val": 0.2, "test": 0.2, "split_seed": 0}
    else:
        section |= {"patch_size": 4, "train": 50, "val": 50, "test": 50, "whiten": "none"}
        section |= {"zca_epsilon": 0.01, "patch_seed": 0}
    return DATASETS.build(DATASETS.check(section))


@pytest.mark.parametrize("seed", range(40))
def test_what_is_trained_on(tmp_path: Path, seed: int) -> None:
    make(tmp_path, random.Random(seed))
    wanted = expected(tmp_path)
    data = read(tmp_path)
    splits = {"train": data.train, "val": data.val, "test": data.test}
    for name in set(wanted) - {"train", "drawn"}:
        assert sorted(trained(splits[name])) == sorted(wanted[name])
    rest = [one for name, split in splits.items() if name == "train" or name not in wanted
            for one in trained(split)]  # fmt: skip
    assert sorted(rest) == sorted(wanted.get("train", []) + wanted.get("drawn", []))
    n = sum(map(len, wanted.values()))
    assert f": {n} pictures in 3 classes" in data.source
    assert f"patches of {n} pictures in" in read(tmp_path, "natural_patches").source


def deep_png(root: Path) -> None:
    Image.new("I;16", (SIDE, SIDE), 4095).save(root / "deep.png")


def link_out(root: Path) -> None:
    (root / "out").symlink_to(root.anchor)


def link_up(root: Path) -> None:
    (root / "up").symlink_to("..")


def garbage(root: Path) -> None:
    (root / "garbage.webp").write_bytes(b"RIFF....WEBP")


def nothing(root: Path) -> None:
    (root / "nothing.tiff").touch()


def lost(root: Path) -> None:
    (root / "lost.gif").symlink_to("nowhere")


FAULTS: tuple[Callable[[Path], None], ...] = (
    *(deep_png, link_out, link_up, garbage, nothing, lost),
)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_named(tmp_path: Path, fault: Callable[[Path], None], seed: int) -> None:
    """Wherever it lies that is not hidden; where it is hidden, it makes no difference."""
    rng = random.Random(seed)
    make(tmp_path / "x", rng)
    place = rng.choice(sorted({p.parent for p in (tmp_path / "x").rglob("0.*") if is_read(
        tmp_path / "x", p)}))  # fmt: skip
    before = read(tmp_path / "x").fingerprint()
    (place / ".hidden").mkdir()
    fault(place / ".hidden")
    assert read(tmp_path / "x").fingerprint() == before
    shutil.rmtree(place / ".hidden")
    fault(place)
    name = {"deep_png": "deep.png", "link_out": "out", "link_up": "up", "garbage": "garbage.webp"}
    name |= {"nothing": "nothing.tiff", "lost": "lost.gif"}
    for dataset in ("image_folder", "natural_patches"):
        with pytest.raises(ConfigError) as caught:
            read(tmp_path / "x", dataset)
        assert f"{place / name[fault.__name__]} " in str(caught.value)
