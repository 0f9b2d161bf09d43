"""Image networks pre-trained without labels by denoising, with symmetric skip connections.

After Dong, Mao, Shen and Yang, "Learning Deep Representations Using Convolutional Auto-encoders
with Symmetric Skip Connections". Sections named in docstrings are those of the paper.

Public: the names in `__all__`, which stay as they are until the next major version; docs/api.md
describes them. Everything else may change at any time, the modules below included, but for what
`symskip_jax.interop.torch_file` and `torch_modules` say of themselves.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symskip_jax.config import base_config, check_argument, load_config
    from symskip_jax.errors import UserError
    from symskip_jax.memory import keep_freed_memory
    from symskip_jax.metrics import (
        accuracy,
        average_precision,
        confusion_matrices,
        intersections_over_unions,
        psnr,
        ssim,
    )
    from symskip_jax.models import (
        AutoEncoder,
        Classifier,
        Layer,
        Segmenter,
        Spec,
        network_1,
        network_2,
        network_3,
        red_net,
    )
    from symskip_jax.models.activations import activations
    from symskip_jax.training.checkpoints import Restored, load_variables
    from symskip_jax.training.losses import classification_loss, multi_label_loss, segmentation_loss
    from symskip_jax.training.mesh import data_mesh, jit_step, pmap_step, replicate_for_pmap
    from symskip_jax.training.schedules import cosine_schedule, make_optimizer, milestone_schedule
    from symskip_jax.training.skips import SkipSchedule
    from symskip_jax.training.state import TrainState, init_state
    from symskip_jax.training.steps import finetune_step, head_step, pretrain_step
    from symskip_jax.transforms import (
        Augmentation,
        Corruption,
        FinetuneTransform,
        MaskTransform,
        Normalization,
        PretrainTransform,
        measure_normalization,
    )

__version__ = "0.1.0"

__all__ = [
    "Augmentation",
    "AutoEncoder",
    "Classifier",
    "Corruption",
    "FinetuneTransform",
    "Layer",
    "MaskTransform",
    "Normalization",
    "PretrainTransform",
    "Restored",
    "Segmenter",
    "SkipSchedule",
    "Spec",
    "TrainState",
    "UserError",
    "accuracy",
    "activations",
    "average_precision",
    "base_config",
    "check_argument",
    "classification_loss",
    "confusion_matrices",
    "cosine_schedule",
    "data_mesh",
    "finetune_step",
    "head_step",
    "init_state",
    "intersections_over_unions",
    "jit_step",
    "keep_freed_memory",
    "load_config",
    "load_variables",
    "make_optimizer",
    "measure_normalization",
    "milestone_schedule",
    "multi_label_loss",
    "network_1",
    "network_2",
    "network_3",
    "pmap_step",
    "pretrain_step",
    "psnr",
    "red_net",
    "replicate_for_pmap",
    "segmentation_loss",
    "ssim",
]

# Where each name lives. None is imported before it is asked for: JAX takes a second.
_HOMES = {
    "symskip_jax.config": ("base_config", "check_argument", "load_config"),
    "symskip_jax.errors": ("UserError",),
    "symskip_jax.memory": ("keep_freed_memory",),
    "symskip_jax.metrics": (
        "accuracy",
        "average_precision",
        "confusion_matrices",
        "intersections_over_unions",
        "psnr",
        "ssim",
    ),
    "symskip_jax.models": (
        "AutoEncoder",
        "Classifier",
        "Layer",
        "Segmenter",
        "Spec",
        "network_1",
        "network_2",
        "network_3",
        "red_net",
    ),
    "symskip_jax.models.activations": ("activations",),
    "symskip_jax.training.checkpoints": ("Restored", "load_variables"),
    "symskip_jax.training.losses": ("classification_loss", "multi_label_loss", "segmentation_loss"),
    "symskip_jax.training.mesh": ("data_mesh", "jit_step", "pmap_step", "replicate_for_pmap"),
    "symskip_jax.training.schedules": ("cosine_schedule", "make_optimizer", "milestone_schedule"),
    "symskip_jax.training.skips": ("SkipSchedule",),
    "symskip_jax.training.state": ("TrainState", "init_state"),
    "symskip_jax.training.steps": ("finetune_step", "head_step", "pretrain_step"),
    "symskip_jax.transforms": (
        "Augmentation",
        "Corruption",
        "FinetuneTransform",
        "MaskTransform",
        "Normalization",
        "PretrainTransform",
        "measure_normalization",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            # Kept, so that the next one who asks need not come here.
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
