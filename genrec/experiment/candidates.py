"""The stage ``search``: a model and the users of a split -> candidates of every stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit
from genrec.experiment.keys import SplitName, Stage
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.search.candidates import load_candidates, save_candidates
from genrec.search.streams import log_expanded, search_streams
from genrec.types import Candidates


def search_users(
    fit: Fit,
    model: Retriever,
    streams: Mapping[str, StreamContext],
    split: SplitName,
    cache: Cache,
    *,
    scores: bool,
) -> Candidates:
    """The candidates of every stream for the users of a split.

    Args:
        fit: the fit of the model.
        model: in any mode.
        streams: from :func:`~genrec.experiment.ids.tokenize_items`.
        split: the users.
        cache: finished stages.
        scores: whether every stream scores every candidate (``Merge.needs_scores``).
    """
    if (found := find_candidates(fit, split, cache, scores=scores)) is not None:
        return found
    work = partial(
        search_streams,
        model,
        {name: context.trie for name, context in streams.items()},
        fit.users(split).histories,
        fit.recipe.search,
        num_items=fit.dataset.num_items,
        max_history=fit.recipe.max_history,
        with_scores=scores,
        seen=fit.recipe.evaluation.seen_items,
        title=f"searching {split}",
        on_expanded=log_expanded if fit.recipe.search.method == "bound" else None,
    )
    return _get(fit, split, cache, Stage("candidates", split, fit.candidates_key(split, scores=scores)), work)


def find_candidates(fit: Fit, split: SplitName, cache: Cache, *, scores: bool) -> Candidates | None:
    """The cached candidates of a split, or None; candidates with all scores serve both cases."""
    for with_scores in dict.fromkeys([True, scores]):
        stage = Stage("candidates", split, fit.candidates_key(split, scores=with_scores))
        if cache.has(stage):
            found = _get(fit, split, cache, stage, work=_never)
            return found if scores or not with_scores else found.without_scores()
    return None


def _get(fit: Fit, split: SplitName, cache: Cache, stage: Stage, work: Callable[[], Candidates]) -> Candidates:
    with cache.timer.measure(fit.part(f"search {split}")):
        return cache.get(
            stage,
            work=work,
            save=save_candidates,
            load=load_candidates,
            artifact=fit.artifact(f"candidates/{split}.safetensors"),
            like=fit.like(stage),
        )


def _never() -> Candidates:
    raise AssertionError("the stage is finished")
