# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: symskip_jax, train steps
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # The train steps, in a loop of your own
#
# The steps are pure functions `(state, batch) -> (state, metrics)`. You bind what is static with
# `functools.partial`, compile with `jit_step` over a mesh of all devices, and write the loop yourself. All
# names are of the public API (`docs/api.md` in the repository). Any runtime will do: a CPU, a GPU, a TPU with
# eight cores. It takes one to two minutes on a CPU.
#
# The first cell installs. Set `REPOSITORY` to the address of the repository that you have.

# %% tags=["install"]
import shutil

REPOSITORY = "https://github.com/OWNER/symskip_jax"
JAX = "jax[cuda12]" if shutil.which("nvidia-smi") else "jax"
# %pip install --quiet "symskip-jax @ git+{REPOSITORY}" "{JAX}"

# %% [markdown]
# ## Sizes
#
# Small, so that a CPU is enough.

# %% tags=["parameters"]
BLOCKS = (2, 2, 0, 0)  # layers of each resolution
WIDTH = 16  # channels of the first
BATCH_SIZE = 64  # a multiple of the number of devices
PRETRAIN_STEPS = 400
FINETUNE_STEPS = 200

# %% [markdown]
# ## Images: uint8, [N, H, W, C]
#
# Scikit-learn's digits, 8x8 pixels. Yours go here: any array of uint8. The step crops, flips, corrupts and normalises
# on the device, so that the loop hands over pixels as they are stored.

# %%
import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
images_bhwc = np.round(digits.images * 255 / 16).astype(np.uint8)[..., None]
labels = digits.target.astype(np.int32)
order = np.random.default_rng(0).permutation(len(images_bhwc))
train, test = order[:1297], order[1297:]
print(images_bhwc.shape, images_bhwc.dtype, len(train), "to learn from", len(test), "to test on")

# %% [markdown]
# ## Bind, compile
#
# Network, optimiser, corruption: static. The mesh has all devices that JAX sees. A batch is split over them, each
# holds the whole state, and BatchNorm takes its statistics over the whole batch: the result is that of one device,
# to rounding. So the same cells run on a laptop and on eight GPUs.

# %%
import functools

import jax
from symskip_jax import (
    Augmentation,
    AutoEncoder,
    Corruption,
    PretrainTransform,
    data_mesh,
    init_state,
    jit_step,
    make_optimizer,
    measure_normalization,
    milestone_schedule,
    network_1,
    pretrain_step,
)

normalization = measure_normalization([images_bhwc[train]])
whole = Augmentation(crop=(8, 8), flip=False)
holes = Corruption("blocks", num_blocks=2, block_size=(3, 3), fill=normalization.mean)
spec = network_1(BLOCKS, n=WIDTH)
steps_per_epoch = len(train) // BATCH_SIZE

mesh = data_mesh()
print(f"{mesh.size} x {mesh.devices.flat[0].device_kind}")

model = AutoEncoder(spec, channels=1, initializer="he")
optimizer = make_optimizer(milestone_schedule(2e-3, (12, 16), 0.1, steps_per_epoch))
step = jit_step(
    functools.partial(
        pretrain_step,
        model=model,
        optimizer=optimizer,
        transform=PretrainTransform(whole, holes),
        normalization=normalization,
    ),
    mesh,
)
state = init_state(model, optimizer, seed=0, image_shape=(8, 8, 1))
print(f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,} parameters")

# %% [markdown]
# ## The loop is yours
#
# `jit_step` donates the state: go on with the one that it returns. Step k draws its noise from `fold_in(key, k)`, so
# a loop that was interrupted draws the same. The first call compiles. Metrics stay on the device until they are
# asked for; asking at each step would make it wait.

# %%
random = np.random.default_rng(0)
history = []
for _ in range(PRETRAIN_STEPS):
    batch = {"image": images_bhwc[random.choice(train, BATCH_SIZE, replace=False)]}
    state, metrics = step(state, batch)
    history.append(metrics)
history = jax.device_get(history)
for number in range(0, PRETRAIN_STEPS, max(1, PRETRAIN_STEPS // 5)):
    print(f"step {number:4}  loss {history[number]['loss']:.3f}", end="  ")
    print(f"PSNR {history[number]['psnr']:.2f} dB")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(5.5, 2.6), dpi=80, layout="constrained")
axes.plot([record["psnr"] for record in history], color="#0072B2", linewidth=1)
axes.set(xlabel="step", ylabel="PSNR of a batch (dB)", title="Pre-training on digits")
axes.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## Fine-tune
#
# A hundred labels. What is carried over is the encoder: its parameters and its statistics.

# %%
from symskip_jax import Classifier, FinetuneTransform, finetune_step

labelled = train[:100]
classifier = Classifier(spec, num_classes=10, initializer="he")
optimizer = make_optimizer(milestone_schedule(2e-3, (120, 160), 0.1, steps_per_epoch=1))
fresh = init_state(classifier, optimizer, seed=0, image_shape=(8, 8, 1))
tuned = fresh.replace(
    params={**fresh.params, "encoder": state.params["encoder"]},
    batch_stats={**fresh.batch_stats, "encoder": state.batch_stats["encoder"]},
)
step = jit_step(
    functools.partial(
        finetune_step,
        model=classifier,
        optimizer=optimizer,
        transform=FinetuneTransform(whole, holes, corruption_probability=0.5),
        normalization=normalization,
    ),
    mesh,
)
for _ in range(FINETUNE_STEPS):
    chosen = random.choice(labelled, BATCH_SIZE, replace=False)
    tuned, metrics = step(tuned, {"image": images_bhwc[chosen], "label": labels[chosen]})

predict = jax.jit(functools.partial(classifier.apply, train=False))
logits = predict(tuned.variables, normalization.normalize(images_bhwc[test]))
accuracy = float(np.mean(np.argmax(logits, axis=-1) == labels[test]))
print(f"{accuracy:.1%} of {len(test)} test digits are read right, after {len(labelled)} labels")

# %% [markdown]
# ## What each layer sees
#
# `activations` gives the output of every layer by its name.

# %%
from symskip_jax import activations

maps = activations(classifier, tuned.variables, normalization.normalize(images_bhwc[test[:4]]))
for name, array in maps.items():
    if name.endswith("relu"):
        print(f"{name:<16}{array.shape}")

# %% [markdown]
# Masks instead of classes, several labels an image, `pmap`, new layers alone at first, the weights of a run of the
# command: `docs/your_loop.md` in the repository.
