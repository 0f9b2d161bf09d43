"""CIFAR-10 with 4,000 labels: Network-2, many small blocks masked (section 5.3.1, supplement B).

    symskip pretrain --config configs/cifar10_4k.py --workdir runs/4k
    symskip finetune --config configs/cifar10_4k.py --workdir runs/4k-ft --init runs/4k

Expected test accuracy (table 2): 80.22 +- 0.37 % pre-trained with skips, 74.07 +- 0.43 % without
(--config.model.skip=none in both commands), 70.89 +- 0.30 % from scratch (finetune without --init).
Cost: 1.7e16 FLOPs of pre-training and 1.1e15 of fine-tuning, on one H100 six minutes in all.
Measured, one seed: pre-trained with skips 78.81 %, from scratch 70.57 % and with He's
initialisation 73.95 %; without skips not run.

`:small` is the same recipe narrowed to an eighth and shortened, for two CPU cores: 7 to 12 minutes
of one core for the pre-training, 2 for the fine-tuning and 3 from scratch. Measured, with each
start's rate looked for in one seed, five seeds: from scratch 45.2 +- 1.6 %, with He's
initialisation 56.3 +- 0.6 %; pre-trained without skips 44.2 +- 1.8 %, with skips 43.4 +- 4.2 %,
with both He's initialisation and skips 53.4 +- 1.2 %: docs/reproduction.md, table2.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty or `small`."""
    check_argument(arg, ("small",))
    config = base_config()
    config.model.name = "network_2"
    config.data.num_labels = 4000
    config.data.flip = False
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 8
    config.corruption.block_size = (5, 5)
    config.pretrain.learning_rate = 2e-3
    config.finetune.learning_rate = 2e-3
    config.finetune.head_epochs = 10
    config.finetune.corruption_probability = 0.5
    if arg == "small":
        config.model.width_multiplier = 0.125
        for training in (config.pretrain, config.finetune):
            training.batch_size = 64
        config.pretrain.epochs, config.pretrain.milestones = 3, (1.5, 2.25)
        config.finetune.epochs, config.finetune.milestones = 20, (6, 12, 16)
        config.finetune.head_epochs = 2
        config.run.eval_every = 5.0
        config.probe.parameters = 20_000
        config.probe.epochs = 10
    return config
