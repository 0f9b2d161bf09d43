# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: symskip_jax, own images
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
# # Your own photographs: features, neighbours, a classifier
#
# A zip of photographs goes in. A network learns to fill holes in them, without labels; then every photograph
# becomes a row of numbers, by which similar ones are found, and from which a classifier learns the classes that you
# have named. Take a GPU with `Runtime > Change runtime type`; without one a narrower network is trained, for a look.
# What is stored here is of that one, on a CPU.
#
# The first cell installs. Set `REPOSITORY` to the address of the repository that you have.

# %% tags=["install"]
import shutil

REPOSITORY = "https://github.com/OWNER/symskip_jax"
JAX = "jax[cuda12]" if shutil.which("nvidia-smi") else "jax"
# %pip install --quiet "symskip-jax @ git+{REPOSITORY}" "{JAX}"

# %% [markdown]
# ## The zip
#
# Put it into the runtime (the folder on the left, then upload) and write its name here. In it, JPEG, PNG, WebP, BMP or
# TIFF files of any size; sub-folders are classes, if there are any. A tenth of each class is kept for the test, unless
# there are folders `train` and `test`. Windows of at least 65x65 pixels are shown to the network. What is made of it
# has the name of the zip, so that another zip is another run: give one with other photographs another name.
#
# With an empty name the notebook makes a zip itself, of windows of the two photographs that scikit-learn brings: a temple
# (by danielbuechele on Flickr) and a flower (by vultilion on Flickr), both CC BY 2.0. The test windows are of the
# right-hand part of each photograph, the others of the rest.

# %% tags=["parameters"]
import shutil

ZIP = ""
CONFIG = "folder" if shutil.which("nvidia-smi") else "folder:small"
OPTIONS = ""
SAMPLES = 80  # windows of each photograph, where there is no zip

# %%
import re
import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def make_zip(path, samples):
    """Writes windows of scikit-learn's two photographs, a class each, `samples` for training."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for name, photo in zip(("building", "flower"), load_sample_images().images, strict=True):
            border = photo.shape[1] * 7 // 10
            for split, part in (("train", photo[:, :border]), ("test", photo[:, border:])):
                for number in range(samples if split == "train" else samples // 4):
                    size = random.integers(80, 161)
                    top, left = (random.integers(0, n - size) for n in part.shape[:2])
                    file = BytesIO()
                    window = part[top : top + size, left : left + size]
                    Image.fromarray(window).save(file, "JPEG")
                    archive.writestr(f"{split}/{name}/{number:03}.jpg", file.getvalue())


if ZIP:
    NAME = re.sub(r"\W+", "_", Path(ZIP).stem)
else:
    NAME = "made_windows"
    make_zip("made_windows.zip", SAMPLES)
PHOTOS = Path("photos", NAME)
shutil.rmtree(PHOTOS, ignore_errors=True)
with zipfile.ZipFile(ZIP or "made_windows.zip") as archive:
    # What macOS adds is no photograph.
    archive.extractall(PHOTOS, [n for n in archive.namelist() if "__MACOSX" not in n])
while len(inside := list(PHOTOS.iterdir())) == 1 and inside[0].is_dir():
    PHOTOS = inside[0]
print(PHOTOS, "holds", sum(it.is_file() for it in PHOTOS.rglob("*")), "files")

# %% [markdown]
# All are decoded once; what is broken is listed, and left out below.

# %%
# !symskip data check "folder:{PHOTOS}"

# %% [markdown]
# ## Pre-train, without labels
#
# What to change for your photographs:
#
# | if | set in `OPTIONS` |
# | --- | --- |
# | mirrored images would be wrong (text, digits) | `--config.data.flip=False` |
# | there are fewer than 32 images | `--config.pretrain.batch_size=8` |
# | memory runs out | `--config.model.width_multiplier=0.5` |

# %%
# !symskip pretrain --config {CONFIG} "--config.data.name=folder:{PHOTOS}" --workdir runs/{NAME} {OPTIONS}

# %% [markdown]
# Test photographs as they are, with holes, and as the network rebuilt them. If these are poor, train for longer:
# `OPTIONS = "--config.pretrain.epochs=200 '--config.pretrain.milestones=(150,)'"`.

# %%
from IPython.display import display

with Image.open(max(Path("runs", NAME, "images").glob("step_*.png"))) as sheet:
    sheet = sheet.convert("RGB")
    sheet.thumbnail((560, 2000))
    display(sheet, include=["image/jpeg"])

# %% [markdown]
# ## Features
#
# A row of numbers for each photograph: the mean of the deepest layer over the central window. Download the two files to use
# them elsewhere.

# %%
# !symskip features runs/{NAME} --split train --out {NAME}_train.npz

# %%
# !symskip features runs/{NAME} --split test --out {NAME}_test.npz

# %%
train, test = np.load(f"{NAME}_train.npz"), np.load(f"{NAME}_test.npz")
print({name: train[name].shape for name in ("features", "label", "name") if name in train})

# %% [markdown]
# ## Neighbours
#
# On the left photographs of the test, beside each the five training photographs whose features, less their mean, have
# the largest cosine with its own.

# %%
import matplotlib.pyplot as plt


def unit(features_nd):
    """Brings each row to length 1, so that a product of two is their cosine."""
    return features_nd / np.maximum(np.linalg.norm(features_nd, axis=1, keepdims=True), 1e-12)


centre = train["features"].mean(axis=0)
cosines = unit(test["features"] - centre) @ unit(train["features"] - centre).T
shown = np.linspace(0, len(cosines) - 1, min(4, len(cosines))).astype(int)
figure, axes = plt.subplots(
    len(shown), 6, figsize=(6.4, 1.15 * len(shown)), dpi=70, squeeze=False, layout="constrained"
)
for row, query in zip(axes, shown, strict=True):
    nearest = np.argsort(-cosines[query])[:5]
    files = [test["name"][query], *train["name"][nearest]]
    titles = ["test", *(f"{cosines[query, it]:.4f}" for it in nearest)]
    for axis in row:
        axis.axis("off")
    for axis, file, title in zip(row, files, titles, strict=False):
        with Image.open(PHOTOS / str(file)) as photo:
            axis.imshow(photo.convert("RGB").resize((65, 65)))
        axis.set_title(title, fontsize=8)
plt.show()

# %% [markdown]
# ## A classifier
#
# Logistic regression on the features, where the photographs have classes.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if "label" in train and len(np.unique(train["label"][train["label"] >= 0])) > 1:
    known, asked = train["label"] >= 0, test["label"] >= 0
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    classifier.fit(train["features"][known], train["label"][known])
    right = classifier.score(test["features"][asked], test["label"][asked])
    most = np.bincount(train["label"][known]).argmax()
    print(f"{right:.1%} of {asked.sum()} test photographs are told right")
    print(f"{np.mean(test['label'][asked] == most):.1%} of them are of the commonest class")
else:
    print("no classes: put the photographs of each class into a folder of its own")

# %% [markdown]
# Two photographs as unlike as these are told apart by their colours alone: of the notebook's own zip the figure says
# nothing but that all works. With many labels a fine-tuned network may do better than that. In a cell of its own:
#
#     !symskip finetune --config {CONFIG} --init runs/{NAME} "--config.data.name=folder:{PHOTOS}" --workdir runs/{NAME}_classifier
#
# Compare it with the same without `--init` and with `--config.model.init=he`: from scratch is a strong rival.
