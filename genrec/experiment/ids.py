"""The stage ``tokenize``: item vectors -> semantic IDs, in every stream."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from genrec.contracts.demands import Demands
from genrec.contracts.results import check_ids
from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit
from genrec.experiment.keys import Stage
from genrec.experiment.known_vectors import known_vectors
from genrec.experiment.storage import load_ids, save_ids
from genrec.model.contracts import StreamContext
from genrec.recipe.schema import Stream
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.absent_items import with_own_branch
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.types import ItemVectors, SemanticIds


def tokenize_items(fit: Fit, vectors: Mapping[str, ItemVectors], cache: Cache) -> dict[str, StreamContext]:
    """The semantic IDs of every stream, including its absent items, and the vectors that were tokenized.

    Args:
        fit: recipe, data and keys.
        vectors: from :func:`~genrec.experiment.vectors.encode_items`.
        cache: finished stages.

    Raises:
        ContractError: a tokenizer breaks its contract.
    """
    contexts = {}
    for name, stream in fit.recipe.streams.items():
        stage, known = Stage("ids", name, fit.keys.ids[name]), known_vectors(stream, name, vectors)
        context = fit.context("tokenizer", name)
        with cache.timer.measure(fit.part(f"codes of {name}")):
            ids = cache.get(
                stage,
                work=partial(_tokenize, stream, known, fit.dataset.catalog.keys, context),
                save=save_ids,
                load=load_ids,
                artifact=fit.artifact(f"streams/{name}/ids.safetensors"),
                like=fit.like(stage),
            )
        contexts[name] = StreamContext(ids, Trie.of(ids), known, vectors[name].present_I)
    return contexts


def _tokenize(stream: Stream, vectors: ItemVectors, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
    if stream.tokenizer is None:
        return item_numbers(vectors)
    tokenizer = stream.tokenizer
    demand = Demands(tokenizer)
    with demand.blaming():
        ids = tokenizer.fit(vectors, keys=keys, context=context)
        check_ids(ids, vectors, demand, reads_vectors=tokenizer.reads_vectors)
    return ids if stream.absent_items == "leave_out" else with_own_branch(ids)
