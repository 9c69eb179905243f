"""Folders of pictures as they are found: hidden files, links, splits, odd modes and odd bits."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset

RNG = np.random.default_rng(0)
SIDE = 24
IMAGE_FOLDER: dict[str, Any] = {
    "size": SIDE,
    "channels": 3,
    "val": 0.2,
    "test": 0.2,
    "split_seed": 0,
}
PATCHES: dict[str, Any] = {"patch_size": 6, "train": 60, "val": 20, "test": 20, "whiten": "none"}
PATCHES |= {"zca_epsilon": 1e-2, "patch_seed": 0}
OPTIONS: dict[str, dict[str, Any]] = {"image_folder": IMAGE_FOLDER, "natural_patches": PATCHES}
Order = Literal["<", ">"]
both = pytest.mark.parametrize("name", OPTIONS)


def read(path: Path, name: str = "image_folder", **options: Any) -> Dataset:
    section = {"name": name, "path": str(path)} | OPTIONS[name] | options
    return DATASETS.build(DATASETS.check(section))


def noise(*shape: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, shape or (SIDE, SIDE, 3), np.uint8)


def write(folder: Path, n: int = 5, classes: str = "ab") -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(noise()).save(folder / name / f"{i}.png")
    return folder


def n_pictures(data: Dataset) -> int:
    return int(data.source.split(": " if " classes" in data.source else "of ")[1].split()[0])


def hidden_folder(root: Path) -> str:
    (root / "a" / "deep" / ".ipynb_checkpoints").mkdir(parents=True)
    Image.fromarray(noise()).save(root / "a" / "deep" / ".ipynb_checkpoints" / "x.png")
    return "1 hidden file or folder"


def folder_of_a_system(root: Path) -> str:
    for name in ("__MACOSX", "@eaDir"):
        (root / name / "a").mkdir(parents=True)
        Image.fromarray(noise()).save(root / name / "a" / "x.png")
    return "2 hidden files or folders"


def files_of_systems(root: Path) -> str:
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "b" / name).write_bytes(b"x")
    return "4 hidden files or folders"


def no_pictures(root: Path) -> str:
    for name in ("x.HEIC", "y.heic", "notes.txt", "README"):
        (root / "b" / name).write_bytes(b"x")
    return "4 other files (.heic, no ending, .txt)"


def link_to_a_picture(root: Path) -> str:
    (root / "b" / "again.png").symlink_to(root / "a" / "0.png")
    (root / "a" / "00.png").symlink_to("0.png")
    return "2 further names of the same pictures"


def hard_link(root: Path) -> str:
    os.link(root / "a" / "0.png", root / "b" / "again.png")
    return "1 further name of the same pictures"


def link_to_a_sibling(root: Path) -> str:
    (root / "b" / "more").symlink_to("../a")
    (root / "a" / "more").symlink_to("../b")
    return "2 further names of the same pictures"


@both
@pytest.mark.parametrize(
    "add",
    [
        *(hidden_folder, folder_of_a_system, files_of_systems, no_pictures),
        *(link_to_a_picture, hard_link, link_to_a_sibling),
    ],
)
def test_what_is_left_out_is_counted(tmp_path: Path, name: str, add: Callable[..., str]) -> None:
    before = read(write(tmp_path / "x"), name)
    assert "left out" not in before.source
    said = add(tmp_path / "x")
    after = read(tmp_path / "x", name)
    assert after.fingerprint() == before.fingerprint()
    assert after.source == f"{before.source}; left out {said}"


def link_up(root: Path) -> str:
    (root / "a" / "up").symlink_to("..")
    return "up is a link that leads up to a folder that it lies in itself"


def link_to_itself(root: Path) -> str:
    (root / "a" / "self").symlink_to(".")
    return "self is a link that leads up to a folder that it lies in itself"


def link_out(root: Path) -> str:
    (root.parent / "elsewhere").mkdir()
    (root / "a" / "out").symlink_to(root.parent / "elsewhere")
    return "out is a link that leads out of"


def class_elsewhere(root: Path) -> str:
    (root.parent / "elsewhere").mkdir()
    (root / "c").symlink_to(root.parent / "elsewhere")
    return "c is a link that leads out of"


def link_nowhere(root: Path) -> str:
    (root / "a" / "lost.png").symlink_to("nowhere.png")
    return "lost.png is a link that leads nowhere"


def link_round(root: Path) -> str:
    (root / "a" / "round.png").symlink_to("round.png")
    return "round.png is neither a file nor a folder|round.png is a link that leads nowhere"


def pipe(root: Path) -> str:
    os.mkfifo(root / "a" / "pipe.png")
    return "pipe.png is neither a file nor a folder"


@both
@pytest.mark.parametrize(
    "add", [link_up, link_to_itself, link_out, class_elsewhere, link_nowhere, link_round, pipe]
)
def test_links_and_files_that_are_refused(
    tmp_path: Path, name: str, add: Callable[..., str]
) -> None:
    said = add(write(tmp_path / "x"))
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path / "x", name)
    assert "\n" not in str(caught.value)


@both
def test_links_to_files_elsewhere_are_read_and_counted(tmp_path: Path, name: str) -> None:
    """Managers of data (git-annex, DVC, a hub's cache) keep files elsewhere and links to them."""
    plain = read(write(tmp_path / "x"), name)
    (tmp_path / "store").mkdir()
    for number, path in enumerate(sorted((tmp_path / "x").rglob("*.png"))):
        path.rename(tmp_path / "store" / str(number))
        path.symlink_to(tmp_path / "store" / str(number))
    linked = read(tmp_path / "x", name)
    assert linked.fingerprint() == plain.fingerprint()
    assert linked.source == f"{plain.source}; 10 of them are links to files elsewhere"


def test_a_link_to_a_hidden_folder_is_entered_once(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "x"))
    (tmp_path / "x" / "a").rename(tmp_path / "x" / ".a")
    (tmp_path / "x" / "a").symlink_to(".a")
    assert read(tmp_path / "x").fingerprint() == plain.fingerprint()


