"""The contenders that a researcher would write in torch, eager and compiled."""

import contextlib
from typing import Any

import torch
from torch import Tensor

from symskip_jax.bench.contender import peak_resident_bytes
from symskip_jax.bench.problem import Problem
from symskip_jax.bench.setting import num_cores
from symskip_jax.errors import UserError
from symskip_jax.interop.torch_modules import AutoEncoder, load_variables


class TorchPeer:
    """Plain torch: channels last, fused Adam, autocast for bfloat16, perhaps torch.compile."""

    def __init__(self, problem: Problem, platform: str, mode: str) -> None:
        """Builds the model.

        Args:
            problem: to work on.
            platform: cpu or gpu.
            mode: empty for eager, `compile` for torch.compile as it comes, `max_autotune`.

        Raises:
            UserError: torch does not see such a device.
        """
        if platform not in ("cpu", "gpu") or (platform == "gpu" and not torch.cuda.is_available()):
            raise UserError(f"this torch sees no {platform}")
        self._device = torch.device("cuda" if platform == "gpu" else "cpu")
        # Assigned, not asked for: the environment may have set fewer.
        torch.set_num_threads(num_cores())
        torch.manual_seed(problem.config["seed"])
        torch.backends.cudnn.benchmark = True
        if problem.is_bfloat16:
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
        self._problem = problem
        self._mean = torch.tensor(problem.mean, device=self._device)
        self._std = torch.tensor(problem.std, device=self._device)
        self._images = torch.from_numpy(problem.images).to(self._device)
        self._order = torch.zeros(0, dtype=torch.int64)
        model: Any = AutoEncoder(
            problem.layers, problem.images.shape[-1], problem.config["model.skip"]
        )
        self._model = model.to(self._device, memory_format=torch.channels_last)
        self._augment, self._loss = self._eager_augment, self._eager_loss
        if mode:
            how = "max-autotune" if mode == "max_autotune" else "default"
            # Without CUDA graphs: torch refuses what one graph makes as the input of the next.
            before = "max-autotune-no-cudagraphs" if mode == "max_autotune" else "default"
            self._augment = torch.compile(self._eager_augment, mode=before)
            self._loss = torch.compile(self._eager_loss, mode=how)
        self._restart()

    def facts(self) -> dict[str, Any]:
        """Returns the device."""
        if self._device.type == "cuda":
            return {"platform": "gpu", "device": torch.cuda.get_device_name()}
        return {"platform": "cpu", "threads": torch.get_num_threads()}

    def run(self, steps: int) -> None:
        """Takes steps; see `Contender`."""
        for _ in range(steps):
            if len(self._order) < self._problem.batch_size:
                self._order = torch.randperm(len(self._images), device=self._device)
            chosen, self._order = self._order.tensor_split([self._problem.batch_size])
            self._take(*self._augment(self._images[chosen]))
        self._wait()

    def check(self) -> dict[str, float]:
        """Takes two steps; see `Contender`."""
        self._restart()
        corrupted, clean = (
            torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)
            for images in (self._problem.corrupted, self._problem.clean)
        )
        before = float(self._take(corrupted, clean))
        gradients = [p.grad.flatten() for p in self._model.parameters() if p.grad is not None]
        # In float32 the sum over millions of squares is off by some 1e-3.
        norm = float(torch.linalg.vector_norm(torch.cat(gradients), dtype=torch.float64))
        del gradients
        after = float(self._take(corrupted, clean))
        self._restart()
        return {"loss": before, "loss_after": after, "gradient_norm": norm}

    def peak_bytes(self) -> int:
        """Returns the peak of memory; see `Contender`."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return peak_resident_bytes()

    def _restart(self) -> None:
        load_variables(self._model, self._problem.params, self._problem.batch_stats)
        self._model.train().zero_grad(set_to_none=True)
        parameters = list(self._model.parameters())
        rate = self._problem.config["pretrain.learning_rate"]
        try:
            self._optimizer = torch.optim.Adam(parameters, rate, fused=True)
        except RuntimeError:  # not for this device
            self._optimizer = torch.optim.Adam(parameters, rate)

    def _take(self, corrupted: Tensor, clean: Tensor) -> Tensor:
        """Takes a step on images [B, C, H, W], 0-255, and returns the loss before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(corrupted, clean)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _eager_loss(self, corrupted: Tensor, clean: Tensor) -> Tensor:
        mean, std = self._mean[:, None, None], self._std[:, None, None]
        inputs, targets = (corrupted - mean) / std, (clean - mean) / std
        with self._autocast():
            outputs = self._model(inputs)
        return torch.nn.functional.mse_loss(outputs.float(), targets)

    def _eager_augment(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, H, W, C] -> (corrupted, clean), float32 [B, C, h, w], channels last."""
        clean = self._crop(images)
        if self._problem.config["data.flip"]:
            flip = torch.rand(len(clean), 1, 1, 1, device=self._device) < 0.5
            clean = torch.where(flip, clean.flip(2), clean)
        clean = clean.float().permute(0, 3, 1, 2)
        return self._corrupt(clean), clean

    def _crop(self, images: Tensor) -> Tensor:
        batch, height, width, _ = images.shape
        crop_h, crop_w = self._problem.crop
        if (crop_h, crop_w) == (height, width):
            return images
        top = torch.randint(height - crop_h + 1, (batch, 1), device=self._device)
        left = torch.randint(width - crop_w + 1, (batch, 1), device=self._device)
        rows = top + torch.arange(crop_h, device=self._device)
        columns = left + torch.arange(crop_w, device=self._device)
        image = torch.arange(batch, device=self._device)
        return images[image[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _corrupt(self, clean: Tensor) -> Tensor:
        config = self._problem.config
        if config["corruption.kind"] == "gaussian":
            return clean + config["corruption.sigma"] * torch.randn_like(clean)
        if config["corruption.kind"] == "none":
            return clean
        count, (block_h, block_w) = config["corruption.num_blocks"], config["corruption.block_size"]
        batch, _, height, width = clean.shape
        size = (batch, count, 1)
        top = torch.randint(height - block_h + 1, size, device=self._device)
        left = torch.randint(width - block_w + 1, size, device=self._device)
        y, x = (torch.arange(side, device=self._device) for side in (height, width))
        rows, columns = (y >= top) & (y < top + block_h), (x >= left) & (x < left + block_w)
        masked = (rows[..., :, None] & columns[..., None, :]).any(1)[:, None]
        return torch.where(masked, self._mean[:, None, None], clean)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if not self._problem.is_bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
