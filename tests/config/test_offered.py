"""Whatever a message offers is taken: each suggestion is composed, checked and built."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sae_cli.assembly.parts import build_parts
from sae_cli.commands.arguments import parse
from sae_cli.commands.train import _folder
from sae_cli.config.asked import read
from sae_cli.config.schema import RunConfig, check
from sae_cli.core.errors import ConfigError
from tests.conftest import slow

# These are refused by the parts, which are built for no other line.
TOGETHER = ("activation=relu", "model=ae penalty=kl")
# Wrong command lines of every kind.
WRONG = [
    # Unknown keys
    *("lr=0.1", "learning_rate=0.1", "optimizer.lr=0.1", "dropout=0.1", "gpu=true", "stride=2"),
    *("n_hidden=9", "latent_dim=9", "model.hidden=9", "output_dir=x", "-m output_dir=x seed=1,2"),
    *("model=ae l1_coefficient=0.1", "model=ae rho=0.1", "model=conv expansion=2", "noise=0.1"),
    *("optimizer.momentum=0.9", "penalty.stride=[2]", "head.n_labels=9", "bacth_size=9"),
    *("experiment=hands_on_tied sparsity=0.1", "+penalty.wieght=1", "corruption.std=0.1"),
    # Unknown choices
    *("penalty=sparsity", "activation=linear", "architecture=mlp", "optimizer=Adam", "device=gpu"),
    *("schedule=stepwise", "lr_schedule=step", "corruption=noise", "inference=lista", "head=mlp"),
    *("reconstruction=l2_loss", "-m hydra/launcher=nope seed=1,2", "sort_by=loss"),
    # Wrong values
    *("architecture.init=xavier", "compile=always", "architecture.output_activation=none"),
    *(
        "architecture.hidden_sizes=9",
        "device.precision=fp16",
        "architecture.hidden_activations=relu",
    ),
    # Several values
    *("seed=1,2", "penalty=l1,kl", "architecture.hidden_sizes=9,8", "seed=range(0,3)"),
    *(
        "optimizer=glob(a*)",
        "hydra.run.dir=a,b",
        "dataset=array dataset.path=a,b",
        "seed=choice(1,2)",
    ),
    # Not where it belongs
    *(
        "hydra/launcher=basic",
        "hydra/launcher=joblib",
        "hydra.sweep.dir=x",
        "+seed=1",
        "+dataset=digits",
    ),
    *("-m hydra.run.dir=x seed=1,2", "experiment=hands_on_tied model=ae"),
    # What does not go together
    *TOGETHER,
]


def _accept(line: list[str]) -> list[RunConfig]:
    """Take a command line as the command does, up to its training."""
    arguments = parse(line)
    asked = read(arguments.overrides, multirun=arguments.multirun, pages=None)
    _folder(asked.hydra, asked.runs[0], arguments.multirun)
    return [check(run.run) for run in asked.runs]


def _offers(line: list[str], text: str) -> Iterator[list[str]]:
    """Give the command lines that a message offers in place of the wrong one."""
    wrong = text.partition(": ")[0].split()[0]
    key = wrong.partition("=")[0].lstrip("+")
    rest = [word for word in line if word.lstrip("+-").partition("=")[0] != key]
    for words in re.findall(r"did you mean ([^?]+)\?", text):
        unknown = text.removeprefix("unknown key ").removeprefix("unknown option ")
        bad = re.split(r"[=;: ]", unknown)[0]
        others = [word for word in line if word.lstrip("+").partition("=")[0] != bad]
        for offer in words.split(" or "):
            if "=" in offer or bad != key or text.startswith("unknown"):
                yield [*others, *_given(others, offer)]
            else:
                yield [*rest, f"{key}={offer}"]
    if found := re.search(r"choose one of ([\w, /]+)", text):
        # The list is that of the pages, which all compose; two show that it is read rightly.
        yield from ([*rest, f"{key}={name}"] for name in found[1].split(", ")[:2])
    if found := re.search(r"choose one that has(?: \w+)?: (.*)", text):
        yield from ([*line, choice] for choice in found[1].split(", ") if "=" in choice)
    if found := re.search(r"must be ('.*')", text):
        yield from ([*rest, f"{key}={name}"] for name in re.findall(r"'(\w+)'", found[1]))
    if found := re.search(r"choose (\w+) from ([\w, ]+), or", text):
        others = [word for word in line if word.partition("=")[0] != found[1]]
        yield from ([*others, f"{found[1]}={name}"] for name in found[2].split(", "))
    if "add -m" in text or "give -m" in text:
        yield ["-m", *line]
    if "leave it out" in text or "leave out model=" in text:
        yield [word for word in line if not word.startswith((key, "model="))]
    for quoted in re.findall(r"'([\w.]+=\".*\")'", text):
        yield [*rest, quoted]
    for example in re.findall(r"(?:for example|write) ([\w.]+=\S+)", text):
        yield [*rest, example.rstrip(",;").replace("=VALUE", "=3").replace("=NAME", "=mnist")]
    for swept in re.findall(r"or -m ([\w.]+=\S+)", text):
        yield ["-m", *rest, swept]
    for folder in re.findall(r"hydra\.(?:run|sweep)\.dir=(?=FOLDER|$)", text):
        yield [*[word for word in line if not word.startswith("hydra.")], f"{folder}y"]


def _given(others: list[str], offer: str) -> list[str]:
    """Give the words of an offer, its keys with the value that they have anyway."""
    words = re.findall(r"[\w./]+(?:=\w+)?", offer.replace(", with", ""))
    choices = [word for word in words if "=" in word]
    plain = [word for word in words if "=" not in word]
    if plain == ["hydra.run.dir"] or plain == ["hydra.sweep.dir"]:
        return [f"{plain[0]}=y"]
    (asked,) = read([*[w for w in others if w != "-m"], *choices], multirun=False, pages=None).runs
    return [*choices, *(f"{key}={_value(asked.run, key)}" for key in plain)]


def _value(run: dict[str, Any], key: str) -> str:
    group, _, option = key.rpartition(".")
    value = run[group][option] if group else run[key]
    value = value["name"] if isinstance(value, dict) else value
    return "null" if value is None else str(value).replace("'", "")


@pytest.mark.parametrize("line", [*WRONG[::6], *slow(one for i, one in enumerate(WRONG) if i % 6)])
def test_what_a_message_offers_is_taken(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        configs = _accept(shlex.split(line))
        build_parts(configs[0])
    text = str(caught.value)
    offers = list(_offers(shlex.split(line), text))
    refused = {}
    for offer in offers:
        try:
            configs = _accept(offer)
            if " from " in text:
                build_parts(configs[0])
        except ConfigError as error:
            refused[shlex.join(offer)] = str(error)
    assert offers, text
    assert not refused, text
