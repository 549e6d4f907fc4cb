"""Every stream's log-probability of every candidate, for merges that declare ``needs_scores``."""

import numpy as np

from genrec.errors import DataError
from genrec.types import ABSENT, Candidates


def exact_log_probs(candidates: Candidates, merge: str) -> np.ndarray:
    """log_probs_BCS as float64, -inf where an item has no code in a stream and where there is no item.

    Args:
        candidates: of a search with scores.
        merge: name of the merge, for the error message.

    Raises:
        DataError: the candidates were searched without every stream's scores.
    """
    is_item_BC = candidates.items_BC != ABSENT
    if np.isnan(candidates.log_probs_BCS[is_item_BC]).any():
        raise DataError(
            f"merge {merge}: some candidates lack the log-probability of a stream that did not propose them; "
            "expected every stream's score of every candidate: search again with a merge that needs scores"
        )
    return np.where(is_item_BC[:, :, None], candidates.log_probs_BCS, -np.inf).astype(np.float64)