def test_pictures_beside_the_class_folders(tmp_path: Path) -> None:
    write(tmp_path)
    Image.fromarray(noise()).save(tmp_path / "x.png")
    data = read(tmp_path)
    assert n_pictures(data) == 10
    assert data.source.endswith("; left out 1 picture outside of these folders")


@both
@pytest.mark.parametrize("ending", ["gif", "jfif", "webp", "tif", "tiff", "bmp", "jpe", "pnm"])
def test_other_endings(tmp_path: Path, name: str, ending: str) -> None:
    write(tmp_path)
    forms = {"jfif": "JPEG", "tif": "TIFF", "jpe": "JPEG", "pnm": "PPM"}
    form = forms.get(ending, ending.upper())
    Image.fromarray(noise()).save(tmp_path / "a" / f"y.{ending.upper()}", form)
    assert n_pictures(read(tmp_path, name)) == 11


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("training", "valid", "testing"), ("Train", "VAL", "Test")]
)
def test_folders_of_splits(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for n, split in zip((5, 2, 3), names, strict=True):
        write(tmp_path / split, n)
    data = read(tmp_path)
    assert (len(data.train), len(data.val), len(data.test), data.n_classes) == (10, 4, 6, 2)
    said = f"the splits are its folders {', '.join(names)}: 10 train, 4 val, 6 test"
    assert data.source == f"{tmp_path}: 20 pictures in 2 classes; {said}"
    for part, name in zip((data.train, data.val, data.test), names, strict=True):
        paths = sorted((tmp_path / name).rglob("*.png"))
        wanted = {np.asarray(Image.open(path)).tobytes(): "ab".index(path.parent.name)
                  for path in paths}  # fmt: skip
        assert part.labels is not None
        stored = part.tensor[part.rows].permute(0, 2, 3, 1).contiguous().numpy()
        found = [image.tobytes() for image in stored]
        assert dict(zip(found, part.labels[part.rows].tolist(), strict=True)) == wanted


def test_a_split_without_a_folder_is_drawn_of_those_that_train(tmp_path: Path) -> None:
    for n, split in ((10, "train"), (2, "val")):
        write(tmp_path / split, n)
    data = read(tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (16, 4, 4)
    assert "folders train, val: 20 train, 4 val (test out of train)" in data.source
    rows = [*data.train.rows.tolist(), *data.test.rows.tolist()]
    assert sorted(rows) == list(range(20))
    assert data.val.rows.tolist() == list(range(20, 24))


def test_splits_without_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / split, 5, classes="a")
        for path in (tmp_path / split / "a").iterdir():
            path.rename(tmp_path / split / path.name)
        (tmp_path / split / "a").rmdir()
    data = read(tmp_path)
    assert (len(data.train), len(data.val), len(data.test), data.n_classes) == (4, 1, 5, 1)


def test_splits_that_do_not_fit(tmp_path: Path) -> None:
    write(tmp_path / "train")
    write(tmp_path / "test", 2, classes="ac")
    with pytest.raises(ConfigError, match="has test/c, and train has the classes a, b; give"):
        read(tmp_path)
    write(tmp_path / "beside")
    for name in OPTIONS:
        with pytest.raises(ConfigError, match=r"named as splits are \(train, test\), beside "):
            read(tmp_path, name)
    (tmp_path / "beside").rename(tmp_path / "training")
    with pytest.raises(ConfigError, match="with train and training for the same purpose"):
        read(tmp_path)
    (tmp_path / "training").rename(tmp_path / "y")
    (tmp_path / "train").rename(tmp_path / "val")
    (tmp_path / "y").rename(tmp_path.parent / f"{tmp_path.name}_y")
    with pytest.raises(ConfigError, match="and none to train"):
        read(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    """As one of CIFAR-100 is."""
    write(tmp_path)
    (tmp_path / "a").rename(tmp_path / "train")
    assert read(tmp_path).n_classes == 2


def test_a_class_without_a_training_example_is_named(tmp_path: Path) -> None:
    write(tmp_path, 1, classes="abcde")
    data = read(tmp_path)
    assert data.train.labels is not None
    seen = set(data.train.labels[data.train.rows].tolist())
    unseen = [name for label, name in enumerate("abcde") if label not in seen]
    assert f"; no training example of {', '.join(unseen)}" in data.source


def test_patches_of_folders_of_splits(tmp_path: Path) -> None:
    """Pictures of one brightness step each: the step tells which folder a patch is from."""
    for step, split in ((10, "train"), (20, "valid"), (40, "test")):
        (tmp_path / split).mkdir()
        for number in range(2):
            ramp = np.tile(np.arange(40) % 2 * step, (30, 1)).astype(np.uint8)
            Image.fromarray(ramp).save(tmp_path / split / f"{number}.png")
    data = read(tmp_path, "natural_patches")
    assert "the splits are its folders train, valid, test: 2 train, 2 val, 2 test" in data.source
    sizes = []
    for part in (data.train, data.val, data.test):
        (x,) = part.batches(100)
        sizes.append((x[:, 0, 0, 0] - x[:, 0, 0, 1]).abs())
    for found, ratio in zip(sizes[1:], (2, 4), strict=True):
        # The mean patch of the training split is subtracted from all, up to its sign.
        assert found.mean() / sizes[0].mean() == pytest.approx(ratio, rel=0.3)
    (tmp_path / "valid").rename(tmp_path / ".valid")
    lent = read(tmp_path, "natural_patches")
    assert "folders train, test: 2 train, 2 test (val out of train)" in lent.source


def png(path: Path, pixels: NDArray[Any]) -> None:
    """Write 16 bits a channel, which Pillow does not."""
    height, width, channels = pixels.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def tiff(path: Path, pixels: NDArray[Any], order: Order, photometric: int = 2) -> None:
    """Write 16 bits a channel, or signed ones, in either order of bytes."""
    height, width, channels = pixels.shape
    bits = pixels.dtype.itemsize * 8
    signed = 2 if pixels.dtype.kind == "i" else 1
    extra = [(338, 3, 1, 2)] if channels == 4 and photometric == 2 else []
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, 0), (259, 3, 1, 1)),
        *((262, 3, 1, photometric), (273, 4, 1, 0), (277, 3, 1, channels), (278, 3, 1, height)),
        *((279, 4, 1, pixels.nbytes), *extra, (339, 3, 1, signed)),
    ]
    ifd = 8 + 2 + 12 * len(entries) + 4
    kinds = {3: "H2x", 4: "I"}
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    for tag, kind, count, value in entries:
        field = struct.pack(order + kinds[kind], value)
        if tag == 258:
            field = struct.pack(order + ("I" if channels > 2 else "H2x"), ifd if channels > 2
                                else bits)  # fmt: skip
        if tag == 273:
            field = struct.pack(order + "I", ifd + 2 * channels)
        out += struct.pack(order + "HHI", tag, kind, count) + field
    out += bytes(4) + struct.pack(order + f"{channels}H", *[bits] * channels)
    path.write_bytes(out + pixels.astype(pixels.dtype.newbyteorder(order)).tobytes())


