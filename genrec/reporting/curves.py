"""The training curve as a self-contained SVG: the parts of the loss on the left, validation NDCG@10 on the right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from genrec.training.log import EpochRecord

Points = list[tuple[float, float]]
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
"""Okabe and Ito's palette, distinguishable for color-blind readers."""
_WIDTH, _HEIGHT, _LEFT, _TOP = 340, 200, 60, 36
_PANEL = _WIDTH + _LEFT + 20


def curves_svg(curve: Sequence[EpochRecord]) -> str:
    """Two panels over the epochs; values that are not finite are left out."""
    parts = list(dict.fromkeys(part for epoch in curve for part in epoch.losses))
    losses = {part: _points((epoch.epoch, epoch.losses.get(part)) for epoch in curve) for part in parts}
    validation = {"validation NDCG@10": _points((epoch.epoch, epoch.validation) for epoch in curve)}
    height = _TOP + _HEIGHT + 40 + 16 * max(len(parts), 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * _PANEL}" height="{height}" '
        f'viewBox="0 0 {2 * _PANEL} {height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f"{_panel('loss', losses, 0)}{_panel('validation NDCG@10', validation, _PANEL)}</svg>\n"
    )


def _points(pairs: Iterable[tuple[int, float | None]]) -> Points:
    return [(float(x), float(y)) for x, y in pairs if y is not None and math.isfinite(y)]


def _panel(title: str, lines: Mapping[str, Points], shift: int) -> str:
    xs = [x for points in lines.values() for x, _ in points] or [0.0]
    ys = [y for points in lines.values() for _, y in points] or [0.0]
    x_low, x_high, y_low, y_high = min(xs), max(xs), min(ys), max(ys)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + _WIDTH * (x - x_low) / ((x_high - x_low) or 1.0),
            _TOP + _HEIGHT * (1.0 - (y - y_low) / ((y_high - y_low) or 1.0)),
        )

    out = [f'<g transform="translate({shift} 0)">', f'<text x="{_LEFT}" y="20" font-size="13">{escape(title)}</text>']
    for step in range(5):
        y = y_low + (y_high - y_low) * step / 4
        _, v = at(x_low, y)
        out.append(f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{v:.1f}" y2="{v:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{v + 4:.1f}" text-anchor="end">{y:.4g}</text>')
    for x in dict.fromkeys((x_low, x_high)):
        out.append(f'<text x="{at(x, y_low)[0]:.1f}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">{x:g}</text>')
    for number, (name, points) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        out += ['<circle cx="{:.1f}" cy="{:.1f}" r="2" fill="{}"/>'.format(*at(*point), color) for point in points]
        v = _TOP + _HEIGHT + 34 + 16 * number
        out.append(f'<rect x="{_LEFT}" y="{v - 8}" width="12" height="8" fill="{color}"/>')
        out.append(f'<text x="{_LEFT + 18}" y="{v}">{escape(name)}</text>')
    return "\n".join([*out, "</g>\n"])
