"""Gradients of a linear auto-encoder of few active codes, which touch only what is active or dead.

Of ``n_latents`` codes an example has ``k``, so that of the five dense products of a step only the
encoder's is left: the others are sums over the active pairs of an example and a latent. Equations
are those of autograd; the order of their sums is not, so that last bits differ. Where prefixes of
the code reconstruct by themselves, each pair counts in the shortest that has its latent and in all
longer ones, so that prefixes cost additions alone.
"""

from __future__ import annotations

from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures.sae import SubtractBias
from sae_cli.model.autoencoder import AutoEncoder, unpack
from sae_cli.model.layers import UnitNorm
from sae_cli.model.objective import Objective, Terms
from sae_cli.model.reconstruction import MSE, Nested
from sae_cli.training.gradients.autograd import lay_out
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.of_dead import add_of_dead
from sae_cli.training.gradients.pairs import (
    Pairs,
    active_latents,
    by_latent,
    by_prefix,
    of_batch,
    of_each,
    products,
    sum_rows,
)
from sae_cli.training.revivals import Revival
from sae_cli.training.revivals.auxk import AuxK
from sae_cli.training.revivals.resample import Resample

# As ``torch.nn.functional.normalize`` has it.
SMALLEST_NORM = 1e-12
# Of so many examples the pre-codes are chosen from before the next are computed.
ROWS_AT_ONCE = 1024
# Fewer pre-codes are no load for what gives out memory.
ROOM_FROM = 1 << 16
# Where more than one of so many codes is active, dense products are as fast.
SPARSE_FROM = 8
# A GPU multiplies fewer pre-codes of a batch in no time. Of 4 096 examples and as many latents an
# H200 took 1.6 ms by pairs in float32 and 2.8 by dense products, in tf32 1.3 and 1.7, each launch
# by launch; of 16 384 latents 3.0 and 3.7 in tf32, without what dead latents take.
GPU_FROM, GPU_FROM_LAUNCHED = 1 << 24, 1 << 26
# One of so many codes was active there, or fewer.
GPU_SPARSE_FROM = 128


def can_be_sparse(autoencoder: AutoEncoder, objective: Objective) -> bool:
    """Whether :class:`Sparse` can, and pays: of ``architecture=sae`` with few TopK or BatchTopK
    codes and a squared error, of prefixes or of the whole code, with or without revival, and
    without a penalty or a head."""
    activation = autoencoder.activation
    return (
        autoencoder.infer is None
        and isinstance(activation, TopK | BatchTopK)
        and activation.k * SPARSE_FROM <= autoencoder.n_latents
        and _layers(autoencoder) is not None
        and autoencoder.output_activation.name == "identity"
        and objective.penalty is None
        and objective.head is None
        and type(objective.reconstruction) in (MSE, Nested)
        and all(type(one) in (AuxK, Resample) for one in objective.further.values())
        and all(parameter.requires_grad for parameter in autoencoder.parameters())
    )


def pays_on_a_gpu(autoencoder: AutoEncoder, objective: Objective, batch_size: int) -> bool:
    """Whether a GPU, too, is faster by pairs: where there are many pre-codes, and still more where
    a step cannot be a single launch."""
    activation, n_latents = autoencoder.activation, autoencoder.n_latents
    least = GPU_FROM_LAUNCHED if _waits(objective) else GPU_FROM
    return (
        isinstance(activation, TopK | BatchTopK)
        and activation.k * GPU_SPARSE_FROM <= n_latents
        and batch_size * n_latents >= least
    )


def _waits(objective: Objective) -> bool:
    """Whether which latents are dead is read back from the device."""
    return any(isinstance(one, AuxK) for one in objective.further.values())


class _Layers(NamedTuple):
    encoder: nn.Linear
    decoder: nn.Linear
    subtracts: bool
    unit_norm: bool


def _layers(autoencoder: AutoEncoder) -> _Layers | None:
    """The two linear layers, or None if there are others."""
    kept = (nn.Flatten, nn.Unflatten)
    down = [part for part in unpack(autoencoder.encoder) if not isinstance(part, kept)]
    up = [part for part in unpack(autoencoder.decoder) if not isinstance(part, kept)]
    subtracts = isinstance(down[0], SubtractBias)
    if len(down) != 1 + subtracts or len(up) != 1 or type(down[-1]) is not nn.Linear:
        return None
    if type(up[0]) is nn.Linear:
        return _Layers(down[-1], up[0], subtracts, unit_norm=False)
    if parametrize.type_before_parametrizations(up[0]) is not nn.Linear:
        return None
    constraints = list(up[0].parametrizations["weight"])  # type: ignore[index]
    if len(constraints) != 1 or not isinstance(constraints[0], UnitNorm):
        return None
    return _Layers(down[-1], cast(nn.Linear, up[0]), subtracts, unit_norm=True)


