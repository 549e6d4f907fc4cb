"""The stage ``encode``: catalog and training histories -> item vectors of every stream."""

from __future__ import annotations

from functools import partial

from genrec.contracts.demands import Demands
from genrec.contracts.results import check_vectors
from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit
from genrec.experiment.keys import Stage
from genrec.experiment.storage import load_vectors, save_vectors
from genrec.families import ItemEncoder
from genrec.runtime.environment import WorkContext
from genrec.types import Catalog, Histories, ItemVectors


def encode_items(fit: Fit, cache: Cache) -> dict[str, ItemVectors]:
    """The item vectors of every stream; items that an encoder cannot encode are absent.

    Raises:
        DataError: weights or files are missing; checked for all streams before any work.
        ContractError: an encoder breaks its contract.
    """
    catalog, train, streams = fit.dataset.catalog, fit.dataset.train, fit.recipe.streams
    stages = {name: Stage("vectors", name, key) for name, key in fit.keys.vectors.items()}
    for name, stream in streams.items():
        if not cache.has(stages[name]):
            stream.item_encoder.prepare(catalog, context=fit.context("item encoder", name))
    vectors = {}
    for name, stream in streams.items():
        unfinished = cache.path("unfinished", stages[name].key)
        context = fit.context("item encoder", name, folder=unfinished)
        with cache.timer.measure(fit.part(f"vectors of {name}")):
            vectors[name] = cache.get(
                stages[name],
                work=partial(_encode, stream.item_encoder, catalog, train, context),
                save=save_vectors,
                load=load_vectors,
                artifact=fit.artifact(f"streams/{name}/vectors.safetensors"),
                like=fit.like(stages[name]),
                scratch=unfinished,
            )
    return vectors


def _encode(encoder: ItemEncoder, catalog: Catalog, train: Histories, context: WorkContext) -> ItemVectors:
    demand = Demands(encoder)
    with demand.blaming():
        vectors = encoder.encode(catalog, train, context=context)
        check_vectors(vectors, len(catalog), demand)
    return vectors
