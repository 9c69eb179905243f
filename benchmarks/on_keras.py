"""Contenders ``keras-tensorflow`` and ``keras-jax``: plain ``fit`` on arrays in memory.

Keras 3 divides the loss of an activity regulariser by the number of examples in the batch. This
turns its own L1, a sum over the batch, into the mean over examples. The KL is already that of a
mean, so it is multiplied by the number first.

``fit`` does not measure a training accuracy, and neither does sae-train. A second model over the
same layers validates, in batches of the common size.
"""

# mypy: allow-subclassing-any, disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import train_and_val
from job import ADAM_EPSILON, EVALUATION_BATCH, KL_TARGET, Page, arguments, report


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("backend", choices=("tensorflow", "jax"))
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = given.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    train(given.page, given.batch_size, given.epochs)


def train(page: Page, batch_size: int, epochs: int) -> None:
    """Train with Keras, imported here because it reads its backend when it is imported."""
    import keras
    from keras import layers, ops

    class KL(keras.regularizers.Regularizer):
        def __call__(self, codes: Any) -> Any:
            p, q = KL_TARGET, ops.mean(codes, axis=0)
            kl = ops.sum(p * ops.log(p / q) + (1 - p) * ops.log((1 - p) / (1 - q)))
            return page.penalty_weight / batch_size * kl * ops.cast(ops.shape(codes)[0], "float32")

    class Report(keras.callbacks.Callback):
        def __init__(self, judge: Any, val: NDArray[np.float32]) -> None:
            super().__init__()
            self.judge, self.val = judge, val

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            found = self.judge.evaluate(
                self.val, self.val, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True
            )
            report(epoch + 1, float(found["loss"]), float(found["rounded_accuracy"]))

    def rounded_accuracy(x: Any, x_hat: Any) -> Any:
        return ops.mean(ops.cast(ops.equal(x > 0.5, x_hat > 0.5), "float32"))

    penalties = {"kl": KL(), "l1": keras.regularizers.L1(page.penalty_weight), "none": None}
    optimizers = {
        "sgd": lambda: keras.optimizers.SGD(page.learning_rate),
        "adam": lambda: keras.optimizers.Adam(page.learning_rate, epsilon=ADAM_EPSILON),
    }
    keras.utils.set_random_seed(0)
    training, val = train_and_val()
    n_in, n_hidden, n_latents, *_ = page.sizes
    model = keras.Sequential(
        [
            keras.Input((n_in,)),
            *([layers.GaussianNoise(page.noise)] if page.noise else []),
            layers.Dense(n_hidden, "selu"),
            layers.Dense(
                n_latents, page.latent_activation, activity_regularizer=penalties[page.penalty]
            ),
            layers.Dense(n_hidden, "selu"),
            layers.Dense(n_in, "sigmoid"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer=optimizers[page.optimizer]())
    judge = keras.Model(model.inputs, model.outputs)
    judge.compile(loss="binary_crossentropy", metrics=[rounded_accuracy])
    model.fit(
        training,
        training,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[Report(judge, val)],
    )


if __name__ == "__main__":
    main()
