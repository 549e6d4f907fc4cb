"""Synthetic items: styles -> titles, descriptions and prices; a style is expressed by varying synonyms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrec.runtime.seeds import derive

_MATERIALS = (
    ("wool", "merino wool", "knitted wool"),
    ("oak", "oak wood", "solid oak"),
    ("bamboo", "bamboo cane", "split bamboo"),
    ("ceramic", "ceramic clay", "glazed ceramic"),
    ("steel", "brushed steel", "stainless steel"),
    ("linen", "linen cloth", "washed linen"),
)
_USES = (
    ("the kitchen", "cooking and baking", "the dining table"),
    ("the garden", "the terrace and lawn", "outdoor plants"),
    ("the nursery", "babies and toddlers", "the children's playroom"),
    ("the office", "desk work and meetings", "a tidy workplace"),
    ("travel", "journeys and luggage", "camping trips"),
)
NUM_STYLES = len(_MATERIALS) * len(_USES)

_KINDS = ("basket", "board", "box", "case", "cover", "frame", "holder", "mat", "panel", "screen", "stand", "tray")
_BRANDS = ("Alder & Finch", "Brightside", "Corvane", "Dunmore", "Eastlight", "Fennick", "Grove Lane", "Halloway")
_CARE = (
    "Wipe clean with a damp cloth.",
    "Easy to look after.",
    "Comes with a care leaflet.",
    "Made to last for years.",
)
_DELIVERY = ("Ships flat.", "Delivered in a gift box.", "Ready to use.", "Packed in recycled paper.")
_MATERIAL_FACTORS = (1.5, 1.8, 0.7, 1.2, 1.0, 0.9)
"""Price factor of each material."""
_ONSETS = ("b", "br", "c", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("l", "n", "r", "s", "ndo", "ra", "lia", "vo", "m", "x")


@dataclass(frozen=True)
class ItemMetadata:
    """Metadata of one item."""

    title: str
    text: str
    attributes: tuple[str, ...]
    brand: str
    price: float | None


def write_metadata(style_I: np.ndarray, seed: int) -> list[ItemMetadata]:
    """Titles (all different), texts, attributes and prices of items with these styles (0 <= style < NUM_STYLES)."""
    random = np.random.default_rng(derive(seed, "wares"))
    prices = np.random.default_rng(derive(seed, "wares", "prices"))
    metadata = []
    for name, style in zip(_names(len(style_I), seed), style_I.tolist(), strict=True):
        use, material = divmod(style, len(_MATERIALS))
        kind, brand = _KINDS[random.integers(len(_KINDS))], _BRANDS[random.integers(len(_BRANDS))]
        material_words, use_words = random.permutation(_MATERIALS[material]), random.permutation(_USES[use])
        title = f"{name} {material_words[0]} {kind}"
        description = (
            f"Made of {material_words[1]} for {use_words[0]}, {use_words[1]} and {use_words[2]}. "
            f"{random.choice(_CARE)} {random.choice(_DELIVERY)}"
        )
        attributes = (_MATERIALS[material][0], _USES[use][0].removeprefix("the "), kind, brand)
        text = f"{title}\nBrand: {brand}\n{description}"
        price = _price(_KINDS.index(kind), material, prices)
        metadata.append(ItemMetadata(title, text, attributes, brand, price))
    return metadata


def _price(kind: int, material: int, random: np.random.Generator) -> float | None:
    """About 5 to 100, by kind and material, spread by a quarter; one item in fifty has no price."""
    spread, is_known = np.exp(random.normal(0.0, 0.25)), random.random() >= 0.02
    price = round(float((8 + 4 * kind) * _MATERIAL_FACTORS[material] * spread), 2)
    return price if is_known else None


def _names(count: int, seed: int) -> list[str]:
    """Invented names, all different."""
    syllables = [onset + vowel for onset in _ONSETS for vowel in _VOWELS]
    possible = len(syllables) ** 2 * len(_CODAS)
    chosen = np.random.default_rng(derive(seed, "names")).choice(possible, count, replace=False)
    names = []
    for number in chosen.tolist():
        pair, coda = divmod(number, len(_CODAS))
        first, second = divmod(pair, len(syllables))
        names.append((syllables[first] + syllables[second] + _CODAS[coda]).capitalize())
    return names
