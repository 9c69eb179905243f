"""The other processes of a run: they take the steps that the first one takes, and write nothing."""

from __future__ import annotations

from collections.abc import Callable

from sae_cli.assembly.data_files import check_files
from sae_cli.assembly.latents import shares_of
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import Prepared, prepare
from sae_cli.assembly.streams import generators
from sae_cli.core.bar import bars_shown
from sae_cli.core.errors import ConfigError, Stopped
from sae_cli.core.ranks.messages import ENDED, LeftAlone, Messages
from sae_cli.core.ranks.together import Together, meet_ranks, trained_together
from sae_cli.core.signals import Stop, stopping_in_time
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.model.objective import Terms
from sae_cli.results.saved_config import check_saved
from sae_cli.run_folder.checkpoints import unpack
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.calls import obey
from sae_cli.runs.restoring import restore_steps, restore_training
from sae_cli.runs.steps import build_step, splits_of, take_steps
from sae_cli.training.loop import Generators, Position
from sae_cli.training.stage import Stage
from sae_cli.training.sums import BrokenError


def follow(messages: Messages, tell: Callable[[BaseException], object]) -> None:
    """Take part in each training that the first process calls to, until it has ended.

    Args:
        tell: tells the first process of an error.

    Raises:
        SaeError: this process cannot take part.
        LeftAlone: another process has gone.
        Stopped: a signal has asked one of the processes to.
    """
    while messages.wait_for_any([ENDED, f"call {messages.calls + 1}"]) != ENDED:
        messages.calls += 1
        _take_part(messages, tell)


def _take_part(messages: Messages, tell: Callable[[BaseException], object]) -> None:
    number = messages.calls
    call = messages.read(f"call {number}")
    with stopping_in_time() as stop:
        config = check_saved(call["config"])
        with bars_shown(False):
            made = prepare(config, build_parts(config), download=call["new"], is_new=False)
        if made.fingerprint != call["data"]:
            raise ConfigError(
                f"the data are not those of process 0 ({made.training.dataset.source}; SHA-256 "
                f"{made.fingerprint[:12]} here, {call['data'][:12]} there); give all the same"
            )
        messages.send(f"here {number} {messages.launch.rank}", {})
        ranks = Together(messages, made.training.device.torch, shares_of(config))
        try:
            resumes_alike = call["new"] or ranks.shares == "rows"
            content = ranks.from_first(b"") if resumes_alike else ranks.receive_bytes(0)
            saved = unpack(content, "the checkpoint of process 0") if content else None
            with trained_together(ranks), bus_errors_raised(stop):
                _train(made, saved, stop)
        except LeftAlone as alone:
            alone.asked = stop.number is not None
            raise
        except (Exception, Stopped) as error:
            # The others notice at once that the connections are closed, and look for the reason.
            tell(error)
            raise
        finally:
            ranks.end()


def _train(made: Prepared, saved: TrainState | None, stop: Stop) -> None:
    """Train the stages, from the one that the run resumes in."""
    streams = generators(made.config.settings.seed, made.training.device.torch)
    stages = made.training.stages
    if saved is not None:
        restore_training(made.training, streams, saved)
        (first,) = [i for i, stage in enumerate(stages) if stage.name == saved.stage]
        stages = stages[first:]
    try:
        for stage in stages:
            own = saved if saved is not None and saved.stage == stage.name else None
            _train_stage(made, stage, streams, own, stop)
    except BrokenError:
        # The first process has come to the same sums, and says so; no stage follows.
        return


def _train_stage(
    made: Prepared, stage: Stage, streams: Generators, saved: TrainState | None, stop: Stop
) -> None:
    train, _ = splits_of(made.training, stage)
    optimizer, step = build_step(made, stage, train, streams, stop)
    position = Position(0, 0, streams.order.get_state())
    if saved is not None:
        restore_steps(optimizer, step, position, saved)

    def on_step(terms: Terms, n: int) -> None:
        obey(made, stage, optimizer)
        # A signal to this process alone is one for all, who learn of it in the next step.
        if step.joining is not None and step.joining.asked is not None:
            raise Stopped(step.joining.asked)

    obey(made, stage, optimizer)
    for _ in take_steps(
        made,
        stage,
        optimizer,
        step,
        train,
        generators=streams,
        position=position,
        on_step=on_step,
    ):
        stage.objective.report_()
        # What only looks like other data is for the first process to say, of its own files.
        check_files(made)
        meet_ranks()
        obey(made, stage, optimizer)
    obey(made, stage, optimizer)
