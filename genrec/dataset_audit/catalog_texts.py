"""Checks of the catalog: target leakage in texts, reviews in texts, and duplicate items."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from genrec.dataset_audit.finding import Finding, percent, share
from genrec.types import Catalog, Split

LEAKING = 0.01
"""Share of test users, above chance, whose history text contains the target, from which it is an error."""
REVIEWED = 0.02
"""Share of texts written by buyers from which the audit warns of reviews."""
DOUBLED = 0.01
"""Share of duplicate items from which the audit warns."""

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
_WITHOUT = "encode titles, brands and categories only, nothing derived from customer behavior"


def leak_findings(catalog: Catalog, test: Split) -> list[Finding]:
    """Findings on leakage through texts; empty if there are no texts."""
    if not any(catalog.texts):
        return []
    found = [_foreign_keys(catalog), _fields(catalog), _buyers(catalog)]
    if len(test) and (titles := _title_leak(catalog, test)):
        found.append(titles)
    return found


def _foreign_keys(catalog: Catalog) -> Finding:
    """Look for unambiguous keys only: eight characters or more with a digit, such as ASINs."""
    keys = {key for key in catalog.keys if _WORD.fullmatch(key) and any(character.isdigit() for character in key)}
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
    looked = f"({len(keys):,} unambiguous keys)" if keys else "(no check: keys are too short)"
    return Finding("keys in texts", "ok", f"no text names the key of another item {looked}")


def _fields(catalog: Catalog) -> Finding:
    counts: Counter[str] = Counter()
    for text in catalog.texts:
        counts.update(dict.fromkeys(match.lower() for match in _FIELDS.findall(text)).keys())
    if not counts:
        return Finding("behavior in texts", "ok", "no text has a field such as also_bought, salesRank or reviewText")
    most = max(counts.values())
    names = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(4))
    return Finding(
        "behavior in texts",
        "error" if share(most, len(catalog)) >= LEAKING else "warning",
        f"texts contain fields derived from customer behavior: {names} of {len(catalog):,} texts",
        _WITHOUT,
    )


def _buyers(catalog: Catalog) -> Finding:
    texts = [text for text in catalog.texts if text]
    speaking = sum(_BUYER.search(text) is not None for text in texts)
    found = f"{speaking:,} of {len(texts):,} texts ({percent(share(speaking, len(texts)))}) read as written by a buyer"
    if share(speaking, len(texts)) < REVIEWED:
        return Finding("reviews in texts", "ok", found)
    return Finding(
        "reviews in texts",
        "warning",
        f"{found} ('I bought', 'would recommend'): reviews are written after the purchase",
        "leave reviews out of texts, or use only those older than every target",
    )


def _title_leak(catalog: Catalog, test: Split) -> Finding | None:
    """Whether the text of a history's last item contains the target's title more often than that of another target."""
    titles = [normalized(title) for title in catalog.titles]
    rows = test.histories.offsets[1:] - 1
    last, target = test.histories.items[rows], test.targets
    has_words = np.array([" " in title for title in titles])[target]
    last, target = last[has_words], target[has_words]
    if not len(target):
        return None
    texts = {int(item): f" {normalized(catalog.texts[item])} " for item in np.unique(last)}

    def hit_rate(targets: np.ndarray) -> float:
        hits = sum(
            f" {titles[goal]} " in texts[item] and titles[goal] != titles[item]
            for item, goal in zip(last.tolist(), targets.tolist(), strict=True)
        )
        return hits / len(last)

    observed = hit_rate(target)
    random = np.random.default_rng(0)
    chance = float(np.mean([hit_rate(random.permutation(target)) for _ in range(_SHUFFLES)]))
    text = (
        f"for {percent(observed)} of {len(target):,} test users the text of the last item of the history contains the "
        f"target's title ({percent(chance)} with shuffled targets)"
    )
    if observed - chance < LEAKING or observed < 3 * chance:
        return Finding("titles in texts", "ok", text)
    return Finding("titles in texts", "error", f"{text}: texts leak the target", _WITHOUT)


def twin_findings(catalog: Catalog, test: Split) -> list[Finding]:
    """Findings on items that share a title or a text, if any item has one."""
    found = []
    if any(catalog.titles):
        exactly = _surplus(catalog.titles)
        more = f", {exactly:,} of them exactly"
        advice = (
            "merge them if they are one product (not branches of a chain): recommending the duplicate counts as wrong"
        )
        found.append(_twins("title", [normalized(title) for title in catalog.titles], test, more, advice))
    if any(catalog.texts):
        found.append(
            _twins("text", catalog.texts, test, "", "a stream that encodes texts only cannot distinguish them")
        )
    return found


def _twins(what: str, names: Sequence[str], test: Split, more: str, advice: str) -> Finding:
    counts = Counter(name for name in names if name)
    has_twin_I = np.array([counts.get(name, 0) > 1 for name in names], dtype=bool)
    items = int(has_twin_I.sum())
    check = f"same {what}"
    if not items:
        return Finding(check, "ok", f"no two items have the same {what}")
    targets = int(has_twin_I[test.targets].sum())
    text = (
        f"{items:,} items ({percent(share(items, len(names)))}) share their {what} with another, {_surplus(names):,} "
        f"more than there are {what}s{more}; among them are {targets:,} test targets "
        f"({percent(share(targets, len(test)))})"
    )
    if share(items, len(names)) < DOUBLED:
        return Finding(check, "ok", text)
    return Finding(check, "warning", text, advice)


def _surplus(names: Sequence[str]) -> int:
    """Number of items whose name an earlier item has."""
    named = [name for name in names if name]
    return len(named) - len(set(named))


def normalized(text: str) -> str:
    """Words in lower case with one space between them."""
    return _RUNS.sub(" ", text.casefold()).strip()
