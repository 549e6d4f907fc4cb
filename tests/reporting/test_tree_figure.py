"""The figure of a tree: widths, counts and tooltips against a tree that is known."""

import re
from html import unescape

import numpy as np

from genrec.reporting.tree_figure import largest_nodes, most_bought, tree_figure
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, SemanticIds

CODES_IL = np.array(
    [[0, 0, 0], [0, 0, 1], [0, 1, 0], [2, 0, 0], [2, 1, 0], [2, 1, 1], [2, 1, 2], [2, 2, 0], [ABSENT] * 3], np.int32
)
NAMES = [f"item {item}" for item in range(9)]
PURCHASES_I = np.array([1, 5, 3, 0, 0, 0, 0, 0, 7])


def trie_of(codes_IL):
    present = codes_IL[codes_IL[:, 0] != ABSENT]
    return Trie.of(SemanticIds(codes_IL, tuple(int(size) + 1 for size in present.max(axis=0))))


def boxes_of(figure):
    """x, y, width and tooltip of every rectangle."""
    found = re.findall(r'<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)".*?<title>(.*?)</title>', figure)
    return [(float(x), int(y), float(width), unescape(title)) for x, y, width, title in found]


def test_nodes_are_as_wide_as_their_items_and_stand_below_their_parents():
    boxes = boxes_of(tree_figure(trie_of(CODES_IL), NAMES, PURCHASES_I, title="text"))
    by_level = {y: [box for box in boxes if box[1] == y] for y in sorted({box[1] for box in boxes})}
    assert [len(row) for row in by_level.values()] == [1, 2, 5, 8]
    for row in by_level.values():
        assert abs(sum(width for _, _, width, _ in row) - 916) < 0.5
        ends = [x + width for x, _, width, _ in row]
        assert all(abs(end - x) < 0.2 for end, (x, _, _, _) in zip(ends, row[1:], strict=False))
    assert [width for _, _, width, _ in by_level[48]] == [343.5, 572.5]  # 3 and 5 of 8 items
    assert by_level[48][0][3] == "code 0: 3 items, bought 9 times. Most bought: item 1; item 2; item 0"
    assert by_level[96][3][3] == "codes 2, 1: 3 items, bought 0 times. Most bought: item 4; item 5; item 6"


def test_narrow_neighbors_are_drawn_together_and_levels_without_a_wide_node_are_not_drawn():
    codes_IL = np.stack([np.concatenate([np.zeros(5000), np.arange(1, 5001)]), np.arange(10_000)], axis=1)
    names, purchases_I = [f"item {item}" for item in range(10_000)], np.ones(10_000, dtype=np.int64)
    figure = tree_figure(trie_of(codes_IL.astype(np.int32)), names, purchases_I, title="text")
    first, second, third = boxes_of(figure)
    assert [second[2], third[2]] == [458.0, 458.0]
    assert third[3].startswith("5,000 nodes: 5,000 items, bought 5,000 times. Most bought: item 5000; ")
    assert first[3].startswith("all codes: 10,000 items")
    assert "Not drawn: level 2: 10,000 nodes." in figure


def test_items_that_are_bought_more_often_have_a_stronger_color():
    figure = tree_figure(trie_of(CODES_IL), NAMES, PURCHASES_I, title="text")
    strengths = dict(
        zip((box[3] for box in boxes_of(figure)), re.findall(r'fill-opacity="([\d.]+)"', figure), strict=True)
    )
    of_item = {title[-6:]: float(strength) for title, strength in strengths.items() if "1 item," in title}
    assert of_item["item 1"] == 0.6
    assert of_item["item 3"] == 0.1
    assert of_item["item 3"] < of_item["item 0"] < of_item["item 1"]


def test_many_trees_share_the_space():
    rng = np.random.default_rng(0)
    codes_IL = np.unique(rng.integers(0, 20, (60_000, 3)), axis=0).astype(np.int32)
    names, purchases_I = ["x"] * len(codes_IL), np.ones(len(codes_IL), dtype=np.int64)
    one, of_many = (
        len(boxes_of(tree_figure(trie_of(codes_IL), names, purchases_I, title="a", num_trees=number)))
        for number in (1, 20)
    )
    assert one == 1 + 20 + 400
    assert of_many == 1 + 20


def test_largest_nodes_come_first():
    trie = trie_of(CODES_IL)
    nodes = largest_nodes(trie, 5)
    assert [(node.codes, node.num_items) for node in nodes] == [((2,), 5), ((0,), 3)]
    assert most_bought(trie, nodes[1], NAMES, PURCHASES_I) == (["item 1", "item 2", "item 0"], 9)
    assert most_bought(trie, nodes[0], ["long " * 50] * 9, PURCHASES_I)[0][0] == ("long " * 12)[:59] + "…"
