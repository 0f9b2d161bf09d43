"""From a configuration to images: which source, shown how, on the device or streamed to it."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from symskip_jax.data.base import Example, Source
from symskip_jax.data.channels import with_channels
from symskip_jax.data.parts import Part, Shard, parts_of
from symskip_jax.data.reading import Faults, SizesDifferError
from symskip_jax.data.resident import ResidentData, load_resident
from symskip_jax.data.sources import open_source, say_where
from symskip_jax.data.stream import Parallel, Stream, pass_over
from symskip_jax.data.subset import Subset
from symskip_jax.data.views import View
from symskip_jax.data.whole import whole_images
from symskip_jax.errors import MissingDataError, UserError
from symskip_jax.training.dispatch import Advance, resident_advance
from symskip_jax.training.feed import Feed, streamed_advance
from symskip_jax.training.mesh import Step, put_split, put_whole
from symskip_jax.training.state import TrainState
from symskip_jax.training.stops import StopRequests
from symskip_jax.training.timing import Timing
from symskip_jax.transforms import Normalization, measure_normalization

# Of the device's memory, or the machine's where there is no other, for the images of one split.
RESIDENT_SHARE = 0.25
PROBED_IMAGES = 16
NORMALIZATION_IMAGES = 1024


@dataclasses.dataclass(frozen=True)
class Input:
    """One split, ready to be trained or measured on.

    Attributes:
        source: of the images.
        resident: all of them in memory; None where they are streamed.
        view: what is shown of a streamed image; None where all have one size and are shown whole,
            as resident ones are: the device crops them.
        parallel: how they are streamed in training; a pass over them has as many threads as cores.
        faults: what is done about images that cannot be read.
        mesh: over whose devices the batches of a pass are split; None for none.
        watched: goes through every pass, and may end it.
    """

    source: Source
    resident: ResidentData | None
    view: View | None
    parallel: Parallel
    faults: Faults
    mesh: Mesh | None = None
    watched: Callable[[Iterable[Any]], Iterable[Any]] = iter

    def __len__(self) -> int:
        return len(self.source)

    @property
    def name(self) -> str:
        """For messages."""
        return self.source.name

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.source.features.image_shape[2]

    def describe(self) -> str:
        """Returns what there is and how it is read, in a line."""
        how = "streamed"
        if self.resident is not None:
            how = f"resident in memory, {self.resident.images_nhwc.nbytes / 2**20:,.1f} MiB"
        return f"{self.name}: {len(self):,} images, {how}"

    def labels(self) -> np.ndarray:
        """Returns the classes, int32 [N], -1 where an image has none."""
        return self.source.labels() if self.resident is None else self.resident.labels_n

    def can_be_drawn(self) -> np.ndarray:
        """Returns, bool [N], which images are not known to be broken."""
        return np.ones(len(self), bool) if self.resident is None else self.resident.mask_n

    def spread(self, mesh: Mesh, stops: StopRequests) -> "Input":
        """Returns the same images for evaluations in a run: split over devices, ended by a stop."""
        return dataclasses.replace(self, mesh=mesh, watched=stops.watched)

    def take(self, indices: np.ndarray) -> "Input":
        """Returns the images at these indices, in their order."""
        resident = None if self.resident is None else self.resident.take(indices)
        return dataclasses.replace(self, source=Subset(self.source, indices), resident=resident)

    @property
    def how(self) -> str:
        """`resident` or `streamed`."""
        return "streamed" if self.resident is None else "resident"

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that change when the images do."""
        if self.resident is not None:
            return self.resident.fingerprint()
        return self.source.fingerprint()

    def normalization(self) -> Normalization:
        """Measures the channels: of all images that are resident, of a sample of streamed ones."""
        sample = self
        if self.resident is None:
            count = min(len(self), NORMALIZATION_IMAGES)
            sample = self.take(np.linspace(0, len(self) - 1, count).astype(int))
        parts = sample.parts(min(len(sample), 64))
        return measure_normalization(part.batch["image"][part.mask_b] for part in parts)

    def parts(self, batch_size: int, draw: int | None = None) -> Generator[Part]:
        """Returns a pass over the images in order, each shown once.

        Those that are streamed are cut already: their centre, or a random window where a draw is
        named. Resident ones are whole. Over several devices a batch may be larger than asked for,
        so that it can be split, and each process reads its part.
        """
        if self.mesh is None:
            found = self._read_parts(batch_size, draw, Shard())
        else:
            rounded = -(-batch_size // self.mesh.size) * self.mesh.size
            shard = Shard(jax.process_index(), jax.process_count())
            found = (split_part(it, self.mesh) for it in self._read_parts(rounded, draw, shard))
        yield from self.watched(found)

    def _read_parts(self, batch_size: int, draw: int | None, shard: Shard) -> Generator[Part]:
        if self.resident is None:
            return pass_over(
                self.source,
                self.view,
                batch_size=batch_size,
                shard=shard,
                threads=os.cpu_count() or 1,
                faults=self.faults,
                draw=draw,
            )
        arrays = {"image": self.resident.images_nhwc, "label": self.resident.labels_n}
        return parts_of(arrays, batch_size, self.resident.mask_n, shard)

    def passes(self, batch_size: int, crops: int) -> list[Callable[[], Generator[Part]]]:
        """Returns one pass over the images, or as many as there are to be random crops of each."""
        draws = [None] if crops == 1 else range(crops)
        return [functools.partial(self.parts, batch_size, draw) for draw in draws]

    def examples(self) -> Generator[Example]:
        """Returns a pass over images with masks, each whole, at the scale of training."""
        found = whole_images(self.source, threads=os.cpu_count() or 1, faults=self.faults)
        for image, mask in self.watched(found):
            mask = np.asarray(mask)
            yield Example(*((image, mask) if self.view is None else self.view.whole(image, mask)))

    def first(self, count: int) -> np.ndarray:
        """Returns the first images that can be read, uint8 [n, H, W, C], one at least.

        Raises:
            UserError: none can be read.
        """
        found = np.empty((0, 0, 0, 0), np.uint8)
        with closing(self.parts(count)) as parts:
            for part in parts:
                more = part.batch["image"][part.mask_b]
                found = np.concatenate([found, more]) if len(found) else more
                if len(found) >= count:
                    break
        if not len(found):
            raise UserError(f"{self.name} has no image that can be decoded")
        return found[:count]

    def trainer(
        self,
        mesh: Mesh,
        *,
        batch_size: int,
        seed: int,
        total_steps: int,
        steps_per_dispatch: int,
        timing: Timing,
        shardings: TrainState | None = None,
    ) -> Callable[[Step], Advance]:
        """Returns what compiles a step into one that draws its batches from these images.

        Args:
            mesh: devices; the batch is split over them.
            batch_size: images a step.
            seed: of the order and of windows.
            total_steps: of the run.
            steps_per_dispatch: most steps that are asked for at once.
            timing: told how long is waited for images.
            shardings: of the state; see `symskip_jax.training.mesh.jit_step`.
        """
        if self.resident is not None:
            arrays = {"image": self.resident.images_nhwc, "label": self.resident.labels_n}
            data = put_whole(arrays, mesh)
            return lambda step: resident_advance(
                step,
                mesh,
                data,
                batch_size=batch_size,
                seed=seed,
                steps_per_dispatch=steps_per_dispatch,
                shardings=shardings,
            )
        stream = Stream(
            self.source,
            self.view,
            batch_size=batch_size,
            seed=seed,
            shard=Shard(jax.process_index(), jax.process_count()),
            parallel=self.parallel,
            faults=self.faults,
        )
        feed = Feed(stream, mesh, total_steps, timing)
        return lambda step: streamed_advance(step, mesh, feed, shardings)


def split_part(part: Part, mesh: Mesh) -> Part:
    """Returns this process's rows of a part as the arrays, split over the devices, of all rows."""
    return Part(*put_split(tuple(part), mesh))


def load_split(
    config: ConfigDict, split: str, name: str = "", option: str = "--config.data.name"
) -> Input:
    """Opens a split of `config.data`, and reads it into memory where it fits.

    Args:
        config: the whole configuration.
        split: the dataset's name for it.
        name: of the dataset; "" for `config.data.name`.
        option: by which the name is given, for messages.

    Raises:
        UserError: the data is missing or broken, or smaller than the crop.
    """
    data = config.data
    name = name or data.name
    try:
        source = open_source(name, split, data.data_dir or None)
    except MissingDataError as error:
        raise MissingDataError(say_where(str(error), name, option)) from error
    if data.channels:
        source = with_channels(source, data.channels)
    if not len(source):
        raise UserError(f"{source.name} has no images")
    faults = Faults(data.bad_image, data.read_retries)
    parallel = Parallel(data.threads or os.cpu_count() or 1, data.workers)
    resident = _read_if_it_fits(config, source, faults)
    shape = source.features.fixed_shape if resident is None else resident.images_nhwc.shape[1:]
    view = None
    if shape is None or not _shows_whole(config):
        view = View(tuple(data.crop), data.view, data.resize, data.min_area)
    else:
        _check_crop(tuple(data.crop), shape, source.name)
    return Input(source, resident, view, parallel, faults)


def load_train_and_test(
    config: ConfigDict, train_split: str, train_name: str = ""
) -> tuple[Input, Input]:
    """Opens what is trained on and `config.data.test_split`.

    Raises:
        UserError: as `load_split`, or their channels differ.
    """
    option = "--config.data.pretrain_name" if train_name else "--config.data.name"
    train = load_split(config, train_split, train_name, option)
    test = load_split(config, config.data.test_split)
    if train.channels != test.channels:
        raise UserError(
            f"{train.name} has {train.channels} channels and {test.name} {test.channels}; "
            "set config key data.channels to 1 (all grey) or 3 (all colour)"
        )
    return train, test


def _read_if_it_fits(config: ConfigDict, source: Source, faults: Faults) -> ResidentData | None:
    if config.data.input == "streamed":
        return None
    has_masks = source.features.label_kind == "mask"
    if config.data.input == "resident":
        if has_masks:
            raise UserError(
                f"config key data.input='resident' does not suit {source.name}: images with masks "
                "are streamed, so use 'streamed' or 'auto'"
            )
        if not _shows_whole(config):
            raise UserError(
                "config key data.input='resident' shows images whole to the device, and "
                "data.view or data.resize asks for windows: use 'streamed' or 'auto'"
            )
        return load_resident(source, faults)
    if has_masks or not _shows_whole(config) or (num_bytes := _probe_bytes(source)) is None:
        return None
    limit = RESIDENT_SHARE * memory_bytes()
    if num_bytes > limit:
        return None
    try:
        return load_resident(source, faults)
    except SizesDifferError:
        return None


def _shows_whole(config: ConfigDict) -> bool:
    return config.data.view == "crop" and not config.data.resize


def _probe_bytes(source: Source) -> int | None:
    """Returns how large the decoded images are if those looked at are all of one size."""
    shape = source.features.fixed_shape
    if shape is None:
        places = sorted({*np.linspace(0, len(source) - 1, PROBED_IMAGES).astype(int).tolist()})
        shapes = set()
        for index in places:
            # What is broken is dealt with where it is read in earnest.
            with suppress(UserError):
                shapes.add(source[index].image.shape)
        if len(shapes) != 1:
            return None
        (shape,) = shapes
    return len(source) * math.prod(shape)


def memory_bytes() -> int:
    """Returns how much memory the device has, or the machine where the device has none."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_crop(crop: tuple[int, int], shape: tuple[int, ...], name: str) -> None:
    height, width = shape[:2]
    if not (1 <= crop[0] <= height and 1 <= crop[1] <= width):
        raise UserError(
            f"config key data.crop={crop} does not fit images of {height}x{width} "
            f"(height x width) from {name}; choose 1 to {height} and 1 to {width}"
        )
