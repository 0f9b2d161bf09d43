# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: symskip_jax, quickstart
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
# # Learn from digits without labels, then from 100 labels
#
# A small network first learns to fill holes in 1,297 handwritten digits, with no labels. Then it learns to
# read them from 100 labels, beside the same network from scratch. Nothing is downloaded but the package. It
# takes about two minutes once installed; any runtime will do.
#
# The first cell installs. Set `REPOSITORY` to the address of the repository that you have.

# %% tags=["install"]
import shutil

REPOSITORY = "https://github.com/OWNER/symskip_jax"
JAX = "jax[cuda12]" if shutil.which("nvidia-smi") else "jax"
# %pip install --quiet "symskip-jax @ git+{REPOSITORY}" "{JAX}"

# %% [markdown]
# Any field of the configuration can be set, for instance `OPTIONS = "--config.seed=1"`.

# %% tags=["parameters"]
OPTIONS = ""

# %% [markdown]
# ## Pre-train, without labels
#
# PSNR says how close the rebuilt digits are to the clean ones, beside that of the spoilt digits that went in.
# The probes look at labels only to measure; none reaches the training.

# %%
# !symskip pretrain --config digits --workdir runs/digits {OPTIONS}

# %% [markdown]
# ## Look
#
# Test digits as they are, with two squares painted over, and as the network rebuilt them.

# %%
from pathlib import Path

from IPython.display import display
from PIL import Image


def show(path, width=640):
    """Shows a picture, no wider than so many pixels."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((width, 4 * width))
        display(image, include=["image/jpeg"])


show(max(Path("runs/digits/images").glob("step_*.png")))

# %% [markdown]
# ## Fine-tune on 100 labels, and compare with scratch
#
# The same recipe twice: from the pre-trained encoder, and from He's random weights.

# %%
# !symskip finetune --config digits --workdir runs/tuned --init runs/digits {OPTIONS}

# %%
# !symskip finetune --config digits --workdir runs/scratch {OPTIONS}

# %%
import json


def tests(run):
    """Returns what a run measured on the test images, one record an evaluation."""
    lines = Path(run, "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == "test"]


for run in ("runs/tuned", "runs/scratch"):
    print(f"{run:<14}{tests(run)[-1]['accuracy']:.1%} of the test digits are read right")

# %% [markdown]
# On digits this easy the two differ by no more than seeds do: with three seeds each, `symskip quickstart` found
# 91.8 ± 0.2 % pre-trained, and 90.6 ± 1.4 % from scratch with He's weights. The notebook shows how it is done;
# the README has CIFAR-10, where the question is asked.
#
# ## One page of both runs
#
# Curves, settings that differ, cost. Download `comparison.html` and open it anywhere.

# %%
# !symskip report runs/tuned runs/scratch --out comparison.html

# %% [markdown]
# ## Take it with you
#
# The weights as safetensors, with the names that torch uses, and a model card beside them.

# %%
# !symskip export runs/tuned --format safetensors --out digits.safetensors

# %%
print(Path("digits.safetensors.md").read_text())
