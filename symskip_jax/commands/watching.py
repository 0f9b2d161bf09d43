"""`symskip status`."""

import argparse

from symskip_jax.commands.parser import AddVerb, folder

EXAMPLES = {
    "status": """\
examples:
  symskip status runs/cifar10
  symskip status runs/cifar10 --json
  watch -n 10 symskip status /shared/imagenet
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verb takes."""
    status = add("status", "how a run is doing, or what became of it", False)
    status.add_argument("workdir", type=folder, metavar="WORKDIR", help="folder of the run")
    status.add_argument("--json", action="store_true", help="all that is known, for programs")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    from symskip_jax.experiments.status import status

    return 0 if status(arguments.workdir, as_json=arguments.json) else 1
