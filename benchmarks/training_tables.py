"""Tables ``job``, ``whole``, ``batches`` and ``pages``: every contender trains the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from contenders import SAE_TRAIN, Result, train
from job import PAGES, Page
from plan import Plan
from rounds import in_turn, keep, markdown, ratios, spread

EPOCH_NOTE = (
    "Seconds an epoch, validation included: median (lowest-highest) over the rounds of the median "
    "over the epochs after the first. Ratios are taken within each round; below 1 sae-train is "
    "the faster."
)
WHOLE_NOTE = (
    "Seconds from the start of the process to its exit, nothing compiled beforehand. sae-train "
    "also writes checkpoints and measures the final weights on all three splits. Ratios as above."
)
WIDE_THREADS = "products-2-threads"
Results = dict[str, list[Result]]
Measure = Callable[[Result], float]


def epoch_seconds(result: Result) -> float:
    return result.outcome.epoch_seconds


def whole_seconds(result: Result) -> float:
    return result.outcome.seconds


def peak_mib(result: Result) -> float:
    return result.outcome.peak_mib


def job(plan: Plan) -> str:
    """Make the table of one page at batch 32: speed, memory, and the loss, equal for all."""
    results = _train(plan, "job", PAGES["sparse_kl"], 32, plan.epochs or 4)
    title = "Seconds an epoch, sparse_kl, batches of 32"
    return _compare("job", title, EPOCH_NOTE, results, epoch_seconds)


def whole(plan: Plan) -> str:
    """Make the same table from start to exit."""
    epochs = plan.epochs or 10
    results = _train(plan, "whole", PAGES["sparse_kl"], 32, epochs)
    title = f"Seconds for the whole process, sparse_kl, batches of 32, {epochs} epochs"
    return _compare("whole", title, WHOLE_NOTE, results, whole_seconds)


def batches(plan: Plan) -> str:
    """Make the table of batch sizes: small ones cost calls, large ones arithmetic."""
    rows = []
    for size in plan.batch_sizes:
        found = _train(
            plan, f"batches {size}", PAGES["sparse_kl"], size, plan.epochs or 4, WIDE_THREADS
        )
        rows += _rows(f"batches {size}", str(size), found)
    return markdown("Batch sizes, sparse_kl", EPOCH_NOTE, ["batch", *HEADER], rows)


def pages(plan: Plan) -> str:
    """Make the table of other penalties, noise, another shape, another optimizer."""
    rows = []
    for page in PAGES.values():
        found = _train(plan, f"pages {page.name}", page, 32, plan.epochs or 4)
        rows += _rows(f"pages {page.name}", page.name, found)
    return markdown("Pages, batches of 32", EPOCH_NOTE, ["page", *HEADER], rows)


HEADER = ("contender", "s an epoch", "sae-train / it", "final val loss")


def _train(plan: Plan, table: str, page: Page, batch_size: int, epochs: int, *more: str) -> Results:
    """Train the contenders that were asked for, or all, with one thread for products."""
    names = plan.contenders or [n for n in plan.pythons if n != WIDE_THREADS or n in more]
    cases = {
        name: partial(train, name, plan.pythons[name], page, batch_size, epochs)
        for name in names
        if name in plan.pythons
    }
    return in_turn(table, cases, plan.rounds)


def _values(
    table: str, quantity: str, results: Results, measure: Measure
) -> dict[str, list[float]]:
    values = {name: [measure(result) for result in found] for name, found in results.items()}
    for name, measured in values.items():
        keep(table, name, quantity, measured)
    return values


def _middle(values: Sequence[float | None], digits: int) -> str:
    given = [value for value in values if value is not None]
    return f"{median(given):.{digits}f}" if given else "-"


def _quality(table: str, name: str, found: Sequence[Result]) -> list[str]:
    """Give final loss and accuracy, the proof of equal work."""
    losses = [result.val_loss for result in found]
    accuracies = [result.rounded_accuracy for result in found]
    keep(table, name, "val_loss", losses)
    keep(table, name, "rounded_accuracy", accuracies)
    return [_middle(losses, 4), _middle(accuracies, 4)]


def _rows(table: str, label: str, results: Results) -> list[list[str]]:
    seconds = _values(table, "epoch_seconds", results, epoch_seconds)
    ours = seconds.get(SAE_TRAIN)
    return [
        [label, name, spread(own), ratios(ours, own), _quality(table, name, results[name])[0]]
        for name, own in seconds.items()
    ]


def _compare(table: str, title: str, note: str, results: Results, measure: Measure) -> str:
    seconds = _values(table, measure.__name__, results, measure)
    peaks = _values(table, "peak_mib", results, peak_mib)
    ours, limit = seconds.get(SAE_TRAIN), seconds.get("products")
    rows = [
        [
            name,
            spread(own),
            ratios(ours, own),
            ratios(own, limit),
            f"{median(peaks[name]):.0f}",
            ratios(peaks.get(SAE_TRAIN), peaks[name]),
            *_quality(table, name, results[name]),
        ]
        for name, own in seconds.items()
    ]
    header = ["contender", "seconds", "sae-train / it", "it / products", "peak MiB"]
    header += ["sae-train / it, memory", "final val loss", "rounded accuracy"]
    return markdown(title, note, header, rows)
