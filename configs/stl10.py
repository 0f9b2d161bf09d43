r"""STL-10: Network-1, many small blocks masked, 1,000 labels a fold (section 5.3.2, table 3).

    symskip pretrain --config configs/stl10.py --workdir runs/stl10
    symskip finetune --config configs/stl10.py --workdir runs/stl10-ft --init runs/stl10 \
        --config.data.train_split=fold_0

Pre-training reads the 100,000 images without labels. Cost: 6.5e16 FLOPs of pre-training and 1.8e15
of fine-tuning for each fold. Expected test accuracy (table 3): 75.8 +- 0.5 % pre-trained with
skips, 70.2 +- 0.6 % without, 64.6 +- 0.7 % from scratch. Measured: not run yet, nor `:small`, which
is narrow and short, for two CPU cores.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty or `small`."""
    check_argument(arg, ("small",))
    config = base_config()
    config.model.name = "network_1"
    config.model.blocks = (2, 2, 3, 3)
    config.model.n = 64
    config.data.name = "tfds:stl10"
    config.data.pretrain_split = "unlabelled"
    config.data.crop = (89, 89)
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 8
    config.corruption.block_size = (15, 15)
    config.pretrain.epochs, config.pretrain.milestones = 40, (30,)
    config.finetune.head_epochs = 10
    if arg == "small":
        config.model.width_multiplier = 0.125
        config.pretrain.learning_rate = config.finetune.learning_rate = 1e-3
        config.pretrain.epochs, config.pretrain.milestones = 1, (0.75,)
        config.finetune.batch_size = 50
        config.finetune.epochs, config.finetune.milestones = 20, (6, 12, 16)
        config.finetune.head_epochs = 2
        config.run.eval_every = 5.0
    return config
