"""The readers of files by name: valid files, written by code, and the ways in which genrec reads them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from genrec.api.comparisons import plan_comparison
from genrec.api.runs import list_runs, load_run
from genrec.dataset_audit.audit import audit
from genrec.datasets.amazon_reviews import AmazonReviews
from genrec.datasets.movielens import MovieLens
from genrec.datasets.recbole import RecBole
from genrec.datasets.sequences import Sequences
from genrec.datasets.table import Table
from genrec.datasets.yelp import Yelp
from genrec.evaluation.rank_file import RankFile
from genrec.families import DatasetSource
from genrec.item_encoders.precomputed import Precomputed as PrecomputedVectors
from genrec.recipe import load_recipe
from genrec.runtime.environment import WorkContext
from genrec.search.candidates import load_candidates
from genrec.serving.recommender import Recommender
from genrec.tokenizers.precomputed import Precomputed as PrecomputedCodes
from genrec.types import Catalog, Histories, ItemVectors
from tests import amazon_files, table_files
from tests.damaged_files import forget_checksums
from tests.faults.tiny_shop import RECIPE, recipe_file, run_in
from tests.fuzz.fuzzer import Reader

ROOT = Path(__file__).parents[2]
PAIRS = ("ax", "ay", "bx", "bz", "cy", "cz", "ax")
ROWS = [(user, item, 1_577_836_800 + 60 * place) for place, (user, item) in enumerate(PAIRS)]
NUMBERED = [("abc".index(user) + 1, "xyz".index(item) + 1, time) for user, item, time in ROWS]
ITEMS = {
    "x": {"title": "Soap", "brand": "Ann", "categories": ["Beauty", "Bath"], "description": "Clean.", "price": 3.5},
    "y": {"title": "Café & Oil", "price": "$4", "images": ["https://example.org/y.jpg"]},
    "z": {},
}


def _loads(source: DatasetSource) -> Callable[[Path], object]:
    """Load a dataset and check it; what is counted is what is there."""

    def read(folder: Path) -> object:
        dataset = source.load(folder)
        assert {finding.text for finding in dataset.findings} <= set(dataset.notes)
        audited = audit(dataset)
        assert audited.figures.interactions == len(dataset.histories.items)
        return (*dataset.notes, *(finding.text for finding in audited.findings))

    return read


def _table(ending: str, write: Callable[[Path, table_files.Rows], object]) -> Reader:
    names = {"interactions": f"interactions{ending}", "items": f"items{ending}"}
    skip = {"core": 0, "broken_rows": "skip"}
    sources = [
        Table(**names, core=0, title="title"),
        Table(**names, **skip, title="title", attributes=("tags",), duplicates="drop", unsold_items="keep"),
        Table(**names, core=2, text_fields=("title", "tags"), columns={"tags": "categorical"}, time_unit="s"),
        Table(**names, **skip, columns={"title": "datetime", "tags": "numeric"}, time_format=("%Y-%m-%d", "%Y")),
        Table(interactions=names["interactions"], core=0, rating="time", min_rating=1, order="file", time=None),
    ]
    return Reader([lambda folder: write(folder, ROWS)], [_loads(source) for source in sources])


def _write_amazon(folder: Path) -> None:
    amazon_files.write_2014(folder, ROWS, ITEMS, category="Old")
    amazon_files.write_2018(folder, ROWS, ITEMS, category="Mid")
    amazon_files.write_2023(folder, ROWS, ITEMS, category="New")
    amazon_files.write_2023_ratings(folder, ROWS, category="Core")


def _write_yelp(folder: Path) -> None:
    reviews = [
        {"review_id": str(time), "user_id": user, "business_id": item, "stars": 4.0, "date": "2019-03-02 10:00:00"}
        for user, item, time in ROWS
    ]
    businesses = [
        {"business_id": item, "name": f"Café {item}", "city": "Tucson", "state": "AZ", "categories": "Coffee, Food"}
        | {"attributes": {"WiFi": "u'free'", "Ambience": "{'romantic': False, 'casual': True}", "BYOB": "'no'"}}
        for item in ITEMS
    ]
    photos = [{"photo_id": "p", "business_id": "x", "caption": "Cake", "label": "food"}]
    for name, entries in {"review": reviews, "business": businesses, "photos": photos}.items():
        (folder / f"{name}.json").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")


def _write_sequences(folder: Path) -> None:
    (folder / "sequences.txt").write_text("1 1 2 3\n2 2 3 1\n3 3 1\n", encoding="utf-8")
    entries = [{"item_id": 1, "title": "Soap", "brand": "Ann", "categories": [["Bath"]], "price": 3.5}]
    entries += [{"item_id": number, "title": "Oil", "description": ["a", "b"]} for number in (2, 3)]
    lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (folder / "items.jsonl").write_text(lines, encoding="utf-8")
    (folder / "item2attributes.json").write_text(json.dumps({"1": [1, 2], "2": [1]}), encoding="utf-8")


KEYS = ("a", "b", "1", "2")


def _write_vectors(folder: Path) -> None:
    vectors_NE = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(folder / "vectors.npy", vectors_NE)
    save_file({"vectors": vectors_NE}, folder / "vectors.safetensors", {"keys": json.dumps(KEYS)})
    pl.DataFrame({"key": KEYS, "vector": vectors_NE.tolist()}).write_parquet(folder / "vectors.parquet")
    (folder / "vectors.npy.keys.json").write_text(json.dumps(KEYS), encoding="utf-8")
    (folder / "keys.txt").write_text("\n".join(KEYS), encoding="utf-8")


def _write_codes(folder: Path) -> None:
    codes = {"a": [0, 1], "b": ["<a_1>", "<b_0>"], "1": [1, 1, 2], "2": [0, 1]}
    (folder / "codes.json").write_text(json.dumps(codes), encoding="utf-8")
    table = pl.DataFrame({"key": KEYS, "codes": [[0, 1], [1, 0], [1, 1, 2], [0, 1]]})
    table.write_parquet(folder / "codes.parquet")


def _encodes(file: str, keys: str | None = None) -> Callable[[Path], object]:
    texts = ("",) * len(KEYS)
    catalog, histories = Catalog(KEYS, texts, texts, ((),) * len(KEYS)), Histories.of([[0, 1, 2, 3]])

    def read(folder: Path) -> object:
        encoder = PrecomputedVectors(file=folder / file, keys=keys and folder / keys)
        encoder.input_files(WorkContext().environment)
        return encoder.encode(catalog, histories, context=WorkContext(seed=1)).notes

    return read


def _tokenizes(file: str, collisions: str = "suffix") -> Callable[[Path], object]:
    vectors = ItemVectors(np.zeros((len(KEYS), 2), np.float32), np.ones(len(KEYS), bool))

    def read(folder: Path) -> object:
        tokenizer = PrecomputedCodes(file=folder / file, collisions=collisions)
        return tokenizer.fit(vectors, keys=KEYS, context=WorkContext(seed=1)).notes

    return read


def _write_recipe(text: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        changes = ["streams.*.tokenizer.branching=4", "merge={type: confidence}", "training.max_epochs=3"]
        (folder / "changes.txt").write_text("\n".join([*changes, "seed=7", "baselines=[popularity]"]), encoding="utf-8")

    return write


def _loads_recipe(number_of_changes: int) -> Callable[[Path], object]:
    """Load a recipe with the first lines of ``changes.txt`` as ``--set``, and write it."""

    def read(folder: Path) -> object:
        file = folder / "changes.txt"
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").split("\n") if file.is_file() else []
        recipe = load_recipe(folder / "recipe.yaml", lines[:number_of_changes])
        recipe.to_yaml()
        return recipe.notes()

    return read


def _write_run(folder: Path) -> Path:
    return run_in(folder / "run", recipe_file(folder))


def _plan(folder: Path) -> object:
    with contextlib.redirect_stdout(io.StringIO()):
        return len(plan_comparison([folder / "run"], output=folder / "comparison").planned())


def _recommend(folder: Path) -> object:
    return len(Recommender(folder / "run").recommend([["item-1", "item-2"]], 5)[0])


def _candidates(folder: Path) -> object:
    return load_candidates(folder / "run" / "candidates" / "test.safetensors").streams


RUN = (
    lambda folder: repr(load_run(folder / "run")),
    _recommend,
    _plan,
    lambda folder: repr(list_runs(folder)),
    _candidates,
    lambda folder: sorted(RankFile.read(folder / "run").ranks),
    lambda folder: load_recipe(folder / "run" / "recipe.yaml").notes(),
)

_never_read = (".stages/", "report.", ".log", "lock")

READERS: dict[str, Reader] = {
    "recipe": Reader(
        [
            _write_recipe(RECIPE),
            *(_write_recipe(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "recipes").glob("*.yaml"))),
        ],
        [_loads_recipe(0), _loads_recipe(1), _loads_recipe(5)],
    ),
    "table_csv": _table(".csv", table_files.write_table_csv),
    "table_tsv": _table(".tsv", table_files.write_table_tsv),
    "table_parquet": _table(".parquet", table_files.write_table_parquet),
    "recbole": Reader(
        [lambda folder: table_files.write_recbole(folder, ROWS)],
        [
            _loads(RecBole(core=0)),
            _loads(RecBole(core=0, broken_rows="skip", column_fields=("class",), unsold_items="keep")),
            _loads(RecBole(core=2, min_rating=2, time_format="%Y-%m-%d", title_field="movie_title")),
        ],
    ),
    "movielens": Reader(
        [
            lambda folder: table_files.write_movielens_100k(folder, NUMBERED),
            lambda folder: table_files.write_movielens_1m(folder, NUMBERED),
            lambda folder: table_files.write_movielens_10m(folder, NUMBERED),
            lambda folder: table_files.write_movielens(folder, NUMBERED),
        ],
        [_loads(MovieLens(core=0)), _loads(MovieLens(core=0, min_rating=3, duplicates="drop", held_out_tags="keep"))],
    ),
    "sequences": Reader([_write_sequences], [_loads(Sequences()), _loads(Sequences(unused_items="keep"))]),
    "amazon": Reader(
        [_write_amazon],
        [
            *(_loads(AmazonReviews(category=name, core=0)) for name in ("Old", "Mid", "New")),
            _loads(AmazonReviews(category="Core", core=0, metadata=False)),
            _loads(AmazonReviews(category="Old", core=0, broken_lines="skip", duplicates="drop")),
            _loads(AmazonReviews(category="New", core=0, broken_lines="skip", max_images=None, min_rating=2)),
        ],
    ),
    "yelp": Reader(
        [_write_yelp], [_loads(Yelp(core=0)), _loads(Yelp(core=0, year=None, broken_lines="skip", min_stars=2))]
    ),
    "vectors": Reader(
        [_write_vectors],
        [
            *(_encodes(f"vectors.{kind}") for kind in ("npy", "safetensors", "parquet")),
            *(_encodes(f"vectors.{kind}", "keys.txt") for kind in ("npy", "safetensors")),
        ],
    ),
    "codes": Reader(
        [_write_codes], [_tokenizes("codes.json"), _tokenizes("codes.parquet"), _tokenizes("codes.json", "error")]
    ),
    "run": Reader([_write_run], RUN, lambda name: any(part in name for part in _never_read)),
    "run_without_checksums": Reader(
        [lambda folder: forget_checksums(_write_run(folder))],
        RUN,
        lambda name: any(part in name for part in _never_read),
    ),
}
"""By name on the command line."""
