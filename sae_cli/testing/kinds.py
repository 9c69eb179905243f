"""What a part of a certain kind has to do, whatever else it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.network import build_network_parts
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.assembly.stages import build_training
from sae_cli.config.schema import RunConfig
from sae_cli.config.settings import LOGGER
from sae_cli.core.plugins.loading import entry_of
from sae_cli.pictures import render
from sae_cli.results.drawing import RunView
from sae_cli.results.interchange.export import EXPORTERS, export
from sae_cli.results.load import load_run
from sae_cli.results.loaded_picture import Loaded
from sae_cli.run_folder.layout import LOG, read_metrics
from sae_cli.testing.trials import DIGITS, SHORT, compose, first_base, models, outcome, page_names

Check = Callable[[str, Path | None, Path], None]


def _config(kind: str, name: str, pages: Path | None) -> RunConfig:
    return first_base(kind, next(iter(page_names(kind, name, pages)), name), pages)


def _penalty(name: str, pages: Path | None, folder: Path) -> None:
    """Its value is one finite number, with a gradient; it changes no codes in place."""
    config = _config("penalty", name, pages)
    made = prepare(config, build_parts(config))
    penalty, model = made.training.network.penalty, made.training.autoencoder
    assert penalty is not None, f"penalty={name} makes nothing"
    passed = model(next(made.training.dataset.train.batches(8)))
    given = (passed.codes if penalty.of == "codes" else passed.pre_codes).detach()
    codes = given.clone().requires_grad_()
    value = penalty(codes)
    assert value.shape == () and bool(value.isfinite()), f"its value is {value}"
    assert len(penalty.per_example(codes)) == len(codes), "per_example has not a row an example"
    (gradient,) = torch.autograd.grad(value, codes, allow_unused=True)
    assert gradient is None or bool(gradient.isfinite().all()), "its gradient is not finite"
    assert torch.equal(codes, given), "it changes the codes that it is given"


def _activation(name: str, pages: Path | None, folder: Path) -> None:
    """It has its registered name, and codes are in the range that it states."""
    config = _config("activation", name, pages)
    activation = build_network_parts(config).activation
    assert activation.name == name, f"its name is {activation.name!r}; set self.name to {name!r}"
    activation.fit_to_([16])
    per_latent = activation.pre_codes_per_latent
    pre_codes = 4.0 * torch.randn(64, 16 * per_latent, generator=Generator().manual_seed(0))
    noise = torch.zeros(64, 16) if activation.samples else None
    codes = activation(pre_codes, noise)
    assert codes.shape == (64, 16), f"codes are of the shape {tuple(codes.shape)}"
    low, high = float(codes.detach().min()), float(codes.detach().max())
    within = activation.interval.low <= low and high <= activation.interval.high
    assert within, f"codes from {low:g} to {high:g} are outside of {activation.interval}"
    alone = activation(pre_codes[:1], None if noise is None else noise[:1])
    assert torch.allclose(alone, codes[:1]), "the codes of an example depend on others"


def _corruption(name: str, pages: Path | None, folder: Path) -> None:
    """It draws from the generator alone, and leaves its input as it is."""
    corruption = build_parts(_config("corruption", name, pages)).corruption
    assert corruption is not None, f"corruption={name} makes nothing"
    x = torch.rand(8, 1, 8, 8, generator=Generator().manual_seed(0))
    given = x.clone()
    first, again = (corruption(x, Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(x, given), "it changes its input"
    assert first.shape == x.shape and bool(first.isfinite().all())
    assert torch.equal(first, again), "the same generator gives other noise"


def _dataset(name: str, pages: Path | None, folder: Path) -> None:
    """It is the same each time, its values are in the range that it states, and no split is empty.

    Labels are -1, or numbers of classes.
    """
    config = _config("dataset", name, pages)
    first, again = read_dataset(config), read_dataset(config)
    assert first.fingerprint() == again.fingerprint(), "it is another one each time"
    for split in (first.train, first.val, first.test):
        assert len(split), "a split is empty"
        values = torch.cat([*split.batches(1024)])
        assert bool(values.isfinite().all()), "a value is not finite"
        low, high = float(values.min()), float(values.max())
        within = first.interval.low <= low and high <= first.interval.high
        assert within, f"values from {low:g} to {high:g} are outside of {first.interval}"
        if split.labels is not None:
            assert first.n_classes is not None, "there are labels, and n_classes is None"
            found = split.labels[split.rows]
            assert int(found.min()) >= -1 and int(found.max()) < first.n_classes


def _optimizer(name: str, pages: Path | None, folder: Path) -> None:
    """Its state is tensors, with which another one goes on in the same way."""
    entry = entry_of("optimizer", name)
    assert entry is not None and entry.registry is not None
    section = _config("optimizer", name, pages).parts["optimizer"]
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    first, second = (entry.registry.build(section, [weight]) for weight in weights)
    first.step([torch.tensor([1.0, -1.0, 0.5])], 0.1)
    assert not torch.equal(weights[0], torch.ones(3)), "a step moves nothing"
    _copy_(weights[1], weights[0])
    kept = {key: [one.clone() for one in tensors] for key, tensors in first.state_dict().items()}
    second.load_state_dict(kept)
    for one in (first, second):
        one.step([torch.tensor([0.5, 0.5, -2.0])], 0.1)
    assert torch.equal(*weights), "with a restored state it goes on otherwise"


@torch.no_grad()
def _copy_(target: Tensor, source: Tensor) -> None:
    target.copy_(source)


def _picture(name: str, pages: Path | None, folder: Path) -> None:
    """Some run has it; it has a file's name, and a PNG comes of it."""
    entry = entry_of("picture", name)
    assert entry is not None
    for number, model in enumerate(models()):
        config = compose([f"model={model}", *DIGITS, *SHORT], pages)
        outcome(config, folder / str(number))
        training = build_training(config, build_parts(config), read_dataset(config))
        with torch.no_grad():
            view = RunView(Loaded(config, training, read_metrics(folder / str(number))))
            drawn = list(entry.made_by(view))
        for one in drawn:
            assert one.name.isidentifier(), f"{one.name!r} cannot be the name of a file"
            assert render(one).startswith(b"\x89PNG")
        if drawn:
            return
    raise AssertionError(f"{name} draws nothing of any model")


def _tracker(name: str, pages: Path | None, folder: Path) -> None:
    """It follows a run to its end."""
    config = _config(LOGGER, name, pages)
    outcome(config, folder / "runs" / "run")
    said = (folder / "runs" / "run" / LOG).read_text("utf-8")
    assert " is off for the rest of this run" not in said, said


def _format(name: str, pages: Path | None, folder: Path) -> None:
    """It makes files of a dictionary."""
    outcome(compose(["model=topk", *DIGITS, *SHORT], pages), folder / "run")
    files: dict[Any, Any] = EXPORTERS.build({"name": name}, export(load_run(folder / "run")))
    assert files, "it makes no file"
    for file, content in files.items():
        assert Path(file).name == file, f"{file!r} is not the name of a file"
        assert isinstance(content, bytes), f"{file} is not bytes"


OF_KIND: dict[str, Check] = {
    "penalty": _penalty,
    "activation": _activation,
    "corruption": _corruption,
    "dataset": _dataset,
    "optimizer": _optimizer,
    "picture": _picture,
    LOGGER: _tracker,
    "format": _format,
}
