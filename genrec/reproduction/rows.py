"""The rows of a study -> variants and baselines; rows that this version or folder lacks get a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.comparison.axes import Variant, VariantRequest, named_variants
from genrec.errors import RecipeError
from genrec.families import baselines
from genrec.recipe.loading import load_recipe
from genrec.recipe.overrides import apply
from genrec.recipe.source import read
from genrec.reproduction.definitions import Budget, Row, Study, find_dataset

_EVALUATION = "evaluation={cutoffs: [5, 10, 20], seen_items: keep}"
"""The paper's protocol, for all recipes: seen items are not mentioned, and the released code keeps them."""
_TEXT_ENCODERS = ("sentence_t5", "text")


@dataclass
class PlannedRow:
    """A row that is going to be run, or the reason why it is not."""

    name: str
    row: Row
    variant: Variant | None = None
    baseline: str = ""
    """The block of a baseline, as JSON."""
    missing: str = ""
    """Why it cannot be run."""


@dataclass(frozen=True)
class Conditions:
    """What all rows of a study have in common."""

    dataset: str
    recipe: Path
    """The EAGER recipe; other recipes are beside it."""
    budget: Budget
    overrides: tuple[str, ...] = ()
    """For all recipes, last."""


def planned_rows(study: Study, conditions: Conditions) -> list[PlannedRow]:
    """Describe every row of a study.

    Raises:
        RecipeError: the EAGER recipe is missing.
        InvalidRecipeError: a recipe is not valid, or recipes differ in data or evaluation.
    """
    if not conditions.recipe.is_file():
        raise RecipeError(
            f"{conditions.recipe}: no such file, expected the EAGER recipe of the dataset {conditions.dataset}; run "
            "from the folder that contains recipes/, or name the file with --recipe"
        )
    rows = [PlannedRow(name, row) for name, row in study.rows.items()]
    for planned in rows:
        if planned.row.baseline:
            _plan_baseline(planned, conditions)
    blocks = [planned.baseline for planned in rows if planned.baseline]
    requests = []
    for planned in rows:
        if planned.row.baseline:
            continue
        file = conditions.recipe
        if planned.row.recipe:
            file = file.with_name(f"{planned.row.recipe.format(dataset=conditions.dataset)}.yaml")
        if not file.is_file():
            planned.missing = f"no recipe {file.name} in this version"
            continue
        requests.append(_request(planned, file, [*study.overrides, f"baselines=[{', '.join(blocks)}]"], conditions))
    variants = {variant.name: variant for variant in named_variants(requests)}
    for planned in rows:
        planned.variant = variants.get(planned.name)
    return rows


def _plan_baseline(planned: PlannedRow, conditions: Conditions) -> None:
    name, epochs = planned.row.baseline, conditions.budget.max_epochs
    if name not in baselines.names():
        planned.missing = f"no baseline {name} in this version"
        return
    has_epochs = epochs is not None and "max_epochs" in baselines.get(name).model_fields
    planned.baseline = json.dumps({"type": name, **({"max_epochs": epochs} if has_epochs else {})})


def _request(planned: PlannedRow, file: Path, common: Sequence[str], conditions: Conditions) -> VariantRequest:
    row, is_eager = planned.row, not planned.row.recipe
    written = read(file.read_text(encoding="utf-8"), str(file)).data
    overrides = [
        _EVALUATION,
        "training.final_fit=false",
        *_with_text_encoder(written, conditions.recipe, is_eager),
        *common,
    ]
    overrides += [change for change in conditions.budget.overrides if _matches(written, change.partition("=")[0])]
    overrides += conditions.overrides
    if row.tasks is not None:
        kept = [task for task in written.get("tasks", ()) if task["type"] in row.tasks]
        overrides.append(f"tasks={json.dumps(kept)}")
    overrides += row.overrides
    overrides += _replaced_encoders(written, overrides, file, conditions.budget)
    streams = (row.streams or find_dataset(conditions.dataset).streams) if is_eager else ""
    after = (*row.after, *(_joined_codes(file, overrides, streams) if row.joined_codes else ()))
    return VariantRequest(planned.name, file, tuple(overrides), streams, after)


def _matches(data: Any, path: str) -> bool:
    """Whether a recipe as written has a key; the last part of the path may be a default that is not written."""
    *parts, _ = path.split(".")
    found = [data]
    for part in parts:
        found = [child for block in found if isinstance(block, Mapping) for child in _children(block, part)]
    return any(isinstance(block, Mapping) for block in found) and _is_known(path, found)


def _is_known(path: str, blocks: Sequence[Any]) -> bool:
    """Fields of a component are changed only where they are written: other components have other fields."""
    *parts, last = path.split(".")
    is_component = parts[-1] in ("history_encoder", "decoder", "tokenizer", "item_encoder")
    return not is_component or any(isinstance(block, Mapping) and last in block for block in blocks)


def _children(block: Mapping[str, Any], part: str) -> list[Any]:
    return list(block.values()) if part == "*" else [block[part]] if part in block else []


def _with_text_encoder(written: Mapping[str, Any], eager: Path, is_eager: bool) -> Iterator[str]:
    """Streams of texts of other recipes get the text encoder of the EAGER recipe, so that all read the same vectors."""
    if is_eager:
        return
    blocks = [
        stream.get("item_encoder")
        for stream in read(eager.read_text(encoding="utf-8"), str(eager)).data["streams"].values()
    ]
    text = next((block for block in blocks if _type_of(block) in _TEXT_ENCODERS), None)
    for name, stream in written["streams"].items():
        if text is not None and _type_of(stream.get("item_encoder")) in _TEXT_ENCODERS:
            yield f"streams.{name}.item_encoder={json.dumps(text)}"


def _replaced_encoders(
    written: Mapping[str, Any], overrides: Sequence[str], file: Path, budget: Budget
) -> Iterator[str]:
    if not budget.encoders:
        return
    source = read(file.read_text(encoding="utf-8"), str(file))
    apply(source, overrides)
    for name, stream in source.data["streams"].items():
        if (block := budget.encoders.get(_type_of(stream.get("item_encoder")))) is not None:
            yield f"streams.{name}.item_encoder={json.dumps(block)}"


def _type_of(block: Any) -> str:
    return block["type"] if isinstance(block, Mapping) else str(block)


def _joined_codes(file: Path, overrides: Sequence[str], streams: str) -> list[str]:
    """The tokenizer of a concatenated stream that gives the codes of its parts one after the other."""
    recipe = load_recipe(file, overrides)
    parts = [recipe.streams[name] for name in streams.split("~")]
    widths = [getattr(part.item_encoder, "dim", None) for part in parts[:-1]]
    if None in widths:
        raise RecipeError(
            f"{file}: the width of the vectors of {streams.split('~')[widths.index(None)]} is unknown; expected an "
            "item encoder with a field dim in each stream but the last"
        )
    trees = [part.tokenizer.block() for part in parts if part.tokenizer is not None]
    tokenizer = {"type": "joined_codes", "tokenizers": trees, "widths": widths}
    return [f"streams.{streams.replace('~', '_')}.tokenizer={json.dumps(tokenizer)}"]
