"""Which of two values of a metric is the better one, by the metric's name; torch is not needed."""

# Penalties and how sparse codes are have no better side, because each is traded for an error.
ERRORS = ("loss", "reconstruction", "prediction", "head", "mse", "bce", "bce_excess", "fvu")


def higher_is_better(name: str) -> bool:
    """Tell whether a metric is the share of what is right."""
    return name.endswith("accuracy")


def lower_is_better(name: str) -> bool:
    """Tell whether a metric is an error, whatever the model."""
    return name.rpartition("/")[2] in ERRORS
