"""Findings on the catalog: does a text name what is to be found, who wrote it, and is every item one item."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from genrec.audit.finding import Finding, percent, share
from genrec.types import Catalog, Split

LEAKING = 0.01
"""Share of test questions above chance in which a text tells the answer, from which results are untrue."""
REVIEWED = 0.02
"""Share of texts in a buyer's voice from which they look like reviews."""
DOUBLED = 0.01
"""Share of items with a twin from which it must be said."""

_SHUFFLES = 5
_FIELDS = re.compile(
    r"\b(also_bought|also_viewed|bought_together|buy_after_viewing|also_buy|also_view|sales_?rank|review_?text"
    r"|customers who (?:bought|viewed) this item also)\b",
    re.IGNORECASE,
)
_BUYER = re.compile(
    r"\bI(?:'ve| have)? (?:bought|purchased|ordered|received|love[ds]? (?:this|these|it)|(?:highly )?recommend)\b"
    r"|\b(?:would (?:highly )?recommend|(?:five|four|[45]) stars|my (?:husband|wife) (?:loves|bought))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z0-9_-]{8,}")
_RUNS = re.compile(r"[^\w]+|_+")
_WITHOUT = "encode titles, brands and categories, and nothing that was made from what customers did"


def leak_findings(catalog: Catalog, test: Split) -> list[Finding]:
    """Whether texts tell which items belong together; empty where there are no texts."""
    if not any(catalog.texts):
        return []
    found = [_foreign_keys(catalog), _fields(catalog), _buyers(catalog)]
    if len(test) and (titles := _title_leak(catalog, test)):
        found.append(titles)
    return found


def _foreign_keys(catalog: Catalog) -> Finding:
    """Keys are looked for only if they could be nothing else: eight signs or more with a digit, such as ASINs."""
    keys = {key for key in catalog.keys if _WORD.fullmatch(key) and any(sign.isdigit() for sign in key)}
    naming = sum(
        any(word in keys and word != key for word in _WORD.findall(text))
        for key, text in zip(catalog.keys, catalog.texts, strict=True)
    )
    if naming:
        return Finding(
            "keys in texts",
            "error",
            f"{naming:,} texts ({percent(share(naming, len(catalog)))} of items) name the key of another item",
            _WITHOUT,
        )
    looked = f"of {len(keys):,} keys that could be told from words" if keys else "(keys are too short to be told apart)"
    return Finding("keys in texts", "ok", f"no text names the key of another item {looked}")


def _fields(catalog: Catalog) -> Finding:
    told: Counter[str] = Counter()
    for text in catalog.texts:
        told.update(dict.fromkeys(match.lower() for match in _FIELDS.findall(text)).keys())
    if not told:
        return Finding("behavior in texts", "ok", "no text has a field such as also_bought, salesRank or reviewText")
    most = max(told.values())
    names = ", ".join(f"{name} ({count:,})" for name, count in told.most_common(4))
    return Finding(
        "behavior in texts",
        "error" if share(most, len(catalog)) >= LEAKING else "warning",
        f"texts name what is made from what customers did: {names} of {len(catalog):,} texts",
        _WITHOUT,
    )


def _buyers(catalog: Catalog) -> Finding:
    texts = [text for text in catalog.texts if text]
    speaking = sum(_BUYER.search(text) is not None for text in texts)
    told = f"{speaking:,} of {len(texts):,} texts ({percent(share(speaking, len(texts)))}) speak in a buyer's voice"
    if share(speaking, len(texts)) < REVIEWED:
        return Finding("reviews in texts", "ok", told)
    return Finding(
        "reviews in texts",
        "warning",
        f"{told} ('I bought', 'would recommend'): they look like reviews, which are written when the item is bought",
        "leave reviews out of texts, or keep those that are older than every target",
    )


def _title_leak(catalog: Catalog, test: Split) -> Finding | None:
    """Whether the text of a history's last item contains the target's title more often than that of another target."""
    titles = [normalized(title) for title in catalog.titles]
    rows = test.histories.offsets[1:] - 1
    last, target = test.histories.items[rows], test.targets
    is_asked = np.array([" " in title for title in titles])[target]
    last, target = last[is_asked], target[is_asked]
    if not len(target):
        return None
    texts = {int(item): f" {normalized(catalog.texts[item])} " for item in np.unique(last)}

    def told(targets: np.ndarray) -> float:
        hits = sum(
            f" {titles[goal]} " in texts[item] and titles[goal] != titles[item]
            for item, goal in zip(last.tolist(), targets.tolist(), strict=True)
        )
        return hits / len(last)

    observed = told(target)
    random = np.random.default_rng(0)
    chance = float(np.mean([told(random.permutation(target)) for _ in range(_SHUFFLES)]))
    text = (
        f"in {percent(observed)} of {len(target):,} test questions the text of the history's last item contains the "
        f"target's title ({percent(chance)} with shuffled targets)"
    )
    if observed - chance < LEAKING or observed < 3 * chance:
        return Finding("titles in texts", "ok", text)
    return Finding("titles in texts", "error", f"{text}: the texts tell the answer", _WITHOUT)


def twin_findings(catalog: Catalog, test: Split) -> list[Finding]:
    """Whether several items have one title, and one text; nothing is said of what no item has."""
    found = []
    if any(catalog.titles):
        to_the_letter = _surplus(catalog.titles)
        more = f", {to_the_letter:,} of them to the letter"
        advice = "merge them where they are one product (not branches of a chain): a list with the twin counts as wrong"
        found.append(_twins("title", [normalized(title) for title in catalog.titles], test, more, advice))
    if any(catalog.texts):
        found.append(_twins("text", catalog.texts, test, "", "a stream of texts alone cannot tell them apart"))
    return found


def _twins(what: str, names: Sequence[str], test: Split, more: str, advice: str) -> Finding:
    counts = Counter(name for name in names if name)
    has_twin_I = np.array([counts.get(name, 0) > 1 for name in names], dtype=bool)
    items = int(has_twin_I.sum())
    check = f"same {what}"
    if not items:
        return Finding(check, "ok", f"no two items have the same {what}")
    asked = int(has_twin_I[test.targets].sum())
    text = (
        f"{items:,} items ({percent(share(items, len(names)))}) share their {what} with another, {_surplus(names):,} "
        f"more than there are {what}s{more}; {asked:,} test targets ({percent(share(asked, len(test)))}) are among them"
    )
    if share(items, len(names)) < DOUBLED:
        return Finding(check, "ok", text)
    return Finding(check, "warning", text, advice)


def _surplus(names: Sequence[str]) -> int:
    """How many items have a name that an earlier item has."""
    named = [name for name in names if name]
    return len(named) - len(set(named))


def normalized(text: str) -> str:
    """Words in lower case with one space between them."""
    return _RUNS.sub(" ", text.casefold()).strip()
