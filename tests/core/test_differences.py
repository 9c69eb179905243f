"""Differences in words."""

from __future__ import annotations

from sae_cli.core.differences import alike, diff


def test_what_is_alike_is_one_line() -> None:
    names = ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    then = {"threads": 2, "variables": dict.fromkeys(names, "1") | {"MKL_CBWR": "COMPATIBLE"}}
    now = {"threads": 1, "variables": {"MKL_CBWR": "AUTO"}}
    assert alike(diff(then, now)) == [
        "threads: 2 then, 1 now",
        f"variables.{', '.join(names)}: 1 then, nothing now",
        "variables.MKL_CBWR: COMPATIBLE then, AUTO now",
    ]
    assert alike(diff(then, then)) == []
