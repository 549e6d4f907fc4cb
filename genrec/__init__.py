"""genrec: generative retrieval for recommender systems, with any number of streams.

    run = genrec.run("recipes/quickstart.yaml")
    run.metrics.to_pandas()
    run.recommender().recommend(["item-1", "item-2"]).to_pandas()

Public names are imported on first use: ``import genrec`` imports neither torch nor plugins.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genrec.version import __version__

if TYPE_CHECKING:
    from genrec.api.auditing import audit
    from genrec.api.comparisons import ComparisonResult, compare
    from genrec.api.exporting import export
    from genrec.api.growing import add_items
    from genrec.api.inputs import load_recipe
    from genrec.api.runs import Run, list_runs, load_run, run
    from genrec.api.tokenizing import Tokenized, tokenize
    from genrec.dataset_audit.audit import Audit
    from genrec.errors import DataError, GenrecError, PluginError, RecipeError, TrainingError
    from genrec.recipe.schema import Recipe
    from genrec.reporting.report import Report
    from genrec.reporting.tables import Table
    from genrec.runtime.progress import set_verbosity
    from genrec.serving.recommender import Recommendations, Recommender
    from genrec.types import (
        Candidates,
        Catalog,
        Dataset,
        Histories,
        ItemVectors,
        Ranking,
        SemanticIds,
        Split,
        StreamCandidates,
    )

__all__ = [
    "Audit",
    "Candidates",
    "Catalog",
    "ComparisonResult",
    "DataError",
    "Dataset",
    "GenrecError",
    "Histories",
    "ItemVectors",
    "PluginError",
    "Ranking",
    "Recipe",
    "RecipeError",
    "Recommendations",
    "Recommender",
    "Report",
    "Run",
    "SemanticIds",
    "Split",
    "StreamCandidates",
    "Table",
    "Tokenized",
    "TrainingError",
    "__version__",
    "add_items",
    "audit",
    "compare",
    "export",
    "list_runs",
    "load_recipe",
    "load_run",
    "run",
    "set_verbosity",
    "tokenize",
]

_NAMES = {
    "genrec.api.auditing": ("audit",),
    "genrec.api.comparisons": ("compare", "ComparisonResult"),
    "genrec.api.growing": ("add_items",),
    "genrec.api.exporting": ("export",),
    "genrec.api.inputs": ("load_recipe",),
    "genrec.api.runs": ("run", "load_run", "list_runs", "Run"),
    "genrec.api.tokenizing": ("tokenize", "Tokenized"),
    "genrec.dataset_audit.audit": ("Audit",),
    "genrec.errors": ("DataError", "GenrecError", "PluginError", "RecipeError", "TrainingError"),
    "genrec.recipe.schema": ("Recipe",),
    "genrec.reporting.report": ("Report",),
    "genrec.reporting.tables": ("Table",),
    "genrec.runtime.progress": ("set_verbosity",),
    "genrec.serving.recommender": ("Recommender", "Recommendations"),
    "genrec.types": (
        *("Candidates", "Catalog", "Dataset", "Histories", "ItemVectors", "Ranking", "SemanticIds", "Split"),
        "StreamCandidates",
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
"""Public name -> its module."""


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'genrec' has no attribute {name!r}")
