"""Progress of long work: lines now and then outside a terminal, and none of work that another bar shows."""

from __future__ import annotations

import pytest

from genrec.runtime import progress
from genrec.runtime.progress import Bar, set_verbosity, without_bars


def test_a_bar_around_others_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_verbosity("normal")
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", -1.0)
    with Bar("outer", 2) as outer:
        with without_bars(), Bar("inner", 1) as inner:
            inner.advance(1)
        outer.advance(1, "5 users/s")
        with Bar("later", 1) as later:
            later.advance(1)
    assert capsys.readouterr().err == "outer: 1/2 5 users/s\nlater: 1/1 \n"