@final
class Sparse(Gradients):
    """Gradients by the active pairs alone.

    Args:
        autoencoder, objective: such that ``can_be_sparse`` holds.
    """

    def __init__(self, autoencoder: AutoEncoder, objective: Objective) -> None:
        layers = _layers(autoencoder)
        reconstruction = objective.reconstruction
        assert layers is not None and reconstruction is not None
        self._layers = layers
        self._activation = autoencoder.activation
        self._objective, self._reconstruction = objective, reconstruction
        self._prefixes = reconstruction.widths[:-1] if isinstance(reconstruction, Nested) else []
        self.parameters = list(autoencoder.parameters())
        self.term_names = objective.term_names
        further = objective.further.items()
        self._revivals = {name: one for name, one in further if isinstance(one, Revival)}
        self.capturable = not _waits(objective)
        decoder = layers.decoder
        self._room = torch.empty(0, device=decoder.bias.device)
        self._raw = (
            decoder.parametrizations["weight"].original  # type: ignore[index, union-attr]
            if layers.unit_norm
            else decoder.weight
        )

    @torch.no_grad()
    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        encoder, decoder = self._layers.encoder, self._layers.decoder
        seen, target = x.flatten(1), target.flatten(1)
        if self._layers.subtracts:
            seen = seen - decoder.bias
        pairs = self._select(seen)
        if self._prefixes:
            pairs = by_prefix(pairs, self._prefixes, len(seen))
        atoms, norms = self._atoms()
        errors = self._errors(pairs, atoms, target)
        divisor = self._reconstruction.divisor(target) * len(errors)
        reconstruction = errors.square().sum() / divisor
        of_outputs = _with_those_after_(errors * (2.0 / divisor))
        of_output = of_outputs.flatten(0, 1)
        of_codes = products(of_output, atoms, pairs)
        order, starts = by_latent(pairs.latents, len(atoms))
        places = pairs.examples[order]
        of_atoms = sum_rows(of_output, places, starts, pairs.codes[order])
        examples = places % len(seen) if self._prefixes else places
        of_encoder = sum_rows(seen, examples, starts, of_codes[order])
        of_biases = torch.zeros_like(encoder.bias).index_add_(0, pairs.latents, of_codes)
        means = {"reconstruction": reconstruction}
        for name, one in self._revivals.items():
            if isinstance(one, AuxK):
                of_rows = of_encoder, of_biases, of_atoms
                means[name] = add_of_dead(one, seen, target, errors[-1], encoder, atoms, of_rows)
            one.count_(active_latents(pairs, len(atoms)), len(x))
        of_shared = of_outputs[0].sum(0)
        if self._layers.subtracts:
            of_shared -= of_biases @ encoder.weight
        if norms is not None:
            along = (of_atoms * atoms).sum(1, keepdim=True)
            of_atoms.sub_(atoms * along).div_(norms)
        found = {
            id(encoder.weight): of_encoder,
            id(encoder.bias): of_biases,
            id(self._raw): of_atoms.t(),
            id(decoder.bias): of_shared,
        }
        gradients = [found[id(parameter)] for parameter in self.parameters]
        return self._objective.terms(means), lay_out(gradients, self.parameters)

    def _errors(self, pairs: Pairs, atoms: Tensor, target: Tensor) -> Tensor:
        """What each prefix, the whole code last, is off by: ``(n_prefixes, batch, n_features)``."""
        decoded = sum_rows(atoms, pairs.latents, pairs.starts, pairs.codes)
        decoded = decoded.view(-1, *target.shape)
        for i in range(1, len(decoded)):
            decoded[i] += decoded[i - 1]
        return decoded.add_(self._layers.decoder.bias).sub_(target)

    def _select(self, seen: Tensor) -> Pairs:
        """Encode examples ``(batch, n_features)``, and keep the largest pre-codes."""
        activation = self._activation
        if isinstance(activation, BatchTopK):
            return of_batch(activation, self._pre_codes(seen))
        assert isinstance(activation, TopK)
        kept = [activation.kept(self._pre_codes(rows)) for rows in torch.split(seen, ROWS_AT_ONCE)]
        codes, latents = zip(*kept, strict=True)
        return of_each(torch.cat(codes), torch.cat(latents))

    def _pre_codes(self, rows: Tensor) -> Tensor:
        """Pre-codes ``(n, n_latents)``, which the next call may overwrite."""
        encoder = self._layers.encoder
        shape = (len(rows), encoder.out_features)
        if len(rows) * encoder.out_features < ROOM_FROM:
            return F.linear(rows, encoder.weight, encoder.bias)
        # New memory for each step costs a processor as much as half of the product.
        if self._room.shape[0] < len(rows):
            self._room = rows.new_empty(shape)
        room = self._room[: len(rows)]
        return torch.addmm(encoder.bias, rows, encoder.weight.t(), out=room)

    def _atoms(self) -> tuple[Tensor, Tensor | None]:
        """The atoms ``(n_latents, n_features)``, and their norms before they were made 1."""
        rows = self._raw.t().contiguous()
        if not self._layers.unit_norm:
            return rows, None
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(SMALLEST_NORM)
        return rows.div_(norms), norms


def _with_those_after_(values: Tensor) -> Tensor:
    """Add to each of ``values`` ``(n, ...)`` all that come after it, in place."""
    for i in reversed(range(len(values) - 1)):
        values[i] += values[i + 1]
    return values
