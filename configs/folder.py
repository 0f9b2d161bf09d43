"""Anyone's own images, of any size, many small blocks masked.

    symskip pretrain --config folder --config.data.name=folder:PHOTOS
    symskip finetune --config folder --init runs/folder --config.data.name=folder:LABELLED

Expected: no figure of the paper. Images are streamed: of each, a random window of at least a
quarter of its area is shown at 65x65 pixels. Cost: as many images, so many steps. Measured: not run
at this size yet.

`:small` is narrower, for a look on two CPU cores: 76 s of training and tests on 160 photographs of
VOC 2012. Measured (results/folder_small): 25.45 dB rebuilt, 20.51 dB as corrupted.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty or `small`."""
    check_argument(arg, ("small",))
    config = base_config()
    config.model.blocks = (2, 2, 3, 3)
    config.model.n = 64
    config.data.name = "folder:PHOTOS"  # yours, by --config.data.name=folder:PATH
    config.data.crop = (65, 65)
    config.data.view = "random_resized"
    config.data.bad_image = "skip"
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 8
    config.corruption.block_size = (9, 9)
    config.pretrain.batch_size = 32
    config.pretrain.epochs, config.pretrain.milestones = 40, (30,)
    config.pretrain.learning_rate = 2e-3
    config.finetune.batch_size = 32
    config.finetune.learning_rate = 2e-3
    config.finetune.head_epochs = 10
    config.finetune.corruption_probability = 0.5
    if arg == "small":
        config.model.blocks = (2, 2, 2, 0)
        config.model.n = 16
    return config
