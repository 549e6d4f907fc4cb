"""genrec: generative retrieval for recommender systems, with any number of streams.

Public names are loaded on first use, so that ``import genrec`` imports neither torch nor a plugin.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Candidates": "genrec.types",
    "Catalog": "genrec.types",
    "Dataset": "genrec.types",
    "Histories": "genrec.types",
    "ItemVectors": "genrec.types",
    "Ranking": "genrec.types",
    "SemanticIds": "genrec.types",
    "Split": "genrec.types",
    "StreamCandidates": "genrec.types",
    "DataError": "genrec.errors",
    "GenrecError": "genrec.errors",
    "PluginError": "genrec.errors",
    "RecipeError": "genrec.errors",
    "TrainingError": "genrec.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'genrec' has no attribute {name!r}")
