"""Runs of every kind: each page of a model, and what pages of models leave out, as overrides."""

from __future__ import annotations

from tests.contracts.small import MODELS

GREEDY = ("schedule=greedy", "schedule.layer_epochs=[1]")
# Stages have epochs of their own.
SHORTER = {"stacked": ("schedule.layer_epochs=[1]",), "drsae": ("head.epochs=1",)}
HEAD = ("head=classifier", "head.epochs=1", "head.fine_tune_epochs=1")
VARIANTS: dict[str, tuple[str, ...]] = {
    "greedy conv": ("model=conv", *GREEDY),
    "greedy group": ("model=conv_group_sparse", "architecture.channels=[4,8]", *GREEDY),
    "greedy lateral": (
        *("model=sparse_l1", "penalty=lateral_learned", "architecture.hidden_sizes=[16]"),
        *("architecture.hidden_activations=[relu]", *GREEDY),
    ),
    "drsae fine-tuned": ("model=drsae", *HEAD, "head.n_labels=70"),
    "head with all terms": ("model=denoising", *HEAD, "head.unsupervised_terms=true"),
    "head alone": ("model=ae", "schedule=none", *HEAD),
    "vae warming up": ("model=vae", "penalty.warmup_steps=7"),
    "lateral_learned": ("model=lateral_inhibition", "penalty=lateral_learned"),
    "topk auxk": ("model=topk", "revival=auxk", "revival.dead_after=20"),
    "l1 resample": (
        *("model=sparse_l1_norms", "revival=resample", "revival.every=3"),
        *("revival.dead_after=40", "penalty.weight=3.0"),
    ),
    "jumprelu target_l0": ("model=jumprelu", "penalty.target_l0=9.0", "penalty.warmup_steps=2"),
    "gated target_l0": ("model=gated", "penalty.target_l0=9.0"),
    "unit_norm": ("model=sparse_l1", "unit_norm=true"),
    "lbfgs": (
        *("model=stacked", "schedule.layer_epochs=[1]", *HEAD, "head.n_labels=70"),
        *("optimizer=lbfgs", "optimizer.iterations=4", "schedule.layer_learning_rates=[1.0]"),
        *("head.learning_rate=1.0", "head.fine_tune_learning_rate=1.0", "batch_size=40"),
    ),
    "lbfgs kl": ("model=sparse_kl", "optimizer=lbfgs", "optimizer.weight_decay=0.01"),
    "self-taught": (
        *("model=sparse_kl", *HEAD, "head.classes=[0,2,4,6,8]", "head.self_taught=true"),
        *("head.n_labels=20", "head.weight_decay=0.001"),
    ),
    "clipped": ("model=sparse_l1", "clip_norm=0.05"),
}
KINDS = {page: (f"model={page}", *SHORTER.get(page, ())) for page in MODELS} | VARIANTS
