"""Recipes from files, mappings and objects; overrides as mappings and as texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import genrec
from genrec.api.inputs import override_texts
from genrec.errors import StorageError
from genrec.evaluation.metrics import METRICS
from genrec.families import merges
from genrec.recipe import InvalidRecipeError
from genrec.tokenizers.kmeans_tree import KMeansTree


@pytest.fixture(name="block")
def _block(small_recipe: str) -> dict[str, Any]:
    return yaml.safe_load(small_recipe)


def test_files_mappings_and_recipes_are_equal(block: dict[str, Any]) -> None:
    loaded = genrec.load_recipe("small.yaml")
    assert loaded == genrec.load_recipe(Path("small.yaml")) == genrec.load_recipe(block) == genrec.load_recipe(loaded)


def test_overrides_are_a_mapping_or_texts() -> None:
    mapping = {
        "training.max_epochs": 3,
        "merge": "learned",
        "evaluation.cutoffs": [5, 10],
        "training.max_minutes": None,
    }
    texts = ["training.max_epochs=3", "merge=learned", "evaluation.cutoffs=[5, 10]", "training.max_minutes=null"]
    assert override_texts(mapping) == texts
    by_mapping, by_text = genrec.load_recipe("small.yaml", mapping), genrec.load_recipe("small.yaml", texts)
    assert by_mapping == by_text
    assert by_mapping.merge.type_name == "learned"
    assert by_mapping.evaluation.cutoffs == (5, 10)


@pytest.mark.parametrize("title", ["yes: no", "1e3", "#5", "a 'b' \"c\"", "on", "Zürich: line", "null"])
def test_texts_of_overrides_are_quoted(title: str) -> None:
    assert genrec.load_recipe("small.yaml", {"title": title}).title == title


def test_values_may_be_numbers_of_numpy() -> None:
    overrides = {"training.max_epochs": np.int64(3), "training.learning_rate": np.float64(0.01), "merge": "learned"}
    overrides |= {"evaluation.cutoffs": np.array([5, 10])}
    recipe = genrec.load_recipe("small.yaml", overrides)
    assert (recipe.training.max_epochs, recipe.training.learning_rate) == (3, 0.01)
    assert recipe.evaluation.cutoffs == (5, 10)


@pytest.mark.parametrize("overrides", [[{"training.max_epochs": 3}], 5, [5], {3: 4}.items()])
def test_other_overrides_are_refused(overrides: Any) -> None:
    expected = r"^overrides: found .*, expected a mapping such as .*, or texts 'key=value'$"
    with pytest.raises(genrec.RecipeError, match=expected):
        genrec.load_recipe("small.yaml", overrides)


def test_a_value_that_no_recipe_can_have_is_refused() -> None:
    with pytest.raises(genrec.RecipeError, match=r"^found <object .*>, expected a value of a recipe"):
        genrec.load_recipe("small.yaml", {"title": object()})


def test_verbosity_is_one_of_three() -> None:
    with pytest.raises(genrec.GenrecError, match=r"^verbosity: found 'loud', expected 'quiet' or"):
        genrec.set_verbosity("loud")  # type: ignore[arg-type]


def test_arguments_of_comparisons_are_checked_before_any_work() -> None:
    expected = {
        r"vary: merge: found 'learned', expected a list of values, such as": {"vary": {"merge": "learned"}},
        r"vary: seed: found 3, expected a list of values": {"vary": {"seed": 3}},
        r"vary: found \[\{'merge'.*\}\], expected a mapping such as": {"vary": [{"merge": ["learned"]}]},
        "split: found 'tset', expected 'validation' or 'test'": {"split": "tset"},
        "jobs: found 0, expected at least 1": {"jobs": 0},
        "--budget 90: expected a time such as 90s, .*did you mean 90m or 90s": {"budget": 90},
    }
    for text, arguments in expected.items():
        with pytest.raises(genrec.RecipeError, match=text):
            genrec.compare("small.yaml", output="out", device="cpu", **arguments)
    with pytest.raises(genrec.RecipeError, match="found a NoneType, expected a recipe"):
        genrec.compare(None, output="out", device="cpu")  # type: ignore[arg-type]
    assert not Path("out").exists()


EDITED_MERGE = """\
from genrec.plugin import Merge, merges


@merges.register("edited_merge")
class EditedMerge(Merge):
    def merge(self, candidates, *, top_n): ...
"""
EDITED_METRIC = """\
from genrec.plugin import metrics


@metrics.register("edited_metric", "Edited")
def edited_metric(ranks_U, cutoff):
    return (ranks_U == 0) * 1.0
"""


@pytest.mark.parametrize(
    ("text", "overrides"),
    [(EDITED_MERGE, {"merge": "edited_merge"}), (EDITED_METRIC, {"evaluation.metrics": ["edited_metric"]})],
    ids=["merge", "metric"],
)
def test_a_plugin_that_is_edited_after_its_import_is_an_error(
    text: str, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for family in (merges, METRICS):
        known = "_known" if family is METRICS else "_classes"
        monkeypatch.setattr(family, known, dict(getattr(family, known)))
    file = Path("plugins/edited.py")
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    assert genrec.load_recipe("small.yaml", overrides) == genrec.load_recipe("small.yaml", overrides)
    file.write_text(text + "\n# edited\n", encoding="utf-8")
    with pytest.raises(InvalidRecipeError) as caught:
        genrec.load_recipe("small.yaml", overrides)
    expected = f"{file}: edited after this process imported it; restart Python, or the kernel of the notebook"
    assert str(caught.value).endswith(expected)
    genrec.load_recipe("small.yaml")  # uses nothing of the file


def test_components_may_be_objects(block: dict[str, Any]) -> None:
    block["streams"]["text"]["tokenizer"] = KMeansTree(branching=4)
    assert genrec.load_recipe(block).streams["text"].tokenizer == KMeansTree(branching=4)
    changed = genrec.load_recipe("small.yaml", {"streams.text.tokenizer": KMeansTree(branching=4)})
    assert changed.streams["text"].tokenizer == KMeansTree(branching=4)


def test_a_saved_recipe_loads_as_an_equal_recipe(block: dict[str, Any]) -> None:
    recipe = genrec.load_recipe(block, {"seed": 7})
    recipe.save("saved.yaml")
    assert genrec.load_recipe("saved.yaml") == recipe
    assert Path("saved.yaml").read_text(encoding="utf-8") == recipe.to_yaml()
    Path("folder.yaml").mkdir()
    with pytest.raises(StorageError, match=r"^folder\.yaml: cannot be written: "):
        recipe.save("folder.yaml")


def test_all_mistakes_of_a_mapping_are_reported(block: dict[str, Any]) -> None:
    block["traning"] = {}
    block["merge"] = "confidense"
    with pytest.raises(InvalidRecipeError) as caught:
        genrec.load_recipe(block)
    assert "traning" in str(caught.value)
    assert "did you mean 'confidence'" in str(caught.value).replace('"', "'")


def test_other_objects_are_refused() -> None:
    with pytest.raises(genrec.RecipeError, match="found a int, expected a recipe: a YAML file, a mapping or a Recipe"):
        genrec.load_recipe(3)  # type: ignore[arg-type]


def test_public_names_are_complete() -> None:
    assert sorted(genrec._MODULES) == sorted(set(genrec.__all__) - {"__version__"})
    for name in genrec.__all__:
        assert getattr(genrec, name) is not None
    assert dir(genrec) == genrec.__all__
