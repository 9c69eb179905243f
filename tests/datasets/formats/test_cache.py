"""The cache of decoded files saves decoding, and can neither spoil values nor fail a run."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.cache import Decoded, load_or_decode
from sae_cli.datasets.formats.idx import IdxArray, read_idx

LABELS = np.random.default_rng(0).integers(0, 10, 3000, np.uint8)
WHOLE = bytes([0, 0, 8, 1]) + len(LABELS).to_bytes(4, "big") + LABELS.tobytes()
KEY = "0" * 64


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(WHOLE))
    return path


@pytest.fixture
def forbid_unpacking(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("unpacked")

    return lambda: monkeypatch.setattr("sae_cli.datasets.formats.idx.gzip.GzipFile", fail)


def read(path: Path, size: int | None = None) -> IdxArray:
    return read_idx(path, (size,), "get the right file")


def check(found: IdxArray) -> None:
    np.testing.assert_array_equal(found.values, LABELS)
    assert found.sha256 == hashlib.sha256(WHOLE).hexdigest()


def test_a_second_read_does_not_unpack(
    packed: Path, cache: Path, forbid_unpacking: Callable[[], None]
) -> None:
    check(read(packed))
    forbid_unpacking()
    check(read(packed))
    (entry,) = cache.iterdir()
    assert entry.name == hashlib.sha256(packed.read_bytes()).hexdigest() + ".npy"
    stored = np.load(entry, allow_pickle=False)
    assert stored[: len(WHOLE)].tobytes() == WHOLE


def test_sizes_are_compared_for_an_entry_too(packed: Path) -> None:
    read(packed)
    with pytest.raises(ConfigError, match="holds 3000 values, expected 2999; get the right file"):
        read(packed, 2999)


def test_a_changed_file_is_another_entry(packed: Path, cache: Path) -> None:
    read(packed)
    changed = bytearray(WHOLE)
    changed[-1] ^= 1
    packed.write_bytes(gzip.compress(bytes(changed)))
    assert read(packed).values.tobytes() == changed[8:]
    assert len(list(cache.iterdir())) == 2


def test_a_plain_file_and_a_damaged_one_are_not_kept(packed: Path, cache: Path) -> None:
    packed.with_suffix("").write_bytes(WHOLE)
    check(read(packed.with_suffix("")))
    packed.write_bytes(packed.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="is a damaged gzip file"):
        read(packed)
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:100],
        lambda b: b[:-1],
        lambda b: b + b"x",
        lambda b: b[:-1] + bytes([b[-1] ^ 1]),
        lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:],
        lambda b: b.replace(b"|u1", b"|b1"),
        lambda b: b.replace(b"(3040,)", b"(30,40)"),
        lambda b: b.replace(b"(3040,), }", b"(304,), } "),
        lambda b: b"PK\x03\x04" + b[4:],
    ],
)
def test_a_damaged_entry_is_decoded_anew(
    packed: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    check(read(packed))
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.unlink()
    entry.write_bytes(damage(whole))
    assert entry.read_bytes() != whole
    check(read(packed))
    assert entry.read_bytes() == whole


FORGED = {
    "of another file": WHOLE[:8] + bytes(len(LABELS)),
    "shorter": WHOLE[:-1],
    "with other sizes": bytes([0, 0, 8, 1]) + (99).to_bytes(4, "big") + LABELS.tobytes(),
    "without a header": b"",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("with_seal", [False, True])
def test_a_forged_entry_is_replaced_and_the_file_not_blamed(
    packed: Path, cache: Path, forged: bytes, with_seal: bool
) -> None:
    check(read(packed))
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    key = entry.stem if with_seal else KEY
    values = np.frombuffer(forged, np.uint8)
    kept = load_or_decode(KEY, lambda: values, len)
    seal = hashlib.sha256(f"{key} {kept.sha256}".encode()).digest()
    entry.unlink()
    np.save(entry, np.frombuffer(forged + seal, np.uint8))
    if with_seal and forged is FORGED["of another file"]:
        # No check can tell a whole file, sealed for this key, from the one that was decoded.
        np.testing.assert_array_equal(read(packed).values, np.zeros(len(LABELS)))
    else:
        check(read(packed))
        assert entry.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"short"])
def test_an_entry_too_short_for_its_digest(cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    np.save(cache / f"{KEY}.npy", np.frombuffer(content, np.uint8))
    assert load_or_decode(KEY, lambda: LABELS, len).values is LABELS


def test_a_folder_that_cannot_be_made(
    packed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAE_CACHE", f"{packed}/cache")
    check(read(packed))
    check(read(packed))
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_leaves_nothing(
    packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    check(read(packed))
    assert list(cache.iterdir()) == []


def test_an_entry_that_is_a_folder(packed: Path, cache: Path) -> None:
    (cache / (hashlib.sha256(packed.read_bytes()).hexdigest() + ".npy")).mkdir(parents=True)
    check(read(packed))


def test_many_writers_at_once(cache: Path) -> None:
    values = np.zeros(1 << 20, np.uint8)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_or_decode(KEY, lambda: values, len), range(32)))
    assert {one.sha256 for one in found} == {hashlib.sha256(values.data).hexdigest()}
    assert [entry.name for entry in cache.iterdir()] == [f"{KEY}.npy"]


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept() -> Decoded:
        return load_or_decode(KEY, lambda: LABELS, len)

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SAE_CACHE")
    kept()
    assert (tmp_path / "xdg" / "sae-train" / f"{KEY}.npy").is_file()
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        kept()
    assert (tmp_path / "home" / ".cache" / "sae-train" / f"{KEY}.npy").is_file()


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SAE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert load_or_decode(KEY, lambda: LABELS, len).values is LABELS
