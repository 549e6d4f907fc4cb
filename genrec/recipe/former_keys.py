"""Keys that recipes of former versions have: what each is called now, so that an upgrade costs one error."""

from __future__ import annotations

RENAMED: dict[tuple[str, str], tuple[str, str]] = {
    ("datasets/showroom", "picture_ratio"): ("image_ratio", "0.2.0"),
    ("datasets/amazon_reviews", "max_pictures"): ("max_images", "0.2.0"),
    ("datasets/amazon_reviews", "pictures"): ("images", "0.2.0"),
    ("datasets/recbole", "picture_field"): ("image_field", "0.2.0"),
    ("datasets/table", "picture"): ("image", "0.2.0"),
    ("datasets/yelp", "max_pictures"): ("max_images", "0.2.0"),
}
"""Owner and former key -> new key and the version that renamed it.

The owner is ``<family>/<component>``, or ``recipe`` outside components; keys inside settings are dotted
(``training.batch_size``).
"""

REMOVED: dict[tuple[str, str], tuple[str, str]] = {
    ("item_encoders/din", "training.final_fit"): ("it had no effect", "0.2.0"),
}
"""Owner and former key -> the reason and the version that removed it."""


def former_key(owner: str, key: str) -> str | None:
    """What became of a key that is unknown now, for an error; None if there never was such a key.

    Args:
        owner: ``<family>/<component>`` or ``recipe``.
        key: dotted, below the owner.
    """
    if found := RENAMED.get((owner, key)):
        return f"renamed to {found[0]!r} in genrec {found[1]}"
    if found := REMOVED.get((owner, key)):
        return f"removed in genrec {found[1]} ({found[0]}); delete this key"
    return None
