r"""PASCAL VOC 2012 segmentation with the decoder kept: Network-3 (section 5.4.2, figure 4).

    symskip pretrain --config configs/imagenet.py --workdir runs/imagenet
    symskip finetune --config configs/voc2012_segmentation.py --workdir runs/masks \
        --config.data.name=voc_segmentation:VOCdevkit/VOC2012 --init runs/imagenet

Expected: figure 4 compares the mean IU on the validation split, over whole images, of this, of the
pre-trained encoder alone (--config.finetune.init_parts=encoder) and of a random start (no --init);
the text gives no numbers, but says that the first is the best. Cost: 6.8e16 FLOPs for each.
Measured: not run yet.

`:small` is an eighth as wide and sees images whose shorter side is 80 pixels, for two CPU cores;
it pre-trains on the training images themselves. Measured on 110 of them, 3 minutes of one core for
each command, three seeds: 4.2 +- 0.2 % mean IU with the decoder kept, 4.0 +- 0.1 % with the
encoder alone, 4.1 +- 0.1 % from scratch (docs/reproduction.md, figure4).

    symskip pretrain --config voc2012_segmentation:small --workdir runs/masks-pretrain
    symskip finetune --config voc2012_segmentation:small --workdir runs/masks-small \
        --init runs/masks-pretrain
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty or `small`."""
    check_argument(arg, ("small",))
    config = base_config()
    config.model.name = "network_3"
    config.data.name = "voc_segmentation:VOCdevkit/VOC2012"
    config.data.test_split = "val"
    config.data.crop = (225, 225)
    config.corruption.kind = "blocks"
    config.corruption.num_blocks = 32
    config.corruption.block_size = (20, 20)
    config.finetune.batch_size = 32
    config.finetune.epochs, config.finetune.milestones = 400, (200, 300)
    config.finetune.milestone_factor = 0.1
    config.finetune.init_parts = "encoder_decoder"
    config.run.eval_every = 50.0
    config.run.checkpoint_every = 10.0
    config.run.eval_batch_size = 16
    if arg == "small":
        config.model.width_multiplier = 0.125
        config.data.resize = 80
        config.data.crop = (65, 65)
        config.corruption.num_blocks = 8
        config.corruption.block_size = (8, 8)
        for training in (config.pretrain, config.finetune):
            training.batch_size = 10
            training.epochs, training.milestones = 100, (50, 75)
        config.pretrain.learning_rate, config.finetune.learning_rate = 2e-3, 1e-2
        config.run.eval_every = 25.0
    return config
