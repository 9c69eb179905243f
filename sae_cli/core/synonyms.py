"""Other names that the field, other tools and papers have for our options and choices.

Each leads to what is meant here, in order of preference: an option, a choice ``GROUP=NAME``, or
several words that belong together.
"""

from __future__ import annotations

import re

_WIDTH = ("architecture.n_latents", "architecture.channels", "architecture.sheet")
_LAYERS = ("architecture.hidden_sizes", "architecture.channels")
_SPARSITY = ("penalty.weight", "penalty=l1")
_L1 = ("penalty=l1 penalty.weight",)
_FOLDER = ("hydra.run.dir", "hydra.sweep.dir")
_DATA = ("dataset.path", "dataset.root", "dataset")

_GROUPS: dict[tuple[str, ...], str] = {
    _WIDTH: "bottleneck code_dim code_size d_dict d_hidden d_sae dict_size dictionary_size "
    "encoding_dim features hidden hidden_dim hidden_size hidden_units latent_dim latent_size "
    "latents n_atoms n_codes n_components n_features n_hidden n_latent n_units num_latents width "
    "z_dim",
    _LAYERS: "depth hidden_dims hidden_layer_sizes hidden_layers layer_sizes layers n_layers "
    "num_layers",
    ("architecture.expansion_factor", *_WIDTH): "dict_mult exp_factor expansion expansion_ratio "
    "overcompleteness",
    ("architecture.init",): "initialisation initialization initializer weight_init",
    ("architecture.tied",): "tie_weights tied_weights weight_tying",
    ("architecture.output_activation",): "decoder_activation final_activation output_nonlinearity",
    ("architecture=dense",): "fc fully_connected mlp",
    ("activation=identity", "architecture=dense"): "linear",
    ("architecture=conv",): "cnn conv2d convolutional",
    ("architecture=recurrent",): "gru lstm rnn",
    ("architecture",): "arch backbone encoder net network",
    ("architecture.init=glorot_uniform",): "glorot xavier xavier_uniform",
    ("architecture.init=he_normal",): "he kaiming kaiming_normal",
    ("activation.k", "activation=topk"): "k topk top_k n_active k_sparse",
    ("activation=batch_topk",): "batchtopk",
    ("activation.threshold", "activation=jumprelu"): "jump_relu initial_threshold theta",
    ("penalty=l0 penalty.weight", "activation.k"): "l0 l0_coefficient l0_weight sparsity_coeff",
    ("architecture.subtract_bias", "architecture=sae"): "apply_b_dec_to_input pre_bias",
    ("architecture.bias_init", "architecture=sae"): "b_dec_init b_dec_init_method",
    ("penalty.decoder_norms", "penalty=l1"): "scale_sparsity_penalty_by_decoder_norm",
    ("penalty.warmup_steps", "penalty=l1"): "l1_warm_up_steps l0_warm_up_steps "
    "sparsity_warmup_steps",
    ("activation",): "act act_fn activation_fn activation_function nonlinearity",
    ("activation=silu",): "swish",
    ("activation=identity",): "none no_activation",
    _SPARSITY: "alpha coefficient lam lambda penalty_weight reg regularisation regularization "
    "regularizer sparsity sparsity_coefficient sparsity_penalty sparsity_weight",
    _L1: "l1 l1_coeff l1_coefficient l1_lambda l1_penalty l1_reg l1_weight lasso",
    ("penalty=l2 penalty.weight",): "activity_l2 l2_activity",
    ("penalty.target", "model=sparse_kl"): "rho sparsity_level sparsity_target target_activity "
    "target_sparsity",
    ("penalty.weight", "model=sparse_kl"): "beta kl_beta kl_coefficient kl_weight",
    ("penalty.warmup_steps", "model=vae"): "kl_annealing kl_warmup",
    ("corruption=dropout",): "dropout dropout_rate p_dropout",
    ("corruption.std", "corruption=gaussian"): "input_noise noise noise_factor noise_level "
    "noise_std sigma",
    ("schedule.layer_corruptions", "corruption.fraction"): "corruption_level corruption_levels",
    ("corruption=masking",): "mask mask_ratio masking_noise",
    ("corruption=salt_and_pepper",): "salt_pepper saltpepper",
    ("reconstruction",): "criterion loss loss_fn objective reconstruction_loss",
    ("reconstruction=mse",): "l2_loss mean_squared_error squared_error",
    ("reconstruction=bce",): "binary_crossentropy cross_entropy",
    ("optimizer",): "opt optim optimiser",
    ("optimizer=lbfgs",): "bfgs l_bfgs quasi_newton",
    ("optimizer.iterations", "optimizer=lbfgs"): "max_iter maxiter",
    ("optimizer.history", "optimizer=lbfgs"): "history_size maxcor",
    ("optimizer.learning_rate",): "base_lr eta learning_rate lr max_lr step_size",
    ("optimizer.weight_decay",): "decay l2_reg wd weight_decay",
    ("optimizer.momentum", "optimizer=sgd"): "momentum nesterov",
    ("optimizer.beta1", "optimizer=adam"): "beta_1 betas",
    ("lr_schedule",): "learning_rate_schedule lr_decay lr_scheduler scheduler",
    ("lr_schedule.warmup_steps",): "lr_warmup warmup warmup_iters warmup_steps",
    ("epochs",): "iterations max_epochs max_steps n_epochs n_iter nb_epoch nb_epochs num_epochs "
    "num_train_epochs steps train_steps training_steps",
    ("batch_size",): "batch batchsize bs mini_batch minibatch train_batch_size",
    ("seed",): "random_seed random_state rng",
    ("clip_norm",): "clip clip_grad clip_grad_norm clipnorm grad_clip grad_norm_clip "
    "gradient_clip_val gradient_clipping max_grad_norm",
    ("unit_norm",): "normalise normalize normalise_inputs",
    ("dataset.scale", "unit_norm"): "normalise_activations normalize_activations scale_inputs",
    ("dataset.centre",): "center centered centering centring mean_centering subtract_mean",
    ("device=cuda",): "cuda gpu",
    ("device",): "accelerator",
    ("device.precision",): "amp dtype fp16 bf16 mixed_precision",
    ("device.threads",): "n_threads num_threads",
    ("device.share",): "fsdp model_parallel shard sharding tensor_parallel",
    ("dataset",): "data data_name data_set dataset_name",
    _DATA: "data_dir data_folder data_path data_root dataset_dir dataset_path file folder path",
    ("dataset.val",): "val_fraction val_size val_split validation_size validation_split",
    ("dataset.test",): "test_fraction test_size test_split",
    ("head=classifier",): "classifier classify n_classes num_classes",
    ("model",): "model_name model_type algorithm",
    _FOLDER: "checkpoint_dir default_root_dir exp_dir log_dir logdir out out_dir outdir output "
    "output_dir output_path project_dir result_dir results_dir run_dir run_name save_dir "
    "save_path",
    ("logger",): "log_to loggers report_to tracker trackers tracking",
    ("logger=tensorboard",): "tb tensorboard use_tensorboard",
    ("logger=mlflow",): "mlflow tracking_uri use_mlflow",
    ("logger=wandb",): "use_wandb wandb wandb_project weights_and_biases",
    ("resume",): "ckpt ckpt_path checkpoint checkpoint_path load_from resume_from "
    "resume_from_checkpoint",
    ("checkpoint_steps",): "checkpoint_every checkpoint_interval save_every save_steps",
    ("progress",): "progress_bar",
    ("quiet",): "silent verbose verbosity",
    ("log_every",): "eval_every log_epochs log_interval print_every",
    ("log_steps",): "log_every_n_steps log_freq logging_steps",
    ("pictures",): "figures images plot plots visualise visualize",
    ("compile",): "jit torch_compile",
    ("sort_by",): "metric monitor",
    ("profile",): "profiler",
}
SYNONYMS = {name: meant for meant, names in _GROUPS.items() for name in names.split()}

_NO_STOPPING = (
    "a run trains all its epochs and keeps the best weights in checkpoints/best.pt; set epochs"
)
_NO_TRACKER = "logger=tensorboard, mlflow and wandb are what metrics can go to"
# What the product lacks, and what comes nearest.
LACKING = {
    **dict.fromkeys(("early_stopping", "early_stop", "patience", "min_delta"), _NO_STOPPING),
    **dict.fromkeys(("neptune", "comet", "aim", "clearml"), _NO_TRACKER),
    **dict.fromkeys(
        ("num_workers", "workers", "n_workers"),
        "data are read into memory or mapped from their file, by no workers",
    ),
}


def meanings(given: str) -> tuple[str, ...]:
    """Give what may be meant by the name of an option or a choice; without its group, if any."""
    return SYNONYMS.get(plain_name(given), ())


def plain_name(given: str) -> str:
    """Give the last part of a dotted name as ours are written: n-hidden is n_hidden."""
    return re.sub(r"[-\s]", "_", given.rpartition(".")[2].lower())
