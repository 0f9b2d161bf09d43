r"""PASCAL VOC 2007, several classes an image: Network-3 (sections 5.4.1 and 5.5.1, tables 4 and 5).

    symskip pretrain --config configs/imagenet.py --workdir runs/imagenet
    symskip finetune --config configs/voc2007.py --workdir runs/voc2007 --init runs/imagenet \
        --config.data.name=voc:VOCdevkit/VOC2007

Expected mean average precision on the test split, by ten random crops (table 4): 71.25 %
pre-trained with skips, 69.38 % without (--config.model.skip=none in both commands), 67.11 % from
scratch (no --init). Table 5, of animals, vehicles and all: 73.04, 79.04 and 70.77 % from
`imagenet.py:animals`, 72.17, 80.00 and 70.93 % from `imagenet.py:vehicles`, 67.02, 76.87 and 67.11
from scratch; the log has them as map_animal, map_vehicle and mean_average_precision. Cost: 1.2e17
FLOPs for each row. Measured: not run yet.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; it takes no argument."""
    check_argument(arg, ())
    config = base_config()
    config.model.name = "network_3"
    config.data.name = "voc:VOCdevkit/VOC2007"
    config.data.train_split = "trainval"
    config.data.crop = (225, 225)
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 32
    config.corruption.block_size = (20, 20)
    config.finetune.epochs, config.finetune.milestones = 400, (200, 300)
    config.finetune.milestone_factor = 0.1
    config.evaluation.crops = 10
    config.run.eval_every = 50.0
    config.run.checkpoint_every = 10.0
    return config
