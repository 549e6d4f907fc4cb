"""Recipes and runs of former versions: one error that names the new key."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from genrec.families import FAMILIES
from genrec.recipe import InvalidRecipeError, parse_recipe
from genrec.recipe.former_keys import REMOVED, RENAMED, former_key

RECIPE = """\
title: Of version 0.1.0
dataset: {{type: showroom, {dataset}}}
history_encoder: item_ids
streams:
  behavior: {{item_encoder: {{type: din, training: {{{training}}}}}, tokenizer: kmeans_tree, decoder: mlp}}
"""


def problems(dataset: str = "users: 100", training: str = "max_epochs: 1") -> list[str]:
    with pytest.raises(InvalidRecipeError) as caught:
        parse_recipe(RECIPE.format(dataset=dataset, training=training), name="r.yaml")
    return str(caught.value).splitlines()


def test_recipe_without_former_keys_is_valid() -> None:
    assert parse_recipe(RECIPE.format(dataset="users: 100", training="max_epochs: 1")).title == "Of version 0.1.0"


def test_renamed_key_of_a_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED, ("datasets/showroom", "shoppers"), ("users", "0.2.0"))
    assert problems("shoppers: 100") == ["r.yaml:2: dataset.shoppers: renamed to 'users' in genrec 0.2.0"]


def test_renamed_key_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED, ("recipe", "training.rate"), ("training.learning_rate", "0.2.0"))
    with pytest.raises(InvalidRecipeError, match=r"training\.rate: renamed to 'training\.learning_rate' in genrec"):
        parse_recipe(
            RECIPE.format(dataset="users: 100", training="max_epochs: 1") + "training: {rate: 1}\n", name="r.yaml"
        )


def test_removed_key_of_settings_inside_a_component() -> None:
    assert problems(training="final_fit: false") == [
        "r.yaml:5: streams.behavior.item_encoder.training.final_fit: removed in genrec 0.2.0 (it had no effect); "
        "delete this key"
    ]


def test_key_that_is_renamed_in_one_component_is_unknown_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED, ("datasets/showroom", "shoppers"), ("users", "0.2.0"))
    (line,) = problems(training="shoppers: 1")
    assert line.startswith("r.yaml:5: streams.behavior.item_encoder.training.shoppers: unknown key of training, ")


def test_key_that_never_was_has_no_history() -> None:
    assert former_key("datasets/showroom", "no_such_key") is None
    assert former_key("recipe", "no_such_key") is None


@pytest.mark.parametrize(("owner", "key"), [*RENAMED, *REMOVED], ids=lambda part: part)
def test_former_keys_are_no_keys_and_new_keys_are(owner: str, key: str) -> None:
    family, name = owner.split("/")
    [registry] = [registry for registry in FAMILIES if registry.family == family]
    assert not has_key(registry.get(name), key)
    if new := RENAMED.get((owner, key)):
        assert has_key(registry.get(name), new[0])


def has_key(cls: type[BaseModel], dotted: str) -> bool:
    head, _, rest = dotted.partition(".")
    if head not in cls.model_fields:
        return False
    annotation = cls.model_fields[head].annotation
    assert not rest or isinstance(annotation, type)
    return not rest or has_key(annotation, rest)
