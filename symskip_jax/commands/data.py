"""`symskip data`."""

import argparse

from symskip_jax.commands.parser import AddVerb, adding

EXAMPLES = {
    "data": """\
examples:
  symskip data list
  symskip data list --data_dir /data/tensorflow_datasets
  symskip data import cifar10 cifar-10-binary.tar.gz
  symskip data import voc2007 VOCtrainval_06-Nov-2007.tar VOCtest_06-Nov-2007.tar
  symskip data prepare cifar100
""",
    "data list": """\
examples:
  symskip data list
  symskip data list --data_dir /data/tensorflow_datasets
""",
    "data info": """\
examples:
  symskip data info cifar10
  symskip data info folder:PHOTOS
""",
    "data check": """\
examples:
  symskip data check tfds:cifar10
  symskip data check voc:VOCdevkit/VOC2007 --split trainval
""",
    "data import": """\
examples:
  symskip data import cifar10 cifar-10-binary.tar.gz
  symskip data import cifar100 cifar-100-python.tar.gz
  symskip data import stl10 stl10_binary.tar.gz
  symskip data import imagenet2012 ILSVRC2012_img_train.tar ILSVRC2012_img_val.tar
  symskip data import voc2007 VOCtrainval_06-Nov-2007.tar VOCtest_06-Nov-2007.tar
  symskip data import voc2012 VOCtrainval_11-May-2012.tar
""",
    "data prepare": """\
examples:
  symskip data prepare cifar10
  symskip data prepare voc/2007 --data_dir /data/tensorflow_datasets
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verb and its actions take."""
    data = add("data", "what there is to train on", False)
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")

    add_action = adding(actions, EXAMPLES, "data ")

    def add_reading(action: str, text: str) -> argparse.ArgumentParser:
        parser = add_action(action, text, False)
        parser.add_argument(
            "--data_dir", help="where TFDS datasets are; default $TFDS_DATA_DIR or TFDS's"
        )
        return parser

    add_reading("list", "datasets, and where they are")
    info = add_reading("info", "what a dataset is: splits, sizes, classes, licence, how to get it")
    info.add_argument("name", metavar="NAME", help="as `symskip data list` has it, or cifar10, ...")
    check = add_reading("check", "decode every image, and list those that are broken")
    check.add_argument("name", metavar="NAME", help="as `symskip data list` has it")
    check.add_argument("--split", help="check this one alone; default all")
    importing = add_reading("import", "make a dataset of the archives that it was published as")
    importing.add_argument(
        "name", metavar="NAME", help="cifar10, cifar100, stl10, imagenet2012, voc2007 or voc2012"
    )
    importing.add_argument("archives", metavar="ARCHIVE", nargs="+", help="the files, as published")
    importing.add_argument(
        "--any_checksum",
        action="store_true",
        help="take archives that were packed anew; their content is checked all the same",
    )
    preparing = add_reading("prepare", "have TFDS download a dataset, or convert one from TFRecord")
    preparing.add_argument("name", metavar="NAME", help="as TFDS has it: NAME[/CONFIG][:VERSION]")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    from symskip_jax.experiments.data import run_data

    run_data(arguments)
    return 0
