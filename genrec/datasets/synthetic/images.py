"""Synthetic images: palette and shape express the look, everything else is random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genrec.errors import DataError
from genrec.runtime.seeds import derive

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIZE = 64
"""Width and height of every image, pixels."""

_PALETTES = (  # motif, ground
    ((206, 60, 52), (250, 226, 196)),
    ((38, 84, 160), (206, 226, 240)),
    ((44, 120, 72), (236, 240, 190)),
    ((120, 56, 140), (240, 206, 226)),
    ((232, 160, 32), (70, 62, 66)),
    ((240, 238, 228), (52, 128, 136)),
)
_SHAPES = ("disc", "cross", "triangle", "ring", "bars")
NUM_LOOKS = len(_PALETTES) * len(_SHAPES)

_JITTER = 12.0  # of each color, standard deviation of 0..255
_GRAIN = 10.0  # of each pixel


@dataclass(frozen=True)
class Drawings:
    """Images of a catalog, drawn each time they are opened; item i always looks the same."""

    look_I: np.ndarray
    """0 <= look < NUM_LOOKS, int64 (I,)."""
    present_I: np.ndarray
    """Whether item i has an image, bool (I,)."""
    seed: int

    @property
    def counts_I(self) -> np.ndarray:
        """How many images item i has, one or none, int32 (I,)."""
        return self.present_I.astype(np.int32)

    def open(self, item: int, number: int = 0) -> Image:
        """Draw the image of an item that has one, RGB, 64 x 64.

        Raises:
            DataError: the item has no such image.
        """
        from PIL import Image, ImageDraw

        if number >= int(self.present_I[item]):
            raise DataError(f"showroom: item {item} has no image" + (f" {number}" if number else ""))
        random = np.random.default_rng(derive(self.seed, "picture", item))
        shape, palette = divmod(int(self.look_I[item]), len(_PALETTES))
        motif, ground = (_near(color, random) for color in _PALETTES[palette])
        image = Image.new("RGB", (SIZE, SIZE), ground)
        brush = ImageDraw.Draw(image)
        _draw_weave(brush, _near(ground, random), random)
        center, radius = random.uniform(29, 35, size=2), random.uniform(18, 22)
        _draw_shape(brush, _SHAPES[shape], center[0], center[1], radius, motif)
        light = random.uniform(0.88, 1.08)
        pixels = np.asarray(image, dtype=np.float64) * light + random.normal(0.0, _GRAIN, (SIZE, SIZE, 3))
        return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _near(color: tuple[int, ...], random: np.random.Generator) -> tuple[int, ...]:
    shifted = np.clip(np.array(color) + random.normal(0.0, _JITTER, 3), 0, 255)
    return tuple(int(value) for value in shifted)


def _draw_weave(brush: ImageDraw, color: tuple[int, ...], random: np.random.Generator) -> None:
    """Draw a fine pattern behind the motif, independent of the look."""
    step = int(random.integers(6, 12))
    kind = int(random.integers(4))
    for at in range(int(random.integers(step)), SIZE, step):
        if kind == 0:
            brush.line((at, 0, at, SIZE), fill=color, width=2)
        elif kind == 1:
            brush.line((0, at, SIZE, at), fill=color, width=2)
        elif kind == 2:
            for across in range(step // 2, SIZE, step):
                brush.ellipse((at - 1, across - 1, at + 1, across + 1), fill=color)


def _draw_shape(brush: ImageDraw, shape: str, x: float, y: float, radius: float, color: tuple[int, ...]) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    arm = radius / 3
    if shape == "disc":
        brush.ellipse(box, fill=color)
    elif shape == "cross":
        brush.rectangle((x - radius, y - arm, x + radius, y + arm), fill=color)
        brush.rectangle((x - arm, y - radius, x + arm, y + radius), fill=color)
    elif shape == "triangle":
        brush.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=color)
    elif shape == "ring":
        brush.ellipse(box, outline=color, width=7)
    else:
        for left in (x - radius, x - radius / 5, x + radius * 0.6):
            brush.rectangle((left, y - radius, left + radius * 0.4, y + radius), fill=color)
