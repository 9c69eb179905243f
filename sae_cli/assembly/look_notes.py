"""What a look at the training examples says, and the options that mend what it finds."""

from __future__ import annotations

from collections.abc import Sequence

from sae_cli.config.schema import RunConfig
from sae_cli.core.text import counted
from sae_cli.datasets.look import OUTLIER, Look

# The mean is more than all that varies, so that a model learns the mean first.
FAR_MEAN = 1.0
# Learning rates, initial weights and penalties fit values whose root mean square is about 1.
LARGE, SMALL = 10.0, 0.1
# A share of rows that is worth a word.
MANY = 0.01
MOST_NAMED = 5


def look_lines(look: Look) -> list[str]:
    """Word a look in two lines."""
    far = look.mean_over_spread
    distance = "" if far is None else f"; the mean is {far:.3g} times the spread from 0"
    compared = f" of the first {look.compared_rows:,}" if look.compared_rows < look.rows else ""
    return [
        f"look: {counted(look.rows, 'training row')} of {counted(look.width, 'value')} (stored as "
        f"{look.dtype}) in [{look.low:g}, {look.high:g}]; mean norm {look.mean_norm:.4g}{distance}",
        f"look: {counted(len(look.outliers), 'outlier feature')} (deviation over {OUTLIER:g} times "
        f"the median){_named(look.outliers)}, {counted(look.repeated_rows, 'repeated row')}"
        f"{compared}, {counted(look.constant_rows, 'constant row')}, "
        f"{counted(look.constant_columns, 'constant column')}",
    ]


def look_notes(config: RunConfig, look: Look, *, any_values: bool, ranged: bool) -> list[str]:
    """Say what is likely to spoil a training, and which option mends it, one line each.

    Args:
        any_values: whether the model can give any values, so that data may be moved or scaled.
        ranged: whether the range of the data was noted already.
    """
    section = config.parts["dataset"]
    notes = []
    centred = section.get("centre", False) is not False
    far = look.mean_over_spread
    if any_values and not centred and far is not None and far > FAR_MEAN:
        way = (
            "dataset.centre=mean would remove it"
            if "centre" in section
            else "subtract it before the data are saved"
        )
        notes.append(f"the mean is {far:.2g} times the spread: {way}")
    scaled = config.unit_norm or section.get("scale", "none") != "none"
    if any_values and not scaled and not ranged and not SMALL <= look.rms <= LARGE:
        way = "dataset.scale=rms" if "scale" in section else "another scale"
        notes.append(f"the root mean square of the values is {look.rms:.3g}: {way} brings it to 1")
    if look.outliers:
        named = f"feature{_named(look.outliers)} varies"
        if len(look.outliers) > 1:
            named = f"features{_named(look.outliers)} vary"
        notes.append(
            f"{named} over {OUTLIER:g} times as much as the median feature, and the loss is mostly "
            "of that: scale or leave out such features before the data are saved"
        )
    if look.repeated_rows > MANY * look.compared_rows:
        share = look.repeated_rows / look.compared_rows
        notes.append(
            f"{share:.1%} of the training rows repeat an earlier one: they count that much more, "
            "and where they are in val and test too, metrics look too good"
        )
    if look.constant_rows > MANY * look.rows:
        share = look.constant_rows / look.rows
        notes.append(
            f"{share:.1%} of the training rows hold one value alone: leave them out if they are "
            "padding"
        )
    return [f"note: {note}" for note in notes]


def _named(features: Sequence[int]) -> str:
    """Name some features, of which the first is 0; nothing for none."""
    if not features:
        return ""
    more = f" and {len(features) - MOST_NAMED} more" if len(features) > MOST_NAMED else ""
    return f" {', '.join(map(str, features[:MOST_NAMED]))}{more}"
