"""An example user as HTML: history, target and recommendations as cards."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from genrec.reporting.html_tables import breakable
from genrec.reporting.run_details import ExampleUser, RankedItem, ShownItem
from genrec.reporting.texts import count_text, plain


def example_element(user: ExampleUser, *, list_length: int, has_images: bool) -> str:
    """A user as an article.

    Args:
        user: to be shown.
        list_length: length of the recommended list.
        has_images: whether cards have a place for an image.
    """
    target = user.target
    rank = f"rank {target.rank}" if target.rank is not None else f"not among the first {list_length}"
    length = count_text(user.history_length, "item")
    earlier = user.history_length - len(user.history)
    more = f", the last {len(user.history)}" if earlier else ""
    history = "".join(_card(item, has_images=has_images) for item in user.history)
    recommended = "".join(_ranked(item, has_images=has_images) for item in user.recommended)
    listed = f'<ol class="cards numbered">{recommended}</ol>' if recommended else '<p class="small">None.</p>'
    return (
        f'<article class="user"><h3>User <bdi>{breakable(user.key)}</bdi></h3>'
        f'<div class="past"><div><h4>History: {length}{more}</h4>'
        f'<ol class="cards">{history}</ol></div>'
        f"<div><h4>Target: {rank}</h4>"
        f'<ul class="cards">{_ranked(target, has_images=has_images, tag=False)}</ul></div></div>'
        f"<h4>Recommendations</h4>{listed}</article>"
    )


def _ranked(found: RankedItem, *, has_images: bool, tag: bool = True) -> str:
    """A card with the streams that found the item."""
    tags = [name for name, applies in (("target", found.is_target and tag), ("in history", found.is_seen)) if applies]
    marks = "".join(f'<span class="tag">{name}</span>' for name in tags)
    below = f"{marks}{_streams(found.stream_ranks)}"
    return _card(found.item, has_images=has_images, is_target=found.is_target, below=below)


def _streams(ranks: Mapping[str, int | None]) -> str:
    """The streams that found an item, the best rank first."""
    known = sorted((rank, name) for name, rank in ranks.items() if rank is not None)
    if not known:
        return '<span class="found">found by no stream</span>'
    return "".join(f'<span class="found"><bdi>{breakable(name)}</bdi> {rank}</span>' for rank, name in known)


def _card(item: ShownItem, *, has_images: bool, is_target: bool = False, below: str = "") -> str:
    image = ""
    if has_images:
        image = (
            f'<img src="data:image/jpeg;base64,{item.thumbnail}" alt="">'
            if item.thumbnail
            else '<span class="no-image">no image</span>'
        )
    start = '<li class="target">' if is_target else "<li>"
    return (
        f"{start}{image}"
        f'<span class="name" title="{escape(plain(item.name))}"><bdi>{breakable(item.name)}</bdi></span>{below}</li>'
    )
