"""The contracts of a plug-in's parts, one test each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sae_cli.config.schema import GROUPS
from sae_cli.core.paths import full_path
from sae_cli.core.plugins.loaded import LOADED
from sae_cli.core.plugins.loading import load
from sae_cli.core.plugins.sources import find_source
from sae_cli.results.load import load_run
from sae_cli.runs.resume import resume
from sae_cli.testing.kinds import OF_KIND
from sae_cli.testing.other_values import other_values
from sae_cli.testing.trials import bases, first_base, outcome, outcome_or_none, page_names

# So many trainings show whether an option does anything.
MOST_TRAININGS = 20


class Contract(NamedTuple):
    """Something that a part has to fulfil.

    Attributes:
        name: such as ``penalty=huber trains``.
        check: raises an error if it does not; is given an empty folder.
    """

    name: str
    check: Callable[[Path], None]


def contract_tests(plugin: str | Path, *, pages: str | Path | None = None) -> Any:
    """Give a test for pytest of every contract of a plug-in's parts.

    Args:
        plugin: a Python file or package, as ``--plugin`` takes it.
        pages: the folder of its pages, as ``--config-dir`` takes it.

    Raises:
        ConfigError: the plug-in cannot be loaded.
    """
    import pytest

    @pytest.mark.parametrize("contract", contracts_of(plugin, pages), ids=lambda one: one.name)
    def test(contract: Contract, tmp_path: Path) -> None:
        contract.check(tmp_path)

    return test


def contracts_of(plugin: str | Path, pages: str | Path | None = None) -> list[Contract]:
    """Load a plug-in and list its contracts; for another runner of tests than pytest."""
    load([str(plugin)])
    folder = None if pages is None else full_path(pages)
    parts = LOADED[find_source(str(plugin)).name].parts
    return [contract for kind, name in parts for contract in _of_part(kind, name, folder)]


def _of_part(kind: str, name: str, pages: Path | None) -> Iterator[Contract]:
    which = f"{kind}={name}"
    if kind in GROUPS:
        yield Contract(f"{which} has a page", partial(_has_page, kind, name, pages))
        yield Contract(f"{which} trains", partial(_trains, kind, name, pages))
        yield Contract(f"{which} resumes and loads", partial(_resumes, kind, name, pages))
        for option in GROUPS[kind].schema(name).model_fields:
            check = partial(_has_an_effect, kind, name, option, pages)
            yield Contract(f"{which} {option} has an effect", check)
    if kind in OF_KIND:
        yield Contract(f"{which} does what a {kind} does", partial(OF_KIND[kind], name, pages))


def _has_page(kind: str, name: str, pages: Path | None, folder: Path) -> None:
    """A page chooses it, and each that does is right."""
    found = page_names(kind, name, pages)
    assert found, (
        f"{kind}={name} has no page; write {kind}/{name}.yaml with the line 'name: {name}'"
    )
    for page in found:
        first_base(kind, page, pages)


def _page(kind: str, name: str, pages: Path | None) -> str:
    return next(iter(page_names(kind, name, pages)), name)


def _trains(kind: str, name: str, pages: Path | None, folder: Path) -> None:
    """It trains, and a second time to the same bits."""
    config = first_base(kind, _page(kind, name, pages), pages)
    first, again = (outcome(config, folder / name) for name in ("first", "again"))
    assert first.summary["status"] == "finished"
    assert first.summary == again.summary, "a second training has other metrics"
    assert first.model == again.model, "a second training gives another model: draw from the seed"


def _resumes(kind: str, name: str, pages: Path | None, folder: Path) -> None:
    """Resumed after an epoch, it comes to what two epochs at once come to; and it loads."""
    config = first_base(kind, _page(kind, name, pages), pages)
    outcome(config, folder / "resumed")
    resume(folder / "resumed", {"epochs": 2})
    whole = outcome(config.changed({"epochs": 2}), folder / "whole")
    resumed = (folder / "resumed" / "model.safetensors").read_bytes()
    assert resumed == whole.model, "a resumed training differs: its state is not all in tensors"
    run = load_run(folder / "whole")
    assert run.n_latents == whole.summary["n_latents"]


def _has_an_effect(kind: str, name: str, option: str, pages: Path | None, folder: Path) -> None:
    """With another value of an option, some training comes out otherwise."""
    field = GROUPS[kind].schema(name).model_fields[option]
    page = _page(kind, name, pages)
    tried = 0
    for number, config in enumerate(islice(bases(kind, page, pages), 3)):
        plain = config.as_dict()
        before = outcome_or_none(plain, folder / f"{number}_before")
        values = list(other_values(field.annotation, plain[kind][option]))
        if not values:
            # A text names something that only its author knows another of.
            return
        for value in values[: MOST_TRAININGS - tried]:
            tried += 1
            change = {kind: plain[kind] | {option: value}}
            after = outcome_or_none(plain | change, folder / f"{tried}_after")
            if before is not None and after is not None and before != after:
                return
    raise AssertionError(f"{kind}.{option} changes nothing of a training with {kind}={name}")
