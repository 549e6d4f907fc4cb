"""Recipe, streams and model of a finished run, from the files of its folder; without training code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genrec.errors import DataError
from genrec.experiment.known_vectors import known_vectors
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.storage import load_ids, load_vectors
from genrec.experiment.untrained_model import untrained_model
from genrec.families import merges
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.model.weights import load_tensors, load_weights
from genrec.recipe.loading import load_recipe_of_run
from genrec.recipe.schema import Recipe
from genrec.runtime.checksums import parsing, verify
from genrec.semantic_ids.trie import Trie


def recipe_of_run(folder: RunFolder) -> Recipe:
    """The recipe of a finished run as it was run, with its merge as it was fitted.

    Raises:
        DataError: a file of the run is missing or damaged.
        RecipeError: the recipe names a plugin that is not in ``plugins/`` of the working folder.
    """
    file = folder.path / "recipe.yaml"
    if not file.is_file():
        raise DataError(f"{file}: missing; the run is not complete")
    recipe = load_recipe_of_run(file)
    fitted = folder.read_json("merge.json")
    with parsing(folder.path / "merge.json", "the settings of a merge"):
        merge = merges.get(fitted["type"])(**{key: value for key, value in fitted.items() if key != "type"})
    return recipe.model_copy(update={"merge": merge})


def load_streams(recipe: Recipe, path: Path) -> dict[str, StreamContext]:
    """Semantic IDs and vectors of the streams of a finished run, from the files of the run only.

    Args:
        recipe: recipe of the run.
        path: folder of the run.

    Raises:
        DataError: a file is missing.
    """
    files = {name: path / "streams" / name for name in recipe.streams}
    vectors, ids, streams = {}, {}, {}
    for name, folder in files.items():
        with parsing(file := existing(folder / "vectors.safetensors"), "item vectors"):
            vectors[name] = load_vectors(file)
        with parsing(file := existing(folder / "ids.safetensors"), "semantic IDs"):
            ids[name] = load_ids(file)
    for name, stream in recipe.streams.items():
        known = known_vectors(stream, name, vectors)
        streams[name] = StreamContext(ids[name], Trie.of(ids[name]), known, vectors[name].present_I)
    return streams


def load_model(recipe: Recipe, path: Path, streams: Mapping[str, StreamContext], num_items: int) -> Retriever:
    """The trained model of a finished run, in eval mode, from the files of the run only.

    Args:
        recipe: recipe of the run.
        path: folder of the run.
        streams: from :func:`load_streams`.
        num_items: size of the catalog.

    Raises:
        DataError: the file of the weights is missing, or its weights do not fit the model.
    """
    with parsing(file := existing(path / "model.safetensors"), "the weights of the recipe's model"):
        weights = load_tensors(file)
        model = untrained_model(recipe, streams, num_items)
        load_weights(model, weights)
    return model.eval()


def existing(file: Path) -> Path:
    """A file of a finished run, checked against its checksum.

    Raises:
        DataError: it is missing or damaged.
    """
    if not file.is_file():
        raise DataError(f"{file}: missing, expected a file of the finished run; run its recipe again")
    return verify(file)
