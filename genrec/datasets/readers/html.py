"""HTML that shops leave in titles and descriptions -> plain text."""

from __future__ import annotations

import html
import re

_TAGS = (
    "a|abbr|address|article|aside|b|big|blockquote|br|button|caption|center|cite|code|col|colgroup|dd|del|dfn|div|dl|dt|"
    "em|fieldset|figcaption|figure|font|footer|form|h[1-6]|header|hr|i|iframe|img|input|ins|kbd|label|legend|li|link|"
    "main|map|mark|meta|nav|noscript|object|ol|option|p|param|picture|pre|q|s|samp|section|select|small|source|span|"
    "strike|strong|style|sub|sup|svg|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|var|video|wbr"
)
# What is never closed reaches to the end, as in browsers; looking for the end of each anew would take forever.
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_INSIDE_WORDS = re.compile(r"</?(?:a|b|em|font|i|small|span|strong|sub|sup|u|wbr)(?:\s[^<>]*)?/?>", re.IGNORECASE)


def plain_text(markup: str) -> str:
    """Entities resolved, also those that were escaped twice; tags, scripts and comments gone; blanks collapsed.

    Only the tags of HTML are tags: ``size < 5 and > 3`` and ``<untitled>`` stay.
    """
    text = markup
    if "&" in text:
        text = html.unescape(html.unescape(text))
    if "<" in text:
        text = _UNSEEN.sub(" ", text)
        text = _TAG.sub(" ", _INSIDE_WORDS.sub("", text))
    return " ".join(text.split())
