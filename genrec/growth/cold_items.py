"""Cold items: those that were held out are added after training, and their users' lists are evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from genrec.errors import DataError, PluginError
from genrec.experiment.cache import Cache
from genrec.experiment.cold_items import some_items
from genrec.experiment.fit import Fit
from genrec.experiment.rankings import merge_streams
from genrec.families import Merge
from genrec.growth.grow import Grown, encode_new_items, grow
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.reporting.report import ColdItems, MethodKind, Metrics, evaluate, metrics_of
from genrec.search.streams import search_streams
from genrec.types import ABSENT, Catalog, Dataset, Histories, ItemVectors, Ranking, Split


def evaluate_cold_items(
    fit: Fit,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    model: Retriever,
    merges: Mapping[tuple[str, ...], Merge],
    cache: Cache,
) -> ColdItems | None:
    """Add the held-out items of a dataset as new items, and evaluate the users whose last item is one of them.

    Args:
        fit: the fit that evaluates test users.
        vectors: item vectors of its streams, as encoded.
        streams: its streams.
        model: its model.
        merges: the fitted merges.
        cache: has the time of each stage.

    Returns:
        Metrics of the merge, the streams, popularity and random among all items and among the held-out ones; None if
        none were held out.
    """
    if fit.dataset.whole is None:
        return None
    with cache.timer.measure("cold items"):
        return _measured(fit, fit.dataset, fit.dataset.whole, vectors, streams, model, merges)


def _measured(
    fit: Fit,
    warm: Dataset,
    whole: Dataset,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    model: Retriever,
    merges: Mapping[tuple[str, ...], Merge],
) -> ColdItems:
    warm_keys = set(warm.catalog.keys)
    is_warm_I = np.array([key in warm_keys for key in whole.catalog.keys], dtype=bool)
    cold_C = np.flatnonzero(~is_warm_I)
    number_I = np.empty(whole.num_items, dtype=np.int64)  # items of the whole dataset -> of the grown catalog
    number_I[is_warm_I], number_I[cold_C] = np.arange(warm.num_items), warm.num_items + np.arange(len(cold_C))
    users = _users(whole, is_warm_I, number_I)
    result = ColdItems(len(cold_C), whole.num_items, len(users), {}, {}, {})
    if not len(users):
        return _without(result, "no user with three items or more has a held-out item as the last one")
    new = some_items(whole.catalog, cold_C)

    def read_catalog() -> Catalog:
        return warm.catalog

    try:
        encoded = encode_new_items(fit.recipe, vectors, new, read_catalog, fit.environment)
        grown = grow(fit.recipe, vectors, streams, model, encoded, len(new))
    except (DataError, PluginError) as error:  # the training took long; its results are not lost
        return _without(result, str(error))
    counts_I = np.bincount(warm.train.items, minlength=whole.num_items)
    among_all, among_cold = (
        _evaluate(fit, grown, merges, users, counts_I, allowed_I)
        for allowed_I in (None, np.arange(whole.num_items) >= warm.num_items)
    )
    codes = {name: dict(Counter(stream.how_J)) for name, stream in grown.streams.items()}
    return ColdItems(len(cold_C), whole.num_items, len(users), among_all, among_cold, codes)


def _without(result: ColdItems, problem: str) -> ColdItems:
    return ColdItems(result.items, result.all_items, result.users, {}, {}, {}, problem)


def _users(whole: Dataset, is_warm_I: np.ndarray, number_I: np.ndarray) -> Split:
    """The test users whose target is cold, with items by their numbers in the grown catalog."""
    test = whole.test
    users = test.take(np.flatnonzero(~is_warm_I[test.targets]))
    histories = Histories(number_I[users.histories.items].astype(np.int32), users.histories.offsets)
    return Split(users.users, histories, number_I[users.targets])


def _evaluate(
    fit: Fit,
    grown: Grown,
    merges: Mapping[tuple[str, ...], Merge],
    users: Split,
    counts_I: np.ndarray,
    allowed_I: np.ndarray | None,
) -> dict[str, Metrics]:
    """The metrics of each method among the allowed items; None: all."""
    recipe, contexts = fit.recipe, grown.contexts()
    top_n, seen = max(recipe.evaluation.cutoffs), recipe.evaluation.seen_items
    found = search_streams(
        grown.model,
        {name: context.trie for name, context in contexts.items()},
        users.histories,
        recipe.search,
        num_items=len(counts_I),
        max_history=recipe.max_history,
        with_scores=recipe.merge.needs_scores,
        seen=seen,
        allowed_I=allowed_I,
        title="searching cold items",
    )
    names = tuple(contexts)
    rankings = merge_streams({names: merges[names]}, found, top_n=top_n)
    candidates_C = np.arange(len(counts_I)) if allowed_I is None else np.flatnonzero(allowed_I)
    popular_C = candidates_C[np.argsort(-counts_I[candidates_C], kind="stable")]
    generator = np.random.default_rng(fit.seed("cold items", "random"))
    baseline: MethodKind = "baseline"
    excluded = users.histories if seen == "filter" else None
    rankings["popularity"] = baseline, _ranking(lambda: popular_C, len(users), excluded, top_n)
    rankings["random"] = baseline, _ranking(lambda: generator.permutation(candidates_C), len(users), excluded, top_n)
    return metrics_of(evaluate(rankings, users, recipe.evaluation, recipe.seed))


def _ranking(order: Callable[[], np.ndarray], num_users: int, excluded: Histories | None, top_n: int) -> Ranking:
    """The first items of an order for each user, without those of the user's history if it is given."""
    items_UN = np.full((num_users, top_n), ABSENT, dtype=np.int64)
    for user in range(num_users):
        listed = order()
        if excluded is not None:
            listed = listed[: top_n + len(excluded[user])]
            listed = listed[~np.isin(listed, excluded[user])]
        listed = listed[:top_n]
        items_UN[user, : len(listed)] = listed
    return Ranking(items_UN, np.where(items_UN == ABSENT, -np.inf, -np.arange(top_n)).astype(np.float32))
