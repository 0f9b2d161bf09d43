"""RED-Net (Mao, Shen and Yang, NIPS 2016), trained to remove noise from grey photographs.

    symskip pretrain --config red_net --config.data.name=folder:PHOTOS --workdir runs/red_net
    symskip restore Set12 --checkpoint runs/red_net --sigma 30

`:10`, `:20` and `:30` (the default) are the paper's depths, 64 filters each. PHOTOS is any folder
of photographs, which become grey; of each, a random 51x51 window is shown (the paper cuts 50x50
ones), with noise of sigma 30 (`--config.corruption.sigma`; the paper reports 10, 30, 50 and 70).
Expected: the paper measures BSD200 and 14 images of its own, not Set12, so there is no figure of
it here to compare with. Cost: with 300 photographs RED30 takes 1.6e16 FLOPs. Measured: not run at
full size yet.

`:small` is RED10 with 16 filters and a higher rate, 8 minutes of one CPU core on 160 photographs of
VOC 2012. Measured: noise of sigma 30 on Set12, whole images, 27.59 dB restored and 18.84 dB as
corrupted (docs/reproduction.md, restoration).
"""

from ml_collections import ConfigDict

from symskip_jax import base_config, check_argument


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; `arg` is empty, a depth (10, 20 or 30) or `small`."""
    check_argument(arg, ("10", "20", "30", "small"))
    config = base_config()
    config.model.name = "red_net"
    config.model.depth = int(arg) if arg.isdigit() else 10 if arg else 30
    config.model.init = "he"
    config.data.name = "folder:PHOTOS"  # yours, by --config.data.name=folder:PATH
    config.data.channels = 1
    config.data.crop = (51, 51)
    config.data.bad_image = "skip"
    config.corruption.sigma = 30.0
    config.pretrain.batch_size = 64
    config.pretrain.learning_rate = 1e-4
    config.pretrain.epochs, config.pretrain.milestones = 4000, ()
    config.run.eval_every = config.run.checkpoint_every = 100.0
    if arg == "small":
        config.model.width_multiplier = 0.25
        config.pretrain.batch_size = 16
        config.pretrain.learning_rate = 2e-3
        config.pretrain.epochs, config.pretrain.milestones = 300, (180, 255)
        config.run.eval_every = config.run.checkpoint_every = 50.0
    return config
