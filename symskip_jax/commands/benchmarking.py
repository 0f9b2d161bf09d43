"""`symskip bench`."""

import argparse

from symskip_jax.bench import arguments as bench_arguments
from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import CONFIG_HELP, AddVerb, adding

EXAMPLES = bench_arguments.EXAMPLES


def describe(add: AddVerb) -> None:
    """Says what the verb and its actions take."""
    bench = add("bench", "how fast this is on this machine, beside its peers", False)
    actions = bench.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_action = adding(actions, EXAMPLES, "bench ")

    def add_bench(action: str, text: str, configured: bool) -> argparse.ArgumentParser:
        parser = add_action(action, text, configured)
        if configured:
            parser.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
        return parser

    bench_arguments.add_bench_actions(add_bench)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    if arguments.action == "input":
        from symskip_jax.bench.input import bench_input

        bench_input(arguments)
        return 0
    from symskip_jax.config import load_config

    config = load_config(arguments.config, overrides)
    prepare_libraries()
    if arguments.action == "step":
        from symskip_jax.bench.step import bench_step

        bench_step(config, overrides, arguments)
    elif arguments.action == "stages":
        from symskip_jax.bench.stages import bench_stages

        bench_stages(config, overrides, arguments)
    else:
        from symskip_jax.bench.train import bench_train

        bench_train(config, overrides, arguments)
    return 0
