"""The model of a catalog with new items: trained weights, and rows of new items and nodes from similar known ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from genrec.errors import ContractError
from genrec.experiment.untrained_model import untrained_model
from genrec.growth.streams import Guide, similar_items
from genrec.model.contracts import StreamContext
from genrec.model.growth import Growth, NewNodes
from genrec.model.retriever import Retriever
from genrec.model.weights import load_weights, weights_of
from genrec.recipe.schema import Recipe

NUM_SOURCES = 3
"""Known items whose rows are averaged to that of a new item."""


def grow_model(
    recipe: Recipe,
    model: Retriever,
    known: Mapping[str, StreamContext],
    grown: Mapping[str, StreamContext],
    guides: list[Guide],
) -> Retriever:
    """The model with rows for new items and nodes; nothing is trained.

    The row of a new item (item table, items of ``dense``) is the mean of those of the three most similar known items,
    the row of a new node of a ``path`` vocabulary that of the node of the most similar item, below the same parent if
    there is one. Scores of known items do not change. Their log-probabilities do where a softmax gets more children:
    under ``path`` and ``dense``, by the same amount for all children of a node; under ``level`` they do not.

    Args:
        recipe: recipe of the run.
        model: trained.
        known: the streams that it was trained with, or was last grown to.
        grown: the streams with the new items.
        guides: streams that encoded new items.

    Returns:
        A model on the same device, in eval mode.

    Raises:
        ContractError: a module has a tensor of another shape for the grown catalog, and does not say how it grows.
    """
    num_items = model.num_items + _num_new(known, grown)
    larger = untrained_model(recipe, grown, num_items)
    try:
        weights = model.grown_weights(growth_of(recipe, model.num_items, known, grown, guides))
    except ValueError as error:
        raise ContractError(f"new items cannot be added: {error}") from error
    own, buffers = weights_of(larger), dict(larger.named_buffers())
    for name, tensor in own.items():
        is_given = name in buffers and not tensor.numel()  # an empty buffer takes any shape
        if not is_given and name in weights and weights[name].shape != tensor.shape:
            raise ContractError(
                f"new items cannot be added: {name} has the shape {tuple(weights[name].shape)}, expected "
                f"{tuple(tensor.shape)} for {num_items:,} items; grown_tensors() of its module has to return it with "
                "rows for the new items or nodes"
            )
    load_weights(larger, weights)
    return larger.to(next(model.parameters()).device).eval()


def growth_of(
    recipe: Recipe,
    num_known: int,
    known: Mapping[str, StreamContext],
    grown: Mapping[str, StreamContext],
    guides: list[Guide],
) -> Growth:
    """From which known rows those of new items and nodes are made; arguments as in :func:`grow_model`."""
    num_new = _num_new(known, grown)
    sources_JN, _ = similar_items(guides, np.ones(num_known, dtype=bool), count=NUM_SOURCES)
    if not guides:
        sources_JN = np.full((num_new, NUM_SOURCES), -1, dtype=np.int64)
    nodes = {}
    for name, stream in recipe.streams.items():
        if stream.tokenizer is None:
            nodes[name] = [_new_leaves(known[name], grown[name], guides)]
        else:
            nodes[name] = _new_nodes(known[name], grown[name], guides)
    return Growth(num_known, torch.from_numpy(sources_JN), nodes)


def _num_new(known: Mapping[str, StreamContext], grown: Mapping[str, StreamContext]) -> int:
    name = next(iter(known))
    return len(grown[name].ids.codes_IL) - len(known[name].ids.codes_IL)


def _new_leaves(known: StreamContext, grown: StreamContext, guides: list[Guide]) -> NewNodes:
    """The items of a stream without codes."""
    num_known = len(known.ids.codes_IL)
    items_P = grown.trie.item_of_leaf[grown.trie.item_of_leaf >= num_known]
    sources_JN, _ = similar_items(guides, known.ids.present_I, count=NUM_SOURCES)
    leaf_I = known.trie.nodes_IL[:, 0]
    sources_PN = np.full((len(items_P), NUM_SOURCES), -1, dtype=np.int64)
    if guides:
        sources_PN = np.where(sources_JN < 0, -1, leaf_I[sources_JN])[items_P - num_known]
    return NewNodes(_known_nodes(known, grown, 0), torch.from_numpy(sources_PN))


def _known_nodes(known: StreamContext, grown: StreamContext, level: int) -> torch.Tensor:
    """The former number of each node of a level of the grown trie, -1 where it is new."""
    numbers_M = np.full(grown.trie.num_nodes(level + 1), -1, dtype=np.int64)
    items = np.flatnonzero(known.ids.present_I)
    numbers_M[grown.trie.nodes_IL[items, level]] = known.trie.nodes_IL[items, level]
    return torch.from_numpy(numbers_M)


def _new_nodes(known: StreamContext, grown: StreamContext, guides: Sequence[Guide]) -> list[NewNodes]:
    """The nodes of each depth of a tree of codes."""
    num_known, num_all = len(known.ids.codes_IL), len(grown.ids.codes_IL)
    vectors_IE, has_vector_I = grown.vectors.vectors_IE, grown.vectors.present_I
    if not vectors_IE.shape[1] and guides:
        vectors_IE = np.concatenate([guides[0].known.vectors_IE, guides[0].new.vectors_IE])
        has_vector_I = np.concatenate([guides[0].known.present_I, guides[0].new.present_I])
    usable_K = np.flatnonzero(known.ids.present_I & has_vector_I[:num_known])
    new_R = np.flatnonzero(grown.ids.present_I[num_known:num_all]) + num_known
    levels = []
    for level in range(known.trie.num_levels):
        numbers_M = _known_nodes(known, grown, level)
        of_item_I = grown.trie.nodes_IL[:, level]
        nodes_P, first = np.unique(of_item_I[new_R], return_index=True)
        is_new_P = numbers_M.numpy()[nodes_P] < 0
        sources = []
        for item in new_R[first[is_new_P]]:
            siblings_K = usable_K
            if level:
                siblings_K = usable_K[grown.trie.nodes_IL[usable_K, level - 1] == grown.trie.nodes_IL[item, level - 1]]
            nearest = _nearest(vectors_IE, item, siblings_K if len(siblings_K) else usable_K)
            sources.append(-1 if nearest < 0 else known.trie.nodes_IL[nearest, level])
        levels.append(NewNodes(numbers_M, torch.tensor(sources, dtype=torch.int64)[:, None]))
    return levels


def _nearest(vectors_IE: np.ndarray, item: int, among_K: np.ndarray) -> int:
    """The item among some that is nearest to one (squared Euclidean distance); -1 if there are none."""
    if not len(among_K):
        return -1
    return int(among_K[np.square(vectors_IE[among_K] - vectors_IE[item]).sum(axis=1).argmin()])
