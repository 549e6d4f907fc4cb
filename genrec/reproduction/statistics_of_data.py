"""The statistics study: users, items, interactions and density of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genrec.types import Dataset


def data_row(dataset: Dataset, label: str) -> dict[str, Any]:
    """The one row of the table."""
    users, items, interactions = len(dataset.histories), dataset.num_items, len(dataset.histories.items)
    counts: Mapping[str, float] = {
        "users": users,
        "items": items,
        "interactions": interactions,
        "density": interactions / (users * items),
    }
    return {
        "name": "data",
        "label": label,
        "status": "finished",
        "figures": {name: {"mean": count} for name, count in counts.items()},
    }
