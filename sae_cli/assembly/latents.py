"""What several processes can train together that each hold some of the latents."""

from __future__ import annotations

from torch import Tensor, nn

from sae_cli.assembly.network import Network
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.ranks.latents import latents_of
from sae_cli.core.ranks.messages import launched
from sae_cli.core.ranks.together import Share
from sae_cli.model.held import HELD_APART, has_latents_apart, hold_
from sae_cli.model.penalties.roles import OfEachLatent

# Of these groups others look at all latents, at weights as a whole, or train one network after the
# other. The first is what is offered in place of another.
TRAINS_APART = {
    "inference": ("none",),
    "head": ("none",),
    "revival": ("none",),
    "schedule": ("joint",),
    "reconstruction": ("mse", "bce"),
    "optimizer": ("adam", "adamw", "nadam", "rmsprop", "sgd"),
}


def shares_of(config: RunConfig) -> Share:
    """Give what the processes of a run share out."""
    shares: Share = config.parts["device"]["share"]
    return shares


def check_shares(config: RunConfig) -> None:
    """Raise ConfigError for a new run that is to share out latents and has one process.

    A run that several have begun is resumed and reproduced by one as well.
    """
    if shares_of(config) == "latents" and launched() is None:
        raise ConfigError(
            "device.share=latents shares the latents out to several processes, and this is one; "
            "start it with torchrun, or give device.share=rows"
        )


def hold_latents_(config: RunConfig, network: Network) -> None:
    """Keep this process's latents where several share them out.

    Raises:
        ConfigError: something in the training needs all of them.
    """
    launch = launched()
    if launch is None or shares_of(config) == "rows":
        return
    _check(config, network, launch.size)
    latents = latents_of(launch.rank, launch.size, network.autoencoder.n_latents)
    hold_(network.autoencoder, latents)


def _check(config: RunConfig, network: Network, size: int) -> None:
    autoencoder, chosen = network.autoencoder, config.parts
    for group, names in TRAINS_APART.items():
        if chosen[group]["name"] not in names:
            raise _refusal(f"{group}={chosen[group]['name']}", f"{group}={names[0]}")
    if config.settings.compile == "on":
        raise _refusal("compile=on", "compile=off")
    if not has_latents_apart(autoencoder):
        hidden = chosen["architecture"].get("hidden_sizes")
        if chosen["architecture"]["name"] == "dense" and hidden:
            given, instead = f"architecture.hidden_sizes={hidden}", "architecture.hidden_sizes=[]"
            raise _refusal(given, instead)
        raise _refusal(f"architecture={chosen['architecture']['name']}", "architecture=sae")
    if type(autoencoder.activation) not in HELD_APART:
        raise _refusal(f"activation={chosen['activation']['name']}", "activation=topk")
    if network.penalty is not None and not isinstance(network.penalty, OfEachLatent):
        raise _refusal(f"penalty={chosen['penalty']['name']}", "penalty=l1")
    if network.penalty is not None and (kept := _kept(network.penalty)) is not None:
        raise ConfigError(
            f"penalty={chosen['penalty']['name']} keeps {kept}, which would be of all latents in "
            "each process, and device.share=latents gives each some of them; choose a penalty that "
            "keeps single numbers, such as penalty=l1, or device.share=rows"
        )
    if autoencoder.n_latents < size:
        raise ConfigError(
            f"latents cannot be shared out to more processes ({size}) than there are latents "
            f"({autoencoder.n_latents}); give more latents, fewer processes or device.share=rows"
        )


def _kept(penalty: nn.Module) -> str | None:
    """Name a tensor of several numbers in a penalty, whose processes hold no part of it each."""
    named = [*penalty.named_parameters(), *penalty.named_buffers()]
    for name, module in penalty.named_modules():
        named += [(f"{name}.{key}".lstrip("."), value) for key, value in vars(module).items()]
    for name, value in named:
        if isinstance(value, Tensor) and value.numel() > 1:
            return f"{name} {tuple(value.shape)}"
    return None


def _refusal(given: str, instead: str) -> ConfigError:
    return ConfigError(
        f"{given} needs all latents in each process, and device.share=latents gives each some of "
        f"them; choose {instead}, or device.share=rows"
    )