@both
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_refused(tmp_path: Path, name: str, channels: int) -> None:
    write(tmp_path)
    png(tmp_path / "a" / "deep.png", RNG.integers(0, 4096, (SIDE, SIDE, channels)))
    with pytest.raises(ConfigError, match=r"deep\.png has pixels of more than 8 bits"):
        read(tmp_path, name)


@both
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("channels", "photometric"), [(1, 1), (3, 2), (4, 2), (4, 5)])
def test_tiff_of_16_bits_is_refused(
    tmp_path: Path, name: str, order: Order, channels: int, photometric: int
) -> None:
    write(tmp_path)
    pixels = RNG.integers(0, 4096, (SIDE, SIDE, channels), np.uint16)
    tiff(tmp_path / "a" / "deep.tif", pixels, order, photometric)
    with pytest.raises(ConfigError, match=r"deep\.tif has pixels of more than 8 bits"):
        read(tmp_path, name)


def test_signed_pixels_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    tiff(tmp_path / "a" / "x.tif", np.full((SIDE, SIDE, 1), -1, np.int8), "<", 1)
    with pytest.raises(ConfigError, match=r"x\.tif has signed pixels"):
        read(tmp_path)


def test_more_bits_that_ppm_states_are_scaled(tmp_path: Path) -> None:
    write(tmp_path, 2)
    pixels = RNG.integers(0, 1024, (SIDE, SIDE, 3))
    path = tmp_path / "a" / "0.ppm"
    path.write_bytes(f"P6 {SIDE} {SIDE} 1023 ".encode() + pixels.astype(">u2").tobytes())
    (tmp_path / "a" / "0.png").unlink()
    stored = read(tmp_path).train.tensor[0].permute(1, 2, 0).numpy()
    assert np.abs(stored - pixels * 255 / 1023).max() <= 1


