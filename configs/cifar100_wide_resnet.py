r"""CIFAR-100: Wide ResNet with symmetric skips, Adam against SGD (supplement C).

    symskip pretrain --config configs/cifar100_wide_resnet.py:adam --workdir runs/wide-adam
    symskip finetune --config configs/cifar100_wide_resnet.py:adam --workdir runs/wide-adam-ft \
        --init runs/wide-adam

and the same with `:sgd`, and each fine-tuning without --init. `adam` is the paper's recipe of
CIFAR. `sgd` starts from 0.1 with momentum 0.9 and has the same milestones; in fine-tuning weights
decay by 5e-4, which is Wide ResNet's own recipe. In pre-training nothing decays: the paper finds
that the weights of the reconstruction get small even with little of it
(--config.pretrain.weight_decay=5e-4 to see).

Expected (supplement C): in pre-training Adam's PSNR is about 1.0 dB above SGD's; in fine-tuning
Adam's accuracy is far below SGD's, and pre-training brings no gain. Wide ResNet from scratch, by
its authors: 81.15 % (table 1). Cost: 3.1e17 FLOPs of pre-training and 2.6e17 of fine-tuning, for
each optimiser. Measured: not run yet.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is `adam`, which is also what none means, or `sgd`."""
    check_argument(arg, ("adam", "sgd"))
    config = base_config()
    config.model.name = "wide_resnet"
    config.model.depth = 28
    config.model.widen = 10
    config.model.init = "he"
    config.data.name = "tfds:cifar100"
    config.corruption.kind = "gaussian"
    config.corruption.sigma = 30.0
    if arg == "sgd":
        for training in (config.pretrain, config.finetune):
            training.optimizer = "sgd"
            training.momentum = 0.9
            training.learning_rate = 0.1
        config.finetune.weight_decay = 5e-4
    return config
