"""ImageNet without its labels: Network-3, many small blocks masked (section 5.4, supplement B).

    symskip pretrain --config configs/imagenet.py --workdir runs/imagenet
    symskip pretrain --config configs/imagenet.py:animals --workdir runs/animals
    symskip finetune --config configs/voc2007.py --workdir runs/voc2007 --init runs/imagenet

What table 4, figure 4 and table 5 pre-train with; `:animals` and `:vehicles` take 93,000 images of
these (section 5.5.1). Expected: the paper gives no figure of the pre-training itself. Cost: 9.1e17
FLOPs for all images, 4.4e17 for each subset. Measured: not run yet.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty, `animals` or `vehicles`."""
    check_argument(arg, ("animals", "vehicles"))
    config = base_config()
    config.model.name = "network_3"
    config.data.name = "tfds:imagenet2012"
    config.data.test_split = "validation"
    config.data.crop = (225, 225)
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 32
    config.corruption.block_size = (20, 20)
    config.pretrain.epochs, config.pretrain.milestones = 6, (4,)
    config.run.eval_every = 1.0
    config.run.checkpoint_every = 0.1
    if arg:
        config.data.train_split = arg
        config.pretrain.epochs, config.pretrain.milestones = 40, (30,)
        config.run.eval_every = 10.0
        config.run.checkpoint_every = 1.0
    return config