# How to bring a picture that is upright into the position of each orientation.
INVERSE = (
    *(None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180),
    *(Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90),
    *(Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270),
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_pictures_are_turned_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    write(tmp_path, 2)
    upright = np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[: SIDE // 2, : SIDE // 2], upright[SIDE // 2 :, SIDE // 2 :] = 220, 110
    exif = Image.Exif()
    exif[0x0112] = orientation
    way = INVERSE[orientation - 1]
    image = Image.fromarray(upright)
    turned = image if way is None else image.transpose(way)
    turned.save(tmp_path / "a" / f"0.{ending}", exif=exif)
    if ending != "png":
        (tmp_path / "a" / "0.png").unlink()
    found = read(tmp_path).train.tensor[0].permute(1, 2, 0).numpy()
    assert np.abs(found - upright.astype(float)).mean() < 4


def test_broken_exif_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, 2)
    flat = Image.new("RGB", (SIDE, SIDE), (9, 99, 199))
    broken = (b"", b"garbage", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\x02")
    for number, exif in enumerate(broken):
        flat.save(tmp_path / "a" / f"x{number}.png", exif=b"Exif\0\0" + exif)
    assert n_pictures(read(tmp_path)) == 8


def over_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
    share = alpha[..., None] / 255
    return pixels * share + 255 * (1 - share)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("grey", [False, True])
def test_transparency_is_laid_on_white(tmp_path: Path, ending: str, grey: bool) -> None:
    write(tmp_path, 2)
    alpha, pixels = noise(SIDE, SIDE), noise()
    if grey:
        pixels = np.repeat(pixels[..., :1], 3, -1)
    shown = np.dstack([pixels[..., : 1 if grey else 3], alpha])
    (tmp_path / "a" / "0.png").unlink()
    Image.fromarray(shown).save(tmp_path / "a" / f"0.{ending}")
    found = read(tmp_path).train.tensor[0].permute(1, 2, 0).numpy()
    assert np.abs(found - over_white(pixels, alpha)).max() <= 1
    opaque = np.dstack([pixels, np.full_like(alpha, 255)])
    Image.fromarray(opaque).save(tmp_path / "a" / f"0.{ending}")
    found = read(tmp_path).train.tensor[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, pixels)


def test_a_transparent_value_or_palette_is_laid_on_white(tmp_path: Path) -> None:
    write(tmp_path, 3)
    pixels = noise(SIDE, SIDE)
    Image.fromarray(pixels).save(tmp_path / "a" / "0.png", transparency=7)
    palette = Image.fromarray(noise()).quantize(16)
    palette.save(tmp_path / "a" / "1.png", transparency=bytes([0, 0]))
    palette.save(tmp_path / "a" / "2.gif", transparency=1)
    (tmp_path / "a" / "2.png").unlink()
    stored = read(tmp_path).train.tensor.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(stored[0, ..., 0], np.where(pixels == 7, 255, pixels))
    places, colours = np.asarray(palette), np.asarray(palette.convert("RGB"))
    for found, clear in ((stored[1], places < 2), (stored[2], places == 1)):
        np.testing.assert_array_equal(found, np.where(clear[..., None], 255, colours))


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_the_first_of_several_pictures_is_read_and_said(tmp_path: Path, ending: str) -> None:
    write(tmp_path, 2)
    pages = [Image.new("L", (SIDE, SIDE), value) for value in (50, 150)]
    pages[0].save(tmp_path / "a" / f"x.{ending}", save_all=True, append_images=pages[1:])
    data = read(tmp_path)
    assert abs(int(data.train.tensor[2].max()) - 50) < 3
    assert "; only the first picture of 1 animations or files of several pages" in data.source
