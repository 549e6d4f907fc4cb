"""JSON as other programs write it -> plain values: NaN is null, and every problem is one error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class JsonError(ValueError):
    """Text that is not JSON; the message is the problem alone, for a sentence in brackets."""

    def __init__(self, problem: str, line: int = 1, column: int | None = None) -> None:
        super().__init__(problem)
        self.line = line
        """From 1."""
        self.column = column
        """Character of the line, from 1; None where the problem is none of a single place."""


def parse_json(text: str, repeated: Callable[[str], object] | None = None) -> Any:
    """Parse one value; NaN and infinities, as pandas writes them, are None: a missing value in every format.

    Args:
        text: the JSON text.
        repeated: called with each key that occurs again in one object; the last value counts, as in every JSON parser.

    Raises:
        JsonError: it is not JSON, is nested too deeply, or has an integer of thousands of digits.
    """

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found) and repeated is not None:
            seen: set[str] = set()
            for key, _ in found:
                if key in seen:
                    repeated(key)
                seen.add(key)
        return made

    try:
        return json.loads(text, parse_constant=lambda _: None, object_pairs_hook=None if repeated is None else pairs)
    except json.JSONDecodeError as error:
        raise JsonError(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except ValueError:  # Python converts at most some thousand digits
        raise JsonError("an integer has thousands of digits") from None
