"""Whatever is in a stranger's files, reading them gives a value or one line of error."""

from __future__ import annotations

import os
import pickle
import random
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.conftest import fresh_seed
from tests.fuzz.mutations import damage
from tests.fuzz.readers import COUNTS, Reader, make_readers, write_run
from tests.fuzz.watch import peak_bytes, watch

MAX_GROWTH = 500_000_000
# For each reader, by default.
QUICK_COUNT = 40


def test_enough_is_tried(readers: dict[str, Reader]) -> None:
    assert set(readers) == set(COUNTS)
    assert sum(COUNTS.values()) >= 6500


def test_the_watch_notices(tmp_path: Path) -> None:
    with watch(tmp_path) as seen:
        (tmp_path / "inside").mkdir()
        (tmp_path / "inside" / "file").write_bytes(b"x")
        Path(os.devnull).read_bytes()
        assert not seen
        Path(os.devnull).write_bytes(b"x")
        assert len(seen) == 1
        with pytest.raises(OSError):
            os.rmdir("/nowhere/at/all")
        pickle.loads(b"cos\ngetpid\n.")
        os.system("true")
    assert [event.split("(")[0] for event in seen] == [
        *("open", "os.rmdir", "pickle.find_class", "os.system")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    write_run(path)
    return path


@pytest.fixture(scope="module")
def readers(folder: Path) -> dict[str, Reader]:
    return make_readers(folder)


@pytest.fixture(scope="module")
def peak_before(readers: dict[str, Reader]) -> int:
    """The memory held once every reader has read what is valid."""
    for reader in readers.values():
        reader.read(reader.valid)
    return peak_bytes()


@pytest.mark.parametrize("name", COUNTS)
def test_reading_does_nothing_but_read(
    readers: dict[str, Reader], folder: Path, peak_before: int, name: str
) -> None:
    check_reading(readers[name], folder, peak_before, QUICK_COUNT, name)


@pytest.mark.soak
@pytest.mark.parametrize("name", COUNTS)
def test_reading_more_does_nothing_but_read(
    readers: dict[str, Reader], folder: Path, peak_before: int, name: str
) -> None:
    check_reading(readers[name], folder, peak_before, COUNTS[name], fresh_seed())


def check_reading(
    reader: Reader, folder: Path, peak_before: int, count: int, seed: int | str
) -> None:
    """The same seed makes the same inputs."""
    allowed = (folder, Path(os.environ["SAE_CACHE"]))
    tried, refused, wrong = 0, 0, []
    for content in islice(inputs(reader, random.Random(seed)), count):
        tried += 1
        try:
            with watch(*allowed) as seen:
                reader.read(content)
        except reader.error as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) > 10_000:
                wrong.append(f"input {tried}: an error of several lines: {error}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{at.filename}:{at.lineno}"
            wrong.append(f"input {tried}: {error!r:.200} at {where}, of {content[:150]!r}")
        wrong += [f"input {tried} did {event}" for event in seen]
    assert not wrong, f"{len(wrong)} of {tried} (seed {seed}): " + "\n".join(wrong[:10])
    assert tried == count
    assert refused > 0.4 * tried
    grown = peak_bytes() - peak_before
    assert grown < MAX_GROWTH, f"memory grew by {grown / 1e6:.0f} MB"


def inputs(reader: Reader, rng: random.Random) -> Iterator[bytes]:
    """Endless inputs: damaged at random, faulty by structure, or both."""
    faults = reader.faults(reader.valid, rng)
    while True:
        yield damage(reader.valid, rng)
        yield next(faults)
        yield next(faults)
        yield damage(next(faults), rng)
