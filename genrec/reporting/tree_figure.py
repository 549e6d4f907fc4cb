"""A prefix tree as a figure: the first levels from top to bottom, nodes as wide as their share of the items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from genrec.reporting.html_figures import wide_figure
from genrec.reporting.plots import text_width
from genrec.reporting.texts import clipped, count_text, plain
from genrec.semantic_ids.trie import Trie

_MARGIN, _WIDTH, _ROW, _GAP = 84, 916, 44, 4
"""Space for the names of the levels at the left, width of the root, height of a level and space below it."""
_MOST_LEVELS = 3
"""Maximum number of levels that are drawn."""
_NARROWEST = 1.5
"""Narrower nodes are drawn together with their neighbors."""
_MOST_NODES = 6000
"""Approximate maximum number of nodes that are drawn on a page."""
_EM, _FONT = 0.62, 11
"""Upper bound of the width of a letter as a share of the font size, and the font size."""
_NUM_NAMED, _LONGEST = 3, 60
"""Number of items that a node names, and the maximum length of a name."""


@dataclass(frozen=True)
class Node:
    """A node of the tree, or several neighbors that are too narrow to be drawn alone."""

    codes: tuple[int, ...]
    """That lead to it, or to the parent of several nodes."""
    number: int
    """Number of the node at its depth; of the first one of several."""
    start: int
    """Its leaves are start:end, in the order of ``Trie.item_of_leaf``."""
    end: int
    count: int = 1
    """Number of nodes."""
    is_wide: bool = True
    """Whether it is drawn alone."""

    @property
    def num_items(self) -> int:
        return self.end - self.start


def tree_figure(
    trie: Trie, item_names: Sequence[str], purchases_I: np.ndarray, *, title: str, num_trees: int = 1
) -> str:
    """The first levels of a tree, as HTML. Colors are variables of the page.

    A level without a node of a visible width ends the drawing.

    Args:
        trie: the tree.
        item_names: name of each item, for tooltips.
        purchases_I: how often each item is bought, int64 (I,).
        title: of the tree.
        num_trees: number of trees on the page, which limits the details of each.
    """
    num_items = len(trie.item_of_leaf)
    narrowest = max(_NARROWEST, _MOST_LEVELS * _WIDTH * num_trees / _MOST_NODES) * num_items / _WIDTH
    levels = [[Node((), 0, 0, num_items)], *_levels(trie, narrowest)]
    average = max(float(purchases_I[trie.item_of_leaf].mean()), 1e-9)
    parts = []
    for depth, nodes in enumerate(levels):
        top = depth * (_ROW + _GAP)
        parts.append(_text(0, top + 18, f"level {depth}" if depth else "root"))
        parts.append(_text(0, top + 33, count_text(trie.num_nodes(depth), "node") if depth else "", "muted"))
        for node in nodes:
            names, bought = most_bought(trie, node, item_names, purchases_I)
            opacity = 0.1 + 0.5 * _warmth(bought / node.num_items / average)
            parts.append(_drawn(node, num_items, top, opacity, _described(node, names, bought)))
    width, height = _MARGIN + _WIDTH, len(levels) * (_ROW + _GAP)
    sizes = [f"level {depth + 1}: {count_text(trie.num_nodes(depth + 1), 'node')}" for depth in range(trie.num_levels)]
    described = escape(plain(f"Tree of {title}. {', '.join(sizes)}"))
    plot = (
        f'<svg class="plot tree" role="img" aria-label="{described}" '
        f'viewBox="0 0 {width} {height}" style="--natural: {width}px" font-size="{_FONT}">{"".join(parts)}</svg>'
    )
    missing = sizes[len(levels) - 1 :]
    caption = (
        "The tree of codes. The width of a node is its number of items; point at a node to see its most bought items. "
        "Stronger color: items bought more often than average. Gray: nodes too narrow to be drawn alone."
    )
    if missing:
        caption += f" Not drawn: {', '.join(missing)}."
    return wide_figure(caption, [], plot, label=f"Tree of {title}")


def largest_nodes(trie: Trie, count: int) -> list[Node]:
    """The nodes of the first level with the most items; equal ones in the order of their codes."""
    ends = np.cumsum(trie.leaf_counts[0])
    order = np.argsort(-trie.leaf_counts[0], kind="stable")[:count]
    return [
        Node((int(trie.codes[0][node]),), int(node), int(ends[node] - trie.leaf_counts[0][node]), int(ends[node]))
        for node in order
    ]


def most_bought(trie: Trie, node: Node, item_names: Sequence[str], purchases_I: np.ndarray) -> tuple[list[str], int]:
    """The names of the most bought items of a node, and how often all its items are bought."""
    items = trie.item_of_leaf[node.start : node.end]
    first = items[np.argsort(-purchases_I[items], kind="stable")[:_NUM_NAMED]]
    names = [clipped(plain(item_names[int(item)]), _LONGEST) for item in first]
    return names, int(purchases_I[items].sum())


def _levels(trie: Trie, narrowest: float) -> Iterator[list[Node]]:
    """The nodes of each level that is drawn, from the first level.

    Args:
        trie: the tree.
        narrowest: minimum number of items of a node that is drawn alone.
    """
    parents = [Node((), 0, 0, len(trie.item_of_leaf))]
    for level in range(min(trie.num_levels, _MOST_LEVELS)):
        ends = np.cumsum(trie.leaf_counts[level])
        nodes = [node for parent in parents for node in _children(trie, level, parent, ends, narrowest)]
        parents = [node for node in nodes if node.is_wide]
        if level > 0 and not parents:
            return
        yield nodes


def _children(trie: Trie, level: int, parent: Node, ends: np.ndarray, narrowest: float) -> Iterator[Node]:
    """The children of a node; neighbors that are too narrow are one."""
    first, last = trie.child_start[level][parent.number : parent.number + 2].tolist()
    start, waiting = parent.start, 0
    for child in range(first, last):
        begin = int(ends[child] - trie.leaf_counts[level][child])
        end = int(ends[child])
        if end - begin < narrowest:
            waiting += 1
            continue
        if waiting:
            yield Node(parent.codes, child - waiting, start, begin, waiting, is_wide=False)
        yield Node((*parent.codes, int(trie.codes[level][child])), child, begin, end)
        start, waiting = end, 0
    if waiting:
        yield Node(parent.codes, last - waiting, start, parent.end, waiting, is_wide=False)


def _warmth(ratio: float) -> float:
    """How often items are bought, relative to the average: 0 for a quarter or less, 1 for four times or more."""
    return float(np.clip(0.5 + np.log2(max(ratio, 1e-9)) / 4, 0.0, 1.0))


def _described(node: Node, names: Sequence[str], bought: int) -> str:
    codes = ", ".join(map(str, node.codes))
    if node.is_wide:
        what = f"code{'s' * (len(node.codes) > 1)} {codes}" if codes else "all codes"
    else:
        what = f"{count_text(node.count, 'node')}{f' after {codes}' * bool(codes)}"
    return f"{what}: {count_text(node.num_items, 'item')}, bought {bought:,} times. Most bought: {'; '.join(names)}"


def _drawn(node: Node, num_items: int, top: int, opacity: float, described: str) -> str:
    """A node as a rectangle with a tooltip, and its code and number of items if they fit in."""
    x, width = _MARGIN + _WIDTH * node.start / num_items, _WIDTH * node.num_items / num_items
    fill = f'fill="var(--c0)" fill-opacity="{opacity:.2f}"' if node.is_wide else 'fill="var(--line)"'
    box = (
        f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_ROW}" {fill}>'
        f"<title>{escape(described)}</title></rect>"
    )
    if not node.is_wide:
        return box
    labels = (str(node.codes[-1]) if node.codes else "all items", f"{node.num_items:,}")
    if max(map(text_width, labels)) * _EM * _FONT + 4 > width:
        return box
    return box + "".join(
        _text(x + width / 2, top + below, label, anchor="middle") for label, below in zip(labels, (18, 33), strict=True)
    )


def _text(x: float, y: float, text: str, color: str = "ink", *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="var(--{color})" text-anchor="{anchor}">{escape(text)}</text>' * bool(
        text
    )
