"""Handwritten digits of scikit-learn, 8x8, with 100 labels: what `symskip quickstart` runs.

    symskip pretrain --config digits --workdir runs/digits
    symskip finetune --config digits --workdir runs/digits-ft --init runs/digits

Expected: no figure of the paper. Cost: on two CPU cores 14 to 37 s for a pre-training and 3 to 8 s
for a fine-tuning. Measured (results/quickstart): 91.8 +- 0.2 % test accuracy pre-trained; from
scratch 91.7 +- 0.2 % with the paper's initialisation and 90.6 +- 1.4 % with He's.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; it takes no argument."""
    check_argument(arg, ())
    config = base_config()
    config.model.blocks = (2, 2, 0, 0)
    config.model.n = 32
    config.model.init = "he"
    config.data.name = "digits"
    config.data.num_labels = 100
    config.data.crop = (8, 8)
    config.data.flip = False
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 2
    config.corruption.block_size = (3, 3)
    config.pretrain.batch_size = 64
    config.pretrain.epochs, config.pretrain.milestones = 40, (20, 30)
    config.pretrain.learning_rate = 2e-3
    config.finetune.batch_size = 50
    config.finetune.epochs, config.finetune.milestones = 100, (30, 60, 80)
    config.finetune.learning_rate = 2e-3
    config.finetune.corruption_probability = 0.5
    config.run.checkpoint_every = 20.0
    return config
