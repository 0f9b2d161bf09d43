"""Every image is measured exactly once, on its centre crop, whatever the batch size."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, log_loss

from symskip_jax.data.base import VOID, Example
from symskip_jax.data.parts import parts_of
from symskip_jax.errors import UserError
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.evaluation.classification import classification_evaluator
from symskip_jax.evaluation.multi_label import multi_label_evaluator
from symskip_jax.evaluation.reconstruction import (
    corrupt_for_evaluation,
    reconstruct,
    reconstruction_evaluator,
)
from symskip_jax.evaluation.segmentation import segmentation_evaluator
from symskip_jax.models import Segmenter, apply_padded, network_1
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

DATA = tiny.make_batch(10, size=9)
CROP = (8, 8)
CENTRE = DATA["image"][:, :8, :8]
OPTIMIZER = make_optimizer(milestone_schedule(1e-3, (), 0.1, 1))


def parts(batch_size: int) -> Parts:
    return functools.partial(parts_of, DATA, batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 16])
def test_every_image_is_visited_once_and_in_order(batch_size: int) -> None:
    found = map_images(
        lambda batch, indices: {"i": indices, "y": batch["label"]}, parts(batch_size)
    )
    np.testing.assert_array_equal(found["i"], np.arange(10))
    np.testing.assert_array_equal(found["y"], DATA["label"])


def test_accuracy_and_loss_are_scikit_learns_on_centre_crops() -> None:
    model = tiny.classifier(tiny.ONE_LAYER)
    variables = tiny.make_state(model, OPTIMIZER).variables
    logits = model.apply(variables, tiny.NORMALIZATION.normalize(CENTRE), train=False)
    for batch_size in (3, 16):
        evaluate = classification_evaluator(model, tiny.NORMALIZATION, CROP, [parts(batch_size)])
        found = evaluate(variables)
        assert found["count"] == 10
        labels = DATA["label"]
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
        expected = log_loss(labels, jax.nn.softmax(logits), labels=range(tiny.CLASSES))
        assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_psnr_is_scikit_images_beside_that_of_the_clipped_input() -> None:
    model = tiny.autoencoder(tiny.ONE_LAYER)
    variables = tiny.make_state(model, OPTIMIZER).variables
    corrupted = corrupt_for_evaluation(tiny.NOISE, np.arange(10), CENTRE.astype(np.float32))
    rebuilt = reconstruct(model, variables, tiny.NORMALIZATION, corrupted)
    clean = CENTRE.astype(np.float64)

    def mean_psnr(images: np.ndarray) -> float:
        pairs = zip(clean, np.asarray(images, np.float64), strict=True)
        return float(np.mean([peak_signal_noise_ratio(c, i, data_range=255) for c, i in pairs]))

    for batch_size in (3, 16):
        evaluate = reconstruction_evaluator(
            model, tiny.NORMALIZATION, tiny.NOISE, CROP, parts(batch_size)
        )
        found = evaluate(variables)
        assert found["count"] == 10
        assert found["psnr"] == pytest.approx(mean_psnr(rebuilt), rel=1e-5)
        assert found["psnr_identity"] == pytest.approx(
            mean_psnr(np.clip(corrupted, 0, 255)), rel=1e-5
        )


# Several classes an image, and several crops.

CLASS_NAMES = ("ant", "bee", "cat", "dog")
WIDE = tiny.make_batch(10, size=12)
LABELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0]] * 5, np.int8)
GROUPS = {"insect": ("ant", "bee"), "mammal": ("cat", "dog"), "fish": ()}


@pytest.fixture(scope="module")
def answering() -> tuple:
    model = tiny.classifier(tiny.ONE_LAYER)
    return model, tiny.make_state(model, OPTIMIZER).variables


def over(answering: tuple, images: np.ndarray, batch_size: int, crops: int) -> dict[str, float]:
    passes = [functools.partial(parts_of, {"image": images, "label": LABELS}, batch_size)] * crops
    evaluate = multi_label_evaluator(
        answering[0],
        tiny.NORMALIZATION,
        CROP,
        passes,
        class_names=CLASS_NAMES,
        groups=GROUPS,
    )
    return evaluate(answering[1])


def test_random_crops_are_the_same_each_time_however_they_are_batched(answering: tuple) -> None:
    found = [over(answering, WIDE["image"], batch_size, 3) for batch_size in (4, 10)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0] == over(answering, WIDE["image"], 4, 3)
    others = [over(answering, WIDE["image"], 10, crops)["loss"] for crops in (1, 2)]
    assert len({round(loss, 6) for loss in [*others, found[0]["loss"]]}) == 3


def test_the_outputs_of_ten_crops_are_averaged(answering: tuple) -> None:
    model, variables = answering
    # As streams give them: cut already, to another window in each pass.
    places = [(top, left) for top in (0, 2, 4) for left in (0, 1, 3)] + [(4, 4)]
    crops = [WIDE["image"][:, top : top + 8, left : left + 8] for top, left in places]
    passes = [
        functools.partial(parts_of, {"image": crop, "label": DATA["label"]}, 4) for crop in crops
    ]
    logits = np.mean(
        [model.apply(variables, tiny.NORMALIZATION.normalize(it), train=False) for it in crops], 0
    )
    found = classification_evaluator(model, tiny.NORMALIZATION, CROP, passes)(variables)
    exponentials = np.exp(logits.astype(np.float64))
    shares = exponentials[np.arange(10), DATA["label"]] / exponentials.sum(1)
    assert found["loss"] == pytest.approx(-np.log(shares).mean(), rel=1e-5)
    assert found["accuracy"] == (logits.argmax(1) == DATA["label"]).mean()
    alone = [classification_evaluator(model, tiny.NORMALIZATION, CROP, [it]) for it in passes]
    assert min(abs(it(variables)["loss"] - found["loss"]) for it in alone) > 1e-4


def test_crops_of_images_that_look_alike_everywhere_say_what_one_does(answering: tuple) -> None:
    flat = np.broadcast_to(WIDE["image"][:, 4:5, 4:5], (10, 12, 12, 3))
    assert over(answering, flat, 10, 3) == pytest.approx(over(answering, flat, 10, 1), rel=1e-5)


def test_precisions_are_averaged_over_classes_and_groups(answering: tuple) -> None:
    found = over(answering, WIDE["image"], 4, 1)
    assert found["count"] == 10
    precisions = [found[f"ap_{name}"] for name in ("ant", "bee", "cat")]
    assert "ap_dog" not in found and "map_fish" not in found  # which no image shows
    assert found["ap_cat"] == 1.0  # no image is known to be without
    assert found["mean_average_precision"] == pytest.approx(np.mean(precisions))
    assert found["map_insect"] == pytest.approx(np.mean(precisions[:2]))
    assert found["map_mammal"] == precisions[2]


# Masks.

SIZES = [(9, 13), (12, 7), (8, 8), (11, 130)]


@pytest.fixture(scope="module")
def segmenting() -> tuple:
    model = Segmenter(network_1((2, 2, 0, 0), n=3), tiny.CLASSES)
    return model, tiny.make_state(model, OPTIMIZER).variables


@pytest.fixture(scope="module")
def examples() -> Sequence[Example]:
    random = np.random.default_rng(0)
    classes = np.array([0, 1, 2, VOID], np.uint8)  # of class 3 there is none
    return [
        Example(random.integers(0, 256, (*size, 3), np.uint8), random.choice(classes, size))
        for size in SIZES
    ]


@pytest.fixture(scope="module")
def alone(segmenting: tuple, examples: Sequence[Example]) -> Sequence[np.ndarray]:
    """The logits of each image by itself, as large as it is."""
    model, variables = segmenting
    apply = jax.jit(functools.partial(model.apply, train=False))
    return [
        np.asarray(apply(variables, tiny.NORMALIZATION.normalize(image[None]))[0])
        for image, _ in examples
    ]


def test_padding_changes_nothing(segmenting, examples, alone) -> None:
    padded = np.zeros((3, 16, 16, 3), np.float32)
    for place, (image, _) in enumerate(examples[:3]):
        height, width = image.shape[:2]
        padded[place, :height, :width] = tiny.NORMALIZATION.normalize(image)
    found = jax.jit(functools.partial(apply_padded, segmenting[0]))(
        segmenting[1], jnp.asarray(padded), np.array(SIZES[:3])
    )
    for logits, exact, (height, width) in zip(found, alone, SIZES, strict=False):
        np.testing.assert_allclose(logits[:height, :width], exact, atol=1e-4)


def test_intersections_over_unions_are_scikit_learns_over_whole_images(
    segmenting, examples, alone
) -> None:
    evaluate = segmentation_evaluator(
        segmenting[0],
        tiny.NORMALIZATION,
        lambda: examples,
        batch_size=2,
        class_names=CLASS_NAMES,
    )
    found = evaluate(segmenting[1])
    assert found["count"] == 4
    masks = np.concatenate([mask.ravel() for _, mask in examples])
    logits = np.concatenate([it.reshape(-1, tiny.CLASSES) for it in alone])
    truth, predicted = masks[masks != VOID], logits.argmax(-1)[masks != VOID]
    unions = jaccard_score(truth, predicted, labels=range(4), average=None, zero_division=0)
    there = confusion_matrix(truth, predicted, labels=range(4))
    assert (there.sum(0) > 0).sum() > 1 and unions.max() > 0.05
    assert found["mean_iu"] == pytest.approx(unions.mean(), abs=1e-9)
    for name, union in zip(CLASS_NAMES, unions, strict=True):
        assert found[f"iu_{name}"] == pytest.approx(union, abs=1e-9)
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-9)
    expected = log_loss(truth, jax.nn.softmax(logits[masks != VOID]), labels=range(4))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_masks_without_a_class_cannot_be_measured_on(segmenting, examples) -> None:
    blank = [Example(image, np.full_like(mask, VOID)) for image, mask in examples[:1]]
    evaluate = segmentation_evaluator(
        segmenting[0], tiny.NORMALIZATION, lambda: blank, batch_size=2, class_names=CLASS_NAMES
    )
    with pytest.raises(UserError, match="void"):
        evaluate(segmenting[1])
