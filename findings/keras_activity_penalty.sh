#!/bin/sh
# Whether Keras divides an activity penalty by the batch size depends on its minor version.
#
# Most expect: one rule for all of Keras 3; a penalty that already takes the mean over the batch
#   (such as KL to a target activity) counts as it is.
# Seen: Keras 3.13.0 adds such a penalty as it is, and 3.14.0 divides it by the batch size, as
#   Keras 2 did. The same code trains with a penalty 32 times weaker after an upgrade.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/penalty.py" <<'END'
import keras
import numpy as np


class MeanActivity(keras.regularizers.Regularizer):
    """The mean activity of each latent in the batch, summed over latents."""

    def __call__(self, codes):
        return keras.ops.sum(keras.ops.mean(codes, axis=0))


losses = []
for batch_size in (8, 32):
    layer = keras.layers.Dense(2, kernel_initializer="ones", activity_regularizer=MeanActivity())
    model = keras.Sequential([keras.Input((3,)), layer])
    # A loss of zero leaves the penalty alone: each latent is 1 + 1 + 1, so the penalty is 6.
    model.compile(loss=lambda true, given: 0 * keras.ops.mean(given))
    values = model.evaluate(np.ones((64, 3)), np.zeros((64, 2)), batch_size=batch_size, verbose=0)
    losses.append(round(float(values), 6))
print(losses)
END
penalties() {
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet "keras==$1" "jax==0.6.2" "numpy==2.2.6"
    KERAS_BACKEND=jax "$folder/$1/bin/python" -W ignore "$folder/penalty.py"
}
old=$(penalties 3.13.0)
new=$(penalties 3.14.0)
echo "penalty of 6 at batch sizes 8 and 32: Keras 3.13.0 $old, Keras 3.14.0 $new"
[ "$old" = "[6.0, 6.0]" ] && [ "$new" = "[0.75, 0.1875]" ]
