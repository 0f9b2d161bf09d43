"""Context Encoder on Network-3, from ImageNet without labels (table 4; Pathak et al. 2016).

    symskip pretrain --config configs/imagenet_context_encoder.py --workdir runs/context
    symskip finetune --config configs/voc2007.py --workdir runs/context-voc --init runs/context

No skips; a channel-wise fully connected layer between the halves; reconstruction of what is masked
and a discriminator, 0.999 to 0.001. `:regions`, the default, masks regions of arbitrary shape,
`:center` the central half of each side. Six epochs as in the paper's ImageNet recipe. Cost: 9.1e17
FLOPs in the auto-encoder; those of the discriminator come on top. Expected, fine-tuned on VOC 2007:
70.24 % mAP (table 4). Measured: not run yet.
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty, `regions` or `center`."""
    check_argument(arg, ("regions", "center"))
    config = base_config()
    config.model.name = "network_3"
    config.model.skip = "none"
    config.model.bottleneck = "channel_wise"
    config.data.name = "tfds:imagenet2012"
    config.data.test_split = "validation"
    config.data.crop = (225, 225)
    config.data.input = "streamed"
    config.corruption.kind = arg or "regions"
    config.pretrain.loss = "masked"
    config.pretrain.adversarial_weight = 0.001
    config.pretrain.epochs, config.pretrain.milestones = 6, (4,)
    config.run.eval_every = 1.0
    config.run.checkpoint_every = 0.1
    config.run.eval_batch_size = 128
    return config
