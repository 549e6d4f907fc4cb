"""Tags of films are known until training ends, under every split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import table_files
from splits import worlds

from genrec.datasets.movielens import MovieLens
from genrec.errors import DataError
from genrec.experiment.split_dataset import with_splits
from genrec.splits.by_user import ByUser
from genrec.splits.global_time import GlobalTime
from genrec.types import Dataset, Splits

ROWS = worlds.rows()
OTHER = 999
"""A user who tags and rates nothing."""


def tagged(folder: Path) -> Dataset:
    """Every user tags each film at the time of the rating, with the user's key and the place in the file."""
    data = folder / "ml"
    table_files.write_movielens(data, [(int(row.user), int(row.item), row.time) for row in ROWS])
    tags = [f"{row.user},{row.item},tag{place}x,{row.time}" for place, row in enumerate(ROWS)]
    tags += [f"{OTHER},{row.item},tag{place}y,{row.time}" for place, row in enumerate(ROWS)]
    (data / "tags.csv").write_text("\n".join(["userId,movieId,tag,timestamp", *tags]) + "\n")
    return MovieLens(folder="ml", core=0, text_fields=("tags",), max_tags=10**6).load(folder)


def known(dataset: Dataset) -> set[str]:
    return {word.strip(",.") for text in dataset.catalog.texts for word in text.split() if word.startswith("tag")}


def tags(is_known: list[bool], of_other: list[bool]) -> set[str]:
    of_users = {f"tag{place}x" for place, flag in enumerate(is_known) if flag}
    return of_users | {f"tag{place}y" for place, flag in enumerate(of_other) if flag}


def test_tags_end_where_training_ends(tmp_path):
    dataset = tagged(tmp_path)
    cut = sorted(row.time for row in ROWS)[int(0.8 * len(ROWS))]
    past = sorted(row.time for row in ROWS if row.time < cut)
    valid_cut = past[int(0.7 * len(past))]
    rule = GlobalTime(cut=0.8, valid_cut=0.7, unseen_items="keep")
    is_known = [row.time < valid_cut for row in ROWS]
    assert known(with_splits(dataset, rule.split(dataset))) == tags(is_known, is_known)


def test_users_who_are_not_trained_on_have_no_tags(tmp_path):
    dataset = tagged(tmp_path)
    parts = ByUser(test_users=0.2, valid_users=0.2).split(dataset)
    held_out = {dataset.user_keys[user] for user in np.concatenate([parts.valid.users, parts.test.users])}
    is_known = [row.user not in held_out for row in ROWS]
    assert 0 < sum(is_known) < len(ROWS)
    assert known(with_splits(dataset, parts)) == tags(is_known, [True] * len(ROWS))


def test_a_split_that_does_not_say_until_when_is_refused(tmp_path):
    dataset = tagged(tmp_path)
    parts = Splits(dataset.train, dataset.with_validation().train, dataset.valid, dataset.test, text="by a plugin")
    with pytest.raises(DataError, match=r"^ml: the texts have tags of users, and the split does not say until when"):
        with_splits(dataset, parts)
