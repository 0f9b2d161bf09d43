"""The `symskip` command: parses and dispatches."""

import argparse
import sys
from pathlib import Path


def main(argv=None):
    from symskip_jax.config import load_config

    p = argparse.ArgumentParser()
    p.add_argument("verb")
    p.add_argument("--config")
    p.add_argument("--workdir", type=Path)
    p.add_argument("--init", type=Path)
    a, rest = p.parse_known_args(argv)
    config = load_config(a.config, rest)
    if a.verb == "pretrain":
        from symskip_jax.experiments.pretrain import pretrain

        pretrain(config, a.workdir)
    else:
        from symskip_jax.experiments.finetune import finetune

        finetune(config, a.workdir, a.init)


if __name__ == "__main__":
    sys.exit(main())
