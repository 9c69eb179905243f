"""The commands; ``python -m sae_cli`` is ``sae-train``."""

from __future__ import annotations

from sae_cli.commands.exits import command


def sae_train() -> None:
    """Run the command ``sae-train``."""
    command(_train)


def sae_reproduce() -> None:
    """Run the command ``sae-reproduce``."""
    command(_reproduce)


def sae_report() -> None:
    """Run the command ``sae-report``."""
    command(_report)


def sae_export() -> None:
    """Run the command ``sae-export``."""
    command(_export)


def sae_evaluate() -> None:
    """Run the command ``sae-evaluate``."""
    command(_evaluate)


def sae_runs() -> None:
    """Run the command ``sae-runs``."""
    command(_runs)


# Commands are imported once signals have handlers, because an import takes a while.
def _train(arguments: list[str]) -> int:
    from sae_cli.commands.train import run

    return run(arguments)


def _reproduce(arguments: list[str]) -> int:
    from sae_cli.commands.reproduce import run

    return run(arguments)


def _report(arguments: list[str]) -> int:
    from sae_cli.commands.report import run

    return run(arguments)


def _export(arguments: list[str]) -> int:
    from sae_cli.commands.export import run

    return run(arguments)


def _evaluate(arguments: list[str]) -> int:
    from sae_cli.commands.evaluate import run

    return run(arguments)


def _runs(arguments: list[str]) -> int:
    from sae_cli.commands.runs import run

    return run(arguments)


if __name__ == "__main__":
    sae_train()
