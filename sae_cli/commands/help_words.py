"""Words of the help that no page holds: what each group is, and the command's own settings."""

from __future__ import annotations

GROUPS = {
    "model": "the algorithm, such as sparse_kl, sparse_l1, topk or vae",
    "experiment": "a published result, with its data and figures",
    "dataset": "where examples come from: digits, mnist, your own array",
    "architecture": "the layers of encoder and decoder",
    "activation": "the function that gives the codes",
    "penalty": "what makes codes sparse, and its weight",
    "corruption": "noise on the input, for denoising",
    "reconstruction": "how a reconstruction is compared with its target",
    "inference": "codes that minimise the loss in place of the encoder's",
    "head": "a classifier of the codes",
    "revival": "how dead latents are brought back",
    "schedule": "all layers at once, or one by one",
    "optimizer": "how weights move, and the learning rate",
    "lr_schedule": "how the learning rate changes",
    "device": "CPU or GPU, precision and threads",
    "logger": "trackers: where metrics go beside the run folder",
}

COMMAND = {
    "resume": (
        "resume=FOLDER",
        "Resume a run or a sweep that was stopped, to the same bits. With epochs=MORE a finished "
        "run trains on.",
    ),
    "plugin": (
        "--plugin FILE",
        "Parts of your own, from a Python file, or from a package (FOLDER/, or the name of an "
        "installed one). Its code is run. SAE_PLUGINS names some for all commands. With "
        "--changed-plugin, resume= takes one that has changed since.",
    ),
    "hydra.run.dir": ("hydra.run.dir=FOLDER", "The folder of the run; by itself a new one."),
    "hydra.sweep.dir": ("hydra.sweep.dir=FOLDER", "The folder of the sweep; by itself a new one."),
    "sweep.together": (
        "sweep.together=auto",
        "Whether the jobs of a sweep train side by side on all cores: auto, from four jobs on and "
        "where it changes no number; on; or off, one after the other.",
    ),
    "hydra/launcher": (
        "hydra/launcher=NAME",
        "What starts the jobs of a sweep (-m): basic, one after the other; joblib, side by side; "
        "submitit_slurm, on a cluster. Its options are hydra.launcher.OPTION.",
    ),
    "hydra/sweeper": (
        "hydra/sweeper=NAME",
        "What chooses the jobs of a sweep (-m): basic, every combination of values; optuna, a "
        "search for the best ones. Its options are hydra.sweeper.n_trials, n_startup_trials, "
        "n_jobs, sampler (tpe, random) and pruner (none, median).",
    ),
    "objective": (
        "objective=METRIC",
        "What a search (hydra/sweeper=optuna) makes best, such as val/fvu; several are a list, "
        "objective=[val/fvu,val/l0].",
    ),
}
