"""The controls among the variants of a comparison: random codes, one stream repeated, one on concatenated vectors."""

from __future__ import annotations

from collections.abc import Sequence

from genrec.comparison.axes import Variant
from genrec.comparison.results import Control, ControlKind
from genrec.item_encoders.concatenation import Concatenation
from genrec.recipe.schema import Recipe


def find_controls(variants: Sequence[Variant]) -> list[Control]:
    """The controls among some variants, each with the variants that it is a control for.

    Its counterparts have what it lacks and are otherwise as like it as any: they differ from it in the fewest axes.
    Those of a control of several streams have two streams or more. Without counterparts, a variant is no control.
    """
    kinds = {variant.name: control_kinds(variant.recipe) for variant in variants}
    found = []
    for control in variants:
        for kind in sorted(kinds[control.name]):
            least = 1 if kind == "random codes" else 2
            others = [
                variant
                for variant in variants
                if kinds[variant.name] == kinds[control.name] - {kind} and len(variant.recipe.streams) >= least
            ]
            if others:
                fewest = min(_num_changes(control, other) for other in others)
                counterparts = tuple(other.name for other in others if _num_changes(control, other) == fewest)
                found.append(Control(kind, control.name, counterparts))
    return found


def control_kinds(recipe: Recipe) -> set[ControlKind]:
    """What a recipe is a control of."""
    kinds: set[ControlKind] = set()
    streams = list(recipe.streams.values())
    tokenizers = [stream.tokenizer for stream in streams if stream.tokenizer is not None]
    if any(tokenizer.is_random and not tokenizer.reads_vectors for tokenizer in tokenizers):
        kinds.add("random codes")
    parts = [
        # Without a tokenizer, the vectors of a stream are not part of it.
        (stream.history_encoder, stream.decoder, stream.tokenizer, stream.tokenizer and stream.item_encoder)
        for stream in streams
    ]
    if len(parts) > 1 and all(part == parts[0] for part in parts):
        kinds.add("repeated stream")
    if len(streams) == 1 and isinstance(streams[0].item_encoder, Concatenation):
        kinds.add("concatenated vectors")
    return kinds


def _num_changes(one: Variant, other: Variant) -> int:
    """Number of axes with another value."""
    return sum(one.setting.get(axis) != other.setting.get(axis) for axis in {*one.setting, *other.setting})
