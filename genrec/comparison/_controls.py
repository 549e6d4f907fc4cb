"""The controls among the variants of a comparison: random codes, one stream repeated, one on concatenated vectors."""

from __future__ import annotations

from collections.abc import Sequence

from genrec.comparison.axes import Variant
from genrec.comparison.results import Control, ControlKind
from genrec.item_encoders.concatenation import Concatenation
from genrec.recipe.schema import Recipe


def find_controls(variants: Sequence[Variant]) -> list[Control]:
    """The kinds of controls that a comparison has variants of, each with the variants that it is a control for.

    A control of several streams is compared with variants of two streams or more. Kinds without such a counterpart are
    left out.
    """
    kinds: dict[str, ControlKind | None] = {variant.name: control_kind(variant.recipe) for variant in variants}
    found = []
    for kind in dict.fromkeys(kinds.values()):
        if kind is None:
            continue
        least = 1 if kind == "random codes" else 2
        counterparts = tuple(
            variant.name for variant in variants if kinds[variant.name] is None and len(variant.recipe.streams) >= least
        )
        if counterparts:
            found.append(Control(kind, tuple(name for name, own in kinds.items() if own == kind), counterparts))
    return found


def control_kind(recipe: Recipe) -> ControlKind | None:
    """What a recipe is a control of, if it is one."""
    streams = list(recipe.streams.values())
    tokenizers = [stream.tokenizer for stream in streams if stream.tokenizer is not None]
    if any(tokenizer.is_random and not tokenizer.reads_vectors for tokenizer in tokenizers):
        return "random codes"
    if len(streams) > 1:
        # Without a tokenizer, the vectors of a stream are not part of it.
        parts = [(part.decoder, part.tokenizer, part.tokenizer and part.item_encoder) for part in streams]
        return "repeated stream" if all(part == parts[0] for part in parts) else None
    return "concatenated vectors" if isinstance(streams[0].item_encoder, Concatenation) else None
