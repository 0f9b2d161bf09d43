"""What each encoder layer knows before fine-tuning: a linear probe (after section 5.1, figure 3a).

    TFDS_DATA_DIR=/where/cifar10/is python results/cifar10_4k_small/probe.py

Reads the pre-trainings that run.sh left in runs/ and writes probe.json beside this script. The
features of a layer are its ReLU outputs averaged over the image, standardised; the probe is
scikit-learn's logistic regression on the 4,000 labels of the seed's draw; the figure is test
accuracy in percent. Random encoders take BatchNorm's statistics from the images at hand, as they
have no others.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from symskip_jax.config import load_config
from symskip_jax.data.splits import draw_labelled
from symskip_jax.experiments import setup
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.transforms import Normalization, center_crop, measure_normalization

HERE = Path(__file__).resolve().parent
RUNS = HERE.parents[1] / "runs" / "cifar10_4k_small"
STARTS = (
    "random_gaussian",
    "random_he",
    "pretrained_no_skip",
    "pretrained_skip",
    "pretrained_skip_he",
)
SEEDS = (0, 1, 2)
BATCH = 500


def layer_features(
    model: Any, variables: Any, normalization: Normalization, images: np.ndarray, batch_stats: bool
) -> dict[str, np.ndarray]:
    """Returns the pooled ReLU outputs [N, C] of each encoder layer, by name."""

    @jax.jit
    def pooled(batch: jax.Array) -> dict[str, jax.Array]:
        inputs = normalization.normalize(center_crop(batch, (29, 29)))
        mutable = ["intermediates", "batch_stats"] if batch_stats else ["intermediates"]
        _, kept = model.apply(variables, inputs, train=batch_stats, mutable=mutable)
        layers = kept["intermediates"]["encoder"]
        return {name: layer["relu"][0].mean((1, 2)) for name, layer in layers.items()}

    parts = [pooled(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def main() -> None:
    """Probes every start and writes probe.json."""
    config = load_config(str(HERE.parents[1] / "configs" / "cifar10_4k.py") + ":small")
    train, test = (setup.load_split(config, split) for split in ("train", "test"))
    found: dict[str, dict[str, list[float]]] = {}
    for start in STARTS:
        for seed in SEEDS:
            config.model.init = "he" if start.endswith("he") else "gaussian"
            config.model.skip = "none" if start.endswith("no_skip") else "symmetric"
            model = setup.make_autoencoder(config, 3)
            random = start.startswith("random")
            if random:
                normalization = measure_normalization(train.images_nhwc)
                variables = model.init(jax.random.key(seed), np.zeros((1, 29, 29, 3)), train=False)
            else:
                run = RUNS / start / f"seed_{seed}" / "pretrain"
                if not (run / "checkpoints").is_dir():
                    continue
                restored = load_variables(run)
                normalization = Normalization.from_facts(restored.meta["normalization"])
                variables = setup.variables_of(restored)
            labelled = train.take(draw_labelled(train.labels_n, 4000, seed))
            known = layer_features(model, variables, normalization, labelled.images_nhwc, random)
            asked = layer_features(model, variables, normalization, test.images_nhwc, random)
            for name in sorted(known, key=int):
                probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
                probe.fit(known[name], labelled.labels_n)
                accuracy = 100 * probe.score(asked[name], test.labels_n)
                found.setdefault(start, {}).setdefault(str(int(name) + 1), []).append(
                    round(accuracy, 2)
                )
        print(start, found.get(start), flush=True)
    (HERE / "probe.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
