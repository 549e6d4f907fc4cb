"""Forward pass of images: read by worker processes, encoded in batches, stored in parts to resume after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL.Image import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch.utils.data import DataLoader

from genrec.errors import DataError
from genrec.item_encoders.images.files import ImageList, Unreadable
from genrec.runtime.files import replacing
from genrec.runtime.progress import Bar
from genrec.runtime.threads import cores

PART = 512
"""Images of a part; independent of the batch size, which may change between attempts."""
_LONGEST = 16
"""An image's longer side may be this many times the shorter one; resizing 1 x 10,000 pixels would fill the memory."""
_AT_ONCE_ON_CPU = 16
"""Larger batches of a convolutional network do not fit a core's cache: 64 images at once take 1.6 times as long."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Backbone:
    """A network that encodes images as vectors, and its preprocessing."""

    module: torch.nn.Module
    """float32 (B, 3, H, W) -> (B, E), in evaluation mode."""
    frame: tuple[Callable[[Image], Image], ...]
    """Resizing and cropping, in order."""
    mean: tuple[float, ...]
    """Mean of each color, 0..1; subtracted."""
    std: tuple[float, ...]
    """Standard deviation of each color; divisor."""

    @classmethod
    def of(cls, module: torch.nn.Module, transform: Any) -> Backbone:
        """Build from a network and its preprocessing, a torchvision ``Compose`` that ends in tensor and normalization.

        Both run on the device, for whole batches, so that workers pass bytes instead of floats.

        Raises:
            DataError: the preprocessing has another form.
        """
        *frame, to_tensor, normalize = transform.transforms
        if not type(to_tensor).__name__.endswith("ToTensor") or type(normalize).__name__ != "Normalize":
            raise DataError(
                f"the preprocessing {transform} does not end in ToTensor and Normalize; choose another model"
            )
        mean, std = torch.as_tensor(normalize.mean).tolist(), torch.as_tensor(normalize.std).tolist()
        return cls(module.float().eval(), tuple(frame), tuple(mean), tuple(std))


@dataclass(frozen=True)
class _Framed:
    """Dataset for torch's loader: cropped images as bytes, or their problems."""

    images: ImageList
    frame: tuple[Callable[[Image], Image], ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> np.ndarray | Unreadable:
        image = self.images.read(row)
        if isinstance(image, Unreadable):
            return image
        image = _trimmed(image)
        for step in self.frame:
            image = step(image)
        return np.array(image, dtype=np.uint8)


def _trimmed(image: Image) -> Image:
    """The middle of an image with an extreme aspect ratio; other images unchanged."""
    width, height = image.size
    most = _LONGEST * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


def _together(samples: Sequence[np.ndarray | Unreadable]) -> tuple[np.ndarray | None, list[Unreadable], list[bool]]:
    """Readable images as bytes (B, H, W, 3), the problems of the others, and which are readable.

    Not as a tensor: torch would pass it in shared memory, which is 64 MB in a container.
    """
    read = [sample for sample in samples if not isinstance(sample, Unreadable)]
    unreadable = [sample for sample in samples if isinstance(sample, Unreadable)]
    return np.stack(read) if read else None, unreadable, [not isinstance(sample, Unreadable) for sample in samples]


@dataclass(frozen=True)
class _Part:
    """Results of consecutive images."""

    start: int
    """Row of the first image."""
    vectors_NE: np.ndarray
    """Vectors of the readable images, float32."""
    read_N: np.ndarray
    unreadable: list[Unreadable]

    def save(self, path: Path) -> None:
        """Write atomically."""
        unreadable = json.dumps([[image.name, image.kind] for image in self.unreadable])
        tensors = {"vectors_NE": np.ascontiguousarray(self.vectors_NE), "read_N": self.read_N}
        metadata = {"start": str(self.start), "unreadable": unreadable, "checksum": _checksum(**tensors)}
        with replacing(path) as partial:
            save_file(tensors, partial, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> _Part | None:
        """The inverse of :meth:`save`; None if the file is missing or damaged."""
        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata()
                unreadable = [Unreadable(*pair) for pair in json.loads(metadata["unreadable"])]
                vectors_NE, read_N = file.get_tensor("vectors_NE"), file.get_tensor("read_N")
                if metadata["checksum"] != _checksum(vectors_NE, read_N):
                    return None
                return cls(int(metadata["start"]), vectors_NE, read_N, unreadable)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None


def _checksum(vectors_NE: np.ndarray, read_N: np.ndarray) -> str:
    return hashlib.sha256(vectors_NE.tobytes() + read_N.tobytes()).hexdigest()


def encode_images(
    images: ImageList,
    backbone: Backbone,
    *,
    title: str,
    batch_size: int,
    num_workers: int | None,
    precision: Precision,
    device: torch.device,
    folder: Path | None,
) -> tuple[np.ndarray, np.ndarray, list[Unreadable]]:
    """Encode every image.

    Args:
        images: all images of a catalog.
        backbone: the network.
        title: label of the progress bar and of errors.
        batch_size: images in a batch; results do not depend on it.
        num_workers: processes that read images, 0 for none but this one, None to choose by the machine.
        precision: precision on a GPU.
        device: of the network.
        folder: of finished parts, for resuming; None stores nothing.

    Returns:
        ``vectors_NE`` float32 of the readable images, ``read_N`` bool, a mask of them, and the problems of the
        others.

    Raises:
        DataError: a worker died, or a vector is not finite.
    """
    starts = range(0, len(images), PART)
    parts: dict[int, _Part] = {}
    for start in starts:
        if folder is not None and (part := _Part.load(_part_file(folder, start))) is not None:
            parts[start] = part
    rows_of = {start: range(start, min(start + PART, len(images))) for start in starts if start not in parts}
    waiting = sum(map(len, rows_of.values()))
    if num_workers is None:
        num_workers = 0 if waiting <= 2 * batch_size else min(4, cores() - 1)
    batches = [list(rows[at : at + batch_size]) for rows in rows_of.values() for at in range(0, len(rows), batch_size)]
    loader = DataLoader(
        _Framed(images, backbone.frame),  # type: ignore[arg-type]  # torch needs only these two methods
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_together,
    )
    death = ""
    try:
        for part in _finished(loader, rows_of, backbone, device, precision, title, len(images)):
            parts[part.start] = part
            if folder is not None:
                part.save(_part_file(folder, part.start))
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        death = str(error)
    if death:  # raised here, without the loader's frames: while they exist, torch raises the error repeatedly
        raise DataError(
            f"{title}: a process that reads images died, probably out of memory ({death}); "
            "set num_workers: 0, or a smaller batch_size"
        )
    done = [parts[start] for start in starts]
    width = max(part.vectors_NE.shape[1] for part in done)
    vectors_NE = np.concatenate([part.vectors_NE.reshape(len(part.vectors_NE), width) for part in done])
    return vectors_NE, np.concatenate([p.read_N for p in done]), [u for part in done for u in part.unreadable]


def _part_file(folder: Path, start: int) -> Path:
    return folder / f"images-{start:08d}.safetensors"


def _finished(
    loader: Any,
    rows_of: Mapping[int, range],
    backbone: Backbone,
    device: torch.device,
    precision: Precision,
    title: str,
    total: int,
) -> Iterator[_Part]:
    """Parts as they are finished, those of ``rows_of`` in order; a batch of the loader belongs to one part."""
    module = backbone.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loaded = iter(loader)  # start workers before the bar's thread: a fork would copy its locks
    with Bar(title, total) as bar:
        bar.advance(total - sum(map(len, rows_of.values())))
        for start, rows in rows_of.items():
            vectors: list[np.ndarray] = []
            unreadable: list[Unreadable] = []
            read: list[bool] = []
            while len(read) < len(rows):
                pixels, problems, are_read = next(loaded)
                if pixels is not None:
                    vectors.append(_vectors(module, pixels, backbone, device, precision))
                unreadable += problems
                read += are_read
                bar.advance(len(are_read))
            vectors_NE = np.concatenate(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
            if not np.isfinite(vectors_NE).all():
                raise DataError(f"{title}: an image's vector is not finite; set precision: fp32, or check the weights")
            yield _Part(start, vectors_NE, np.array(read, dtype=bool), unreadable)


def _vectors(
    module: torch.nn.Module, pixels_BHWC: np.ndarray, backbone: Backbone, device: torch.device, precision: Precision
) -> np.ndarray:
    mean_C11 = torch.tensor(backbone.mean, device=device)[:, None, None]
    std_C11 = torch.tensor(backbone.std, device=device)[:, None, None]
    parts = []
    for part_BHWC in torch.from_numpy(pixels_BHWC).split(_AT_ONCE_ON_CPU if device.type == "cpu" else len(pixels_BHWC)):
        pixels_BCHW = part_BHWC.to(device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode(), _autocast(device, precision):
            vectors_BE = module((pixels_BCHW - mean_C11) / std_C11)
        if isinstance(vectors_BE, tuple):  # some networks also return the states of patches
            vectors_BE = vectors_BE[0]
        parts.append(vectors_BE.float().cpu().numpy())
    return np.concatenate(parts)


def _autocast(device: torch.device, precision: Precision) -> Any:
    if device.type != "cuda" or precision == "fp32":
        return nullcontext()
    has_bf16 = precision == "bf16" or (precision == "auto" and torch.cuda.is_bf16_supported())
    return torch.autocast("cuda", torch.bfloat16 if has_bf16 else torch.float16)
