"""One evaluation: metrics beside their references, and a line for whatever could not be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import counted, short
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.pictures.latents.angles import part_angles
from sae_cli.results.evaluation.measure import DENSE_ABOVE, Measured, measure
from sae_cli.results.evaluation.modes import modes_of_angles
from sae_cli.results.evaluation.predicted import predicted_codes
from sae_cli.results.evaluation.probes import labelled_codes, probe
from sae_cli.results.evaluation.reference import principal_components, unexplained
from sae_cli.results.evaluation.stability import stability
from sae_cli.results.evaluation.subject import Subject
from sae_cli.results.examples import is_about
from sae_cli.results.run import Run


@dataclass(frozen=True)
class Evaluation:
    """What was found of one run.

    Attributes:
        about: what was evaluated, on which data.
        metrics: by name.
        notes: what must be known to read them.
    """

    about: dict[str, Any]
    metrics: dict[str, Any]
    notes: list[str]


def evaluate(subject: Subject) -> Evaluation:
    """Measure a run on a split, with references, probes and what its kind of latents has.

    Raises:
        ConfigError: the data are unfit, or change while they are read.
    """
    notes = list(subject.notes)
    with bus_errors_raised():
        measured = measure(subject)
        metrics = dict(measured.metrics)
        metrics |= _references(subject, measured, notes)
        metrics |= _probes(subject, notes)
        metrics |= predicted_codes(subject, notes)
    if measured.units is not None:
        metrics |= measured.units.result()
    metrics |= _angles(subject.run, measured, notes)
    return Evaluation(_about(subject), metrics, [*_range_notes(subject, measured), *notes])


def compare_atoms(runs: Sequence[Run]) -> tuple[dict[str, Any], list[str]]:
    """Compare the atoms of several runs, which differ in their seeds, say.

    Returns:
        the metrics, or none and a line that says why.
    """
    try:
        dictionaries = [run.dictionary.cpu() for run in runs]
    except ConfigError as error:
        return {}, [f"atoms are not compared: {error}"]
    for one, other in combinations(dictionaries, 2):
        if one.shape[1] != other.shape[1]:
            return {}, [
                f"atoms are not compared, because they have {one.shape[1]} and {other.shape[1]} "
                "features"
            ]
    signed = all(run.autoencoder.activation.interval.low >= 0.0 for run in runs)
    found = stability(dictionaries, signed=signed)
    kind = "cosines" if signed else "magnitudes of cosines, because codes may be negative,"
    how = f"matched one to one, {kind} are means over {counted(_n_pairs(runs), 'pair')} of runs"
    if "matched_cosine" not in found:
        how = "matched_cosine needs SciPy and at most 4,096 atoms; nearest_cosine is of each atom's"
        how += " nearest"
    return found, [how]


def _n_pairs(runs: Sequence[Run]) -> int:
    return len(runs) * (len(runs) - 1) // 2


def _about(subject: Subject) -> dict[str, Any]:
    run, activation = subject.run, subject.run.autoencoder.activation
    return {
        "run": str(run.path),
        "weights": run.weights.file,
        "epoch": run.weights.epoch,
        "step": run.weights.step,
        "data": subject.data.source,
        "split": subject.split,
        "n_examples": len(subject.examples),
        "n_latents": run.n_latents,
        "active_above": activation.active_above,
        "dense_above": DENSE_ABOVE,
    }


def _range_notes(subject: Subject, measured: Measured) -> list[str]:
    trained = subject.run.record.interval
    if is_about(measured.span, trained):
        return []
    return [
        f"the model sees values in {measured.span}, and was trained on values in {trained}; "
        "dataset.divisor= may bring them there"
    ]


def _references(subject: Subject, measured: Measured, notes: list[str]) -> dict[str, Any]:
    """Give what principal components leave unexplained, as a fraction and for each example."""
    train, split = subject.data.train, subject.examples
    components = principal_components(train)
    most = len(components.axes)
    widths = [min(subject.run.n_latents, most), min(round(measured.metrics["l0"]), most)]
    baseline, variation = measured.baseline, measured.baseline.variation
    of_latents, of_active = unexplained(components, split, widths, variation)
    notes.append(
        f"pca_fvu is of {counted(widths[0], 'principal component')}, as many as latents (at most "
        f"as features); pca_l0_fvu of {widths[1]}, as many as are active; of {components.how}"
    )
    notes.append(
        "squared_error and pca_squared_error are of an example, summed over its "
        f"{counted(baseline.n_features, 'feature')}"
    )
    return {
        "pca_fvu": of_latents,
        "pca_l0_fvu": of_active,
        "squared_error": measured.metrics["mse"] * baseline.n_features,
        "pca_squared_error": of_latents * variation / baseline.n,
    }


def _probes(subject: Subject, notes: list[str]) -> dict[str, Any]:
    """Give the accuracy of probes; without them, a note says why."""
    train = labelled_codes(subject, subject.data.train)
    test = labelled_codes(subject, subject.examples)
    if train is None or test is None:
        notes.append("linear_probe and neighbours need labels, and these data have none")
        return {}
    try:
        found = probe(train, test)
    except ConfigError as error:
        notes.append(str(error))
        return {}
    more = "" if found.converged else "; the linear one had not converged"
    same = ", which are those that they are tried on" if subject.split == "train" else ""
    notes.append(
        f"linear_probe and neighbours (5) are trained on the codes of {len(train.y):,} training "
        f"examples{same}, and tried on {len(test.y):,}{more}"
    )
    return {"linear_probe": found.linear, "neighbours": found.neighbours}


def _angles(run: Run, measured: Measured, notes: list[str]) -> dict[str, Any]:
    """Tell how the angles between encoder rows and atoms of live latents are distributed, where a
    classifier of the codes was trained along."""
    rows, decoder = run.autoencoder.filters(), run.autoencoder.linear_decoder()
    if run.network.head is None or rows is None or decoder is None:
        return {}
    if rows.shape != decoder[0].t().shape:
        return {}
    angles = part_angles(rows.cpu(), decoder[0].detach().cpu())[measured.n_active > 0].double()
    try:
        found = modes_of_angles(angles[angles.isfinite()].numpy())
    except ConfigError as error:
        notes.append(str(error))
        return {}
    if found:
        notes.append(
            "angle_bic_one and angle_bic_two are Schwarz's criterion (the lower, the better) of "
            "one normal distribution and of two, of the angles in radians between encoder and "
            f"atom of {counted(len(angles), 'live latent')}; angle_modes, the maxima of the better"
        )
    return found


def title(run: Run) -> str:
    """Name a run and its weights."""
    where = "" if run.weights.epoch is None else f", epoch {run.weights.epoch}"
    return f"{short(run.path)} ({run.weights.file}{where})"
