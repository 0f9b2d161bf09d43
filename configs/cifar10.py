"""CIFAR-10, all labels: Network-1, 15 layers, Gaussian noise (section 5.2, table 1).

    symskip pretrain --config configs/cifar10.py --workdir runs/cifar10
    symskip finetune --config configs/cifar10.py --workdir runs/cifar10-ft --init runs/cifar10

Expected test accuracy (table 1): 95.15 % pre-trained with skips, 92.07 % without
(--config.model.skip=none in both commands), 93.95 % from scratch (finetune without --init).
Cost: 9.6e16 FLOPs of pre-training and 8.0e16 of fine-tuning. Measured: not run at this size yet,
nor `:small`, which is narrow and short, for two CPU cores.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty or `small`."""
    check_argument(arg, ("small",))
    config = base_config()
    config.model.name = "network_1"
    config.model.blocks = (5, 5, 5, 0)
    config.model.n = 128
    config.data.name = "tfds:cifar10"
    config.corruption.kind = "gaussian"
    config.corruption.sigma = 30.0
    if arg == "small":
        config.model.width_multiplier = 0.125
        config.pretrain.learning_rate = config.finetune.learning_rate = 1e-3
        config.pretrain.epochs, config.pretrain.milestones = 2, (1.0, 1.5)
        config.finetune.epochs, config.finetune.milestones = 4, (2.0, 3.0)
        config.run.eval_every = 2.0
    return config
