"""genrec: generative retrieval for recommender systems, with any number of streams.

Public names are imported on first use: ``import genrec`` imports neither torch nor plugins.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_MODULES = {
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

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'genrec' has no attribute {name!r}")
