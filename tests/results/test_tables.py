"""Tables within the width of a terminal: what leaves, what is hidden, what is said of it."""

from __future__ import annotations

import random
import re

import pytest

from sae_cli.results.tables import Column, fitted, terminal_width

WHERE = "--wide shows all"
RUNS = ["out/a_ae", "out/b_vae", "out/c_topk"]


def columns() -> list[Column]:
    return [
        Column("run", RUNS, left=True),
        Column("status", ["finished"] * 3, 1, left=True),
        Column("activation.k", ["2", "4", "8"], 1),
        Column("val/fvu", ["0.1000", "0.2000", "0.3000"], 2),
        Column("val/l0", ["1.0000", "2.0000", "3.0000"], 3, condition="code > 0"),
        Column("note", ["x" * 30, "", "z"], 9, left=True),
        Column("device", ["-"] * 3, 4),
    ]


def test_nothing_is_left_out_of_a_wide_one() -> None:
    header, *rows = fitted(columns(), None, WHERE)
    names = ["run", "status", "activation.k", "val/fvu", "val/l0 (code > 0)", "note", "device"]
    assert re.split("  +", header) == names
    assert [re.split("  +", row)[1:3] for row in rows] == [["finished", k] for k in "248"]


def test_what_all_rows_share_is_said_once() -> None:
    above, header, *rows = fitted(columns(), 120, WHERE)
    assert above == "all: status=finished"
    assert "status" not in header and "device" not in header
    assert rows[0].split() == ["out/a_ae", "2", "0.1000", "1.0000", "x" * 30]
    # One row shares everything with itself.
    alone = [Column(one.header, one.cells[:1], one.rank, one.left) for one in columns()]
    assert "status" in fitted(alone, 120, WHERE)[0]


def test_names_are_shortened_where_they_stay_clear() -> None:
    lines = fitted(columns(), 60, WHERE)
    assert lines[1].split() == ["run", "k", "fvu", "l0", "note"]
    assert lines[2].split()[0] == "a_ae"
    said = " ".join(lines[5:])
    for words in (
        "run = out/...",
        "k = activation.k",
        "fvu = val/fvu",
        "l0 = val/l0 (code > 0)",
    ):
        assert words in said
    both = [*columns(), Column("test/fvu", ["1", "2", "3"], 2)]
    header = fitted(both, 66, WHERE)[1].split()
    assert "val/fvu" in header and "test/fvu" in header and "l0" in header


def test_the_least_important_is_hidden_first() -> None:
    lines = fitted(columns(), 40, WHERE)
    assert lines[1].split() == ["run", "k", "fvu", "l0"]
    assert lines[-1] == f"hidden: note; {WHERE}"
    with_others = [*columns(), *(Column(f"m{n}", ["10", "20", "30"], 5 + n) for n in range(9))]
    lines = fitted(with_others, 40, WHERE)
    assert "m0" in lines[1] and "m8" not in lines[1]
    assert "hidden: note, m" in " ".join(lines)


@pytest.mark.parametrize("seed", range(20))
def test_no_line_is_wider_than_asked(seed: int) -> None:
    """Whatever the columns: but for one word that alone is longer, which stays whole."""
    draw = random.Random(seed)
    given = [Column("job", [str(n) for n in range(4)], left=True)]
    for number in range(draw.randint(1, 12)):
        cells = ["x" * draw.randint(0, 30) for _ in range(4)]
        left, rank = draw.random() < 0.5, draw.randint(1, 5)
        given.append(Column(f"a{number % 3}.b{number}", cells, rank, left))
    width = draw.randint(40, 120)
    lines = fitted(given, width, WHERE)
    assert all(len(line) <= width for line in lines), lines
    text = " ".join(lines)
    for one in given:
        assert one.header in text or one.header.partition(".")[2] in text


def test_what_is_always_there_is_cut_in_its_middle() -> None:
    paths = [f"/data/{'long' * 20}/{n}.npy" for n in range(2)] + ["/data/x"]
    lines = fitted(
        [Column("key", ["a", "b", "c"], left=True), Column("A", paths, left=True)], 40, ""
    )
    assert lines[1].endswith("/0.npy") and "..." in lines[1] and len(lines[1]) == 40


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert terminal_width() == 120
    monkeypatch.setenv("COLUMNS", "3")
    assert terminal_width() == 40
    monkeypatch.delenv("COLUMNS")
    # The tests run without a terminal.
    assert terminal_width() >= 40


def test_long_names_are_cut_before_columns_are_hidden() -> None:
    folder = "2026-11-28_20-11-59_b3c6b393_sweep"
    weights = ["0.01", "0.03", "0.1"]
    jobs = [
        f"out/{folder}/{n}_model=sparse_l1,penalty.weight={weight},epochs=20"
        for n, weight in enumerate(weights)
    ]
    names = ["out/2026-11-28_20-10-58_3d83dd05_ae_digits", *jobs]
    columns = [
        Column("run", names, left=True),
        Column("val/fvu", ["0.0948", "0.0317", "0.0519", "0.1215"], 2),
        Column("val/l0", ["27.6650", "40.8700", "35.2600", "23.5150"], 3),
    ]
    header, *rows = fitted(columns, 80, WHERE)[:5]
    assert header.split() == ["run", "fvu", "l0"]
    assert all(len(row) <= 80 for row in rows)
    shown = [row.split()[0] for row in rows]
    assert shown[0] == "2026-11-28_20-10-58_3d83dd05_ae_digits"
    # The sweep and the number of the job stay.
    assert all(name.startswith(f"{folder}/{n}_") for n, name in enumerate(shown[1:]))
    # With nothing to hide they are whole, and names that differ in their middles stay apart.
    assert [row.split()[0] for row in fitted(columns[:1], 120, WHERE)[1:5]] == names
    alike = ["a" * 50 + middle + "b" * 50 for middle in "xy"]
    fvu = Column("val/fvu", ["0.1", "0.2"], 2)
    lines = fitted([Column("run", alike, left=True), fvu], 110, WHERE)
    assert len({line.split()[0] for line in lines[1:3]}) == 2


def test_columns_are_not_hidden_for_names_that_no_width_shows_apart() -> None:
    alike = ["a" * 100 + middle + "b" * 100 for middle in "xy"]
    columns = [Column("run", alike, left=True), Column("val/fvu", ["0.1", "0.2"], 2)]
    lines = fitted(columns, 80, WHERE)
    assert [line.split()[1] for line in lines[:3]] == ["fvu", "0.1", "0.2"]


def test_a_narrow_terminal_shows_more_than_names() -> None:
    names = [f"2026-11-28_10-00-00_a/{n}_penalty.weight={n},epochs=20" for n in range(3)]
    names.append("2026-11-29_10-00-00_a/0_penalty.weight=0,epochs=20")
    fvu = Column("val/fvu", ["0.1", "0.2", "0.3", "0.4"], 2)
    header, *rows = fitted([Column("run", names, left=True), fvu], 40, WHERE)[:5]
    assert header.split() == ["run", "fvu"]
    kept = len(names[0].partition("_penalty")[0])
    assert all(row.startswith(name[:kept]) for row, name in zip(rows, names, strict=True))
    assert all(len(row) <= 40 for row in rows)
