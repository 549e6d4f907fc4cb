"""The stage ``merge``: candidates of all streams -> rankings of the merge, of pairs of streams and of each stream."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from genrec.contracts.results import checked_fit, checked_merge
from genrec.families import Merge
from genrec.merges.single import Single
from genrec.reporting.report import MethodKind
from genrec.types import Candidates, Ranking

Names = tuple[str, ...]


def needs_fitting(merge: Merge) -> bool:
    """Whether a merge has parameters to fit on validation users."""
    return type(merge).fit is not Merge.fit


def fit_merges(
    merge: Merge, streams: Mapping[str, object], found: Candidates | None, targets: np.ndarray
) -> dict[Names, Merge]:
    """The merge of all streams and, with three streams or more, of each pair; fitted if it has parameters to fit.

    Args:
        merge: merge of the recipe.
        streams: streams by name.
        found: candidates of the validation users; None if the merge has nothing to fit.
        targets: targets of the validation users, int (U,).

    Returns:
        Merges by the names of the merged streams; all streams first.
    """
    subsets: list[Names] = [tuple(streams)]
    if len(streams) > 2:
        subsets += [pair for pair in combinations(streams, 2) if set(merge.streams_used()) <= set(pair)]
    if found is None:
        return dict.fromkeys(subsets, merge)
    return {names: checked_fit(merge, found.of_streams(names), targets) for names in subsets}


def merge_streams(
    merges: Mapping[Names, Merge], found: Candidates, *, top_n: int
) -> dict[str, tuple[MethodKind, Ranking]]:
    """The rankings of the merge, of each pair of streams and of each stream alone.

    Args:
        merges: from :func:`fit_merges`.
        found: candidates of the users.
        top_n: length of the rankings.

    Raises:
        ContractError: the ranking of a merge is not valid.
    """
    rankings: dict[str, tuple[MethodKind, Ranking]] = {}
    for names, merge in merges.items():
        if names == found.streams:
            if len(names) > 1:
                rankings[f"merge: {merge.type_name}"] = "merge", checked_merge(merge, found, top_n=top_n)
        else:
            ranking = checked_merge(merge, found.of_streams(names), top_n=top_n)
            rankings[f"pair: {' + '.join(names)}"] = "pair", ranking
    for name in found.streams:
        rankings[f"stream: {name}"] = "stream", Single(stream=name).merge(found, top_n=top_n)
    return rankings
