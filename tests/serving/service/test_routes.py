"""The routes give what the recommender and the files of the run say, and refuse what they must with a clear text."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import genrec
from genrec.reporting.report import read_metrics
from genrec.serving.images import ItemImages
from genrec.serving.recommender import Recommender
from genrec.serving.service import app
from tests.damaged_files import forget_checksums
from tests.serving.service.conftest import serving

HISTORIES = [["item-1", "item-7"], ["item-20"], ["item-3", "no such item", "item-9"], [], ["?"]]


def ask(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3},
        {"seen": "keep"},
        {"seen": None, "k": 60},
        {"exclude": ["item-57", "no such item"]},
        {"merge": "log_prob_sum"},
        {"merge": "visual"},
        {"explain": False},
    ],
    ids=str,
)
def test_lists_are_those_of_the_recommender(client: TestClient, recommender: Recommender, options: Any) -> None:
    results = ask(client, histories=HISTORIES, **options)
    expected = recommender.recommend(HISTORIES, **options)
    assert [found["unknown"] for found in results] == list(expected.unknown)
    assert [found["fallback"] for found in results] == list(expected.is_fallback)
    for found, items in zip(results, expected, strict=True):
        assert [item["key"] for item in found["items"]] == [item.key for item in items]
        for of_service, item in zip(found["items"], items, strict=True):
            assert (of_service["title"], of_service["score"]) == (item.title, pytest.approx(item.score))
            assert list(of_service["streams"]) == list(item.streams)
            for name, vote in item.streams.items():
                assert of_service["streams"][name] == {
                    "rank": vote.rank,
                    "log_prob": vote.log_prob and pytest.approx(vote.log_prob),
                    "share": pytest.approx(vote.share),
                    "semantic_id": vote.semantic_id and list(vote.semantic_id),
                    "neighbors": list(vote.neighbors),
                }


def test_one_history_is_the_first_of_several(client: TestClient, recommender: Recommender) -> None:
    title = recommender.titles[recommender.row("item-1")]
    [alone] = ask(client, history=[title, "item-7"])
    first = ask(client, histories=HISTORIES)[0]
    assert [item["key"] for item in alone["items"]] == [item["key"] for item in first["items"]]


def test_runs_are_described(client: TestClient, recommender: Recommender, small_run: Path) -> None:
    [run] = client.get("/runs").json()
    assert (run["name"], run["title"], run["items"], run["dataset"]) == (
        "run",
        recommender.recipe.title,
        60,
        "showroom",
    )
    assert (run["merge"], run["seen"], run["images"]) == ("confidence", "keep", "available")
    assert run["merges"] == recommender.merge_names()
    assert [stream["name"] for stream in run["streams"]] == ["behavior", "text", "visual"]
    for stream in run["streams"]:
        trie = recommender.tries[stream["name"]]
        assert (stream["levels"], stream["vocabulary_sizes"]) == (trie.num_levels, list(trie.vocabulary_sizes))
        assert stream["writes_codes"]
        assert stream["has_vectors"]
    stored = read_metrics(small_run)["methods"]
    assert [method["name"] for method in run["metrics"]] == [method["name"] for method in stored]
    assert run["metrics"][0]["metrics"]["NDCG@10"] == stored[0]["ndcg"]["10"]
    for merge in [*run["merges"], *(stream["name"] for stream in run["streams"])]:
        ask(client, history=["item-1"], merge=merge)


def test_items_are_searched_and_paged(client: TestClient, recommender: Recommender) -> None:
    every = client.get("/items", params={"limit": 1000}).json()
    assert every["total"] == len(every["items"]) == 60
    counts = [item["count"] for item in every["items"]]
    assert counts == sorted(counts, reverse=True)
    assert recommender.counts_I is not None
    assert sum(counts) == recommender.counts_I.sum()
    page = client.get("/items", params={"limit": 7, "offset": 55}).json()
    assert page == {"items": every["items"][55:], "total": 60}
    word = recommender.titles[0].split()[0]
    found = client.get("/items", params={"q": word.upper()}).json()
    assert found["total"] == sum(word.casefold() in title.casefold() for title in recommender.titles)
    assert client.get("/items", params={"q": "item-17"}).json()["items"][0]["key"] == "item-17"
    assert client.get("/items", params={"q": "no such item"}).json() == {"items": [], "total": 0}


def test_an_item_has_its_semantic_ids(client: TestClient, recommender: Recommender) -> None:
    item = client.get("/items/item-7").json()
    row = recommender.row("item-7")
    assert (item["key"], item["title"]) == ("item-7", recommender.titles[row])
    for name, codes in item["semantic_ids"].items():
        assert codes == recommender.streams[name].ids.codes_IL[row].tolist()
    assert client.get(f"/items/{item['title']}").json() == item


def test_similar_items_are_those_of_the_largest_cosine(client: TestClient, recommender: Recommender) -> None:
    for stream in ("behavior", "text", "visual"):
        context = recommender.streams[stream]
        for key in ("item-7", "item-20"):
            found = client.get(f"/similar/{key}", params={"stream": stream, "k": 5}).json()
            row = recommender.row(key)
            vectors_IE = context.vectors.vectors_IE.astype(np.float64)
            if not context.vectors.present_I[row]:
                assert found["items"] == []
                continue
            lengths_I = np.linalg.norm(vectors_IE, axis=1)
            with np.errstate(invalid="ignore"):
                cosine_I = np.nan_to_num(vectors_IE @ vectors_IE[row] / lengths_I / lengths_I[row])
            others = [other for other in np.flatnonzero(context.vectors.present_I) if other != row]
            best = sorted((cosine_I[other] for other in others), reverse=True)[:5]
            assert [item["cosine"] for item in found["items"]] == pytest.approx(best, abs=1e-5)
            for item in found["items"]:
                other = recommender.row(item["key"])
                assert item["cosine"] == pytest.approx(cosine_I[other], abs=1e-5)
                codes, own = context.ids.codes_IL[other].tolist(), context.ids.codes_IL[row].tolist()
                assert item["semantic_id"] == codes
                shared = next((place for place in range(len(codes)) if codes[place] != own[place]), len(codes))
                assert item["shared_codes"] == shared
    assert client.get("/similar/item-7").json()["stream"] == "behavior"
    assert len(client.get("/similar/item-7", params={"k": 200}).json()["items"]) == 59


def walk(client: TestClient, stream: str, prefix: Sequence[int]) -> dict[tuple[int, ...], str]:
    """The item of every leaf below a node; checks the counts on the way."""
    node = client.get(f"/tree/{stream}", params={"prefix": ",".join(map(str, prefix))}).json()
    assert node["prefix"] == list(prefix)
    assert [child["code"] for child in node["children"]] == sorted(child["code"] for child in node["children"])
    leaves: dict[tuple[int, ...], str] = {}
    for child in node["children"]:
        path = (*prefix, child["code"])
        if child["is_leaf"]:
            leaves[path] = child["examples"][0]["key"]
        else:
            below = walk(client, stream, path)
            assert child["num_items"] == len(below)
            assert {item["key"] for item in child["examples"]} <= {*below.values()}
            assert len(child["examples"]) == min(3, len(below))
            leaves |= below
    assert node["num_items"] == len(leaves)
    return leaves


def test_the_tree_leads_to_every_item_with_codes(client: TestClient, recommender: Recommender) -> None:
    for stream in ("behavior", "visual"):
        ids = recommender.streams[stream].ids
        expected = {tuple(ids.codes_IL[row].tolist()): recommender.keys[row] for row in np.flatnonzero(ids.present_I)}
        assert walk(client, stream, ()) == expected


def test_a_tree_has_pages_and_the_path_of_an_item(client: TestClient, recommender: Recommender) -> None:
    whole = client.get("/tree/text").json()
    page = client.get("/tree/text", params={"limit": 2, "offset": 1, "item": "item-7"}).json()
    assert page["children"] == whole["children"][1:3]
    assert (page["total"], page["num_items"]) == (len(whole["children"]), 60)
    assert page["path"] == recommender.streams["text"].ids.codes_IL[recommender.row("item-7")].tolist()
    path = ",".join(map(str, page["path"]))
    leaf = client.get("/tree/text", params={"prefix": path}).json()
    assert (leaf["num_items"], leaf["total"], leaf["children"]) == (1, 0, [])


def test_images_are_thumbnails(client: TestClient, recommender: Recommender) -> None:
    items = client.get("/items", params={"limit": 1000}).json()["items"]
    with_image = [item for item in items if item["image"]]
    without = [item for item in items if not item["image"]]
    assert len(with_image) > 30
    assert without, "the showroom leaves out some images"
    answer = client.get(f"/{with_image[0]['image']}&size=40")
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(answer.content)).size) == 40
    assert client.get(f"/{with_image[0]['image']}&size=40").content == answer.content
    refused = client.get(f"/images/{without[0]['key']}")
    assert (refused.status_code, refused.json()["detail"]) == (
        404,
        "the item has no image, or images are not available",
    )
    [found] = ask(client, history=["item-1"], k=60)
    assert {item["key"]: item["image"] for item in found["items"]}.items() <= {
        i["key"]: i["image"] for i in items
    }.items()


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "words"),
    [
        ("POST", "/recommend", {"json": {"history": ["item-1"], "k": 0}}, 422, "k: found 0; input should be greater"),
        ("POST", "/recommend", {"json": {"history": [], "k": 10**9}}, 422, "k: found 1000000000; input should be less"),
        (
            "POST",
            "/recommend",
            {"json": {"history": [], "k": "5"}},
            422,
            "k: found '5'; input should be a valid integer",
        ),
        ("POST", "/recommend", {"json": {"history": ["a"] * 1001}}, 422, "history: list should have at most 1000"),
        ("POST", "/recommend", {"json": {"histories": [["a"]] * 65}}, 422, "histories: list should have at most 64"),
        ("POST", "/recommend", {"json": {"histories": []}}, 422, "histories: list should have at least 1"),
        ("POST", "/recommend", {"json": {"history": [], "exclude": ["a"] * 1001}}, 422, "exclude: list should have at"),
        ("POST", "/recommend", {"json": {"history": ["a" * 1001]}}, 422, "history.0: found 'aaa"),
        ("POST", "/recommend", {"json": {"history": [1]}}, 422, "history.0: found 1; input should be a valid string"),
        (
            "POST",
            "/recommend",
            {"json": {"history": "item-1"}},
            422,
            "history: found 'item-1'; input should be",
        ),
        ("POST", "/recommend", {"json": {"history": None}}, 422, "history: found None; input should be a valid array"),
        ("POST", "/recommend", {"json": {}}, 422, "body: expected either history or histories"),
        ("POST", "/recommend", {"json": {"history": [], "histories": [[]]}}, 422, "expected either history or hist"),
        ("POST", "/recommend", {"json": {"history": [], "topk": 3}}, 422, "topk: found 3; extra inputs are not"),
        (
            "POST",
            "/recommend",
            {"json": {"history": [], "seen": "no"}},
            422,
            "seen: found 'no'; input should be 'filt",
        ),
        ("POST", "/recommend", {"json": [1]}, 422, "body: input should be an object"),
        (
            "POST",
            "/recommend",
            {"json": {"history": [], "merge": "x"}},
            404,
            "merge: found 'x', expected one of con",
        ),
        ("POST", "/recommend", {"json": {"history": [], "merge": "learned"}}, 404, "merge: found 'learned'"),
        ("POST", "/recommend", {"json": {"history": [], "run": "x"}}, 404, "run: found 'x', expected one of run"),
        ("POST", "/recommend?run=x", {"json": {"history": []}}, 404, "run: found 'x', expected one of run"),
        ("POST", "/recommend", {"content": b'{"history": ['}, 415, "Content-Type: expected application/json"),
        ("GET", "/recommend", {}, 405, "Method Not Allowed"),
        ("GET", "/items?run=x", {}, 404, "run: found 'x', expected one of run"),
        ("GET", "/items?limit=0", {}, 422, "limit: found '0'; input should be greater than or equal to 1"),
        ("GET", "/items?limit=x", {}, 422, "limit: found 'x'; input should be a valid integer"),
        ("GET", f"/items?q={'a' * 201}", {}, 422, "q: found 'aaaa"),
        ("GET", "/items/x", {}, 404, "item: found 'x', expected the key of an item; GET /items searches titles"),
        ("GET", f"/items/{'x' * 200}", {}, 404, "xxx..., expected the key"),
        ("GET", "/similar/x", {}, 404, "item: found 'x'"),
        (
            "GET",
            "/similar/item-1?stream=x",
            {},
            404,
            "stream: found 'x', expected one with item vectors: behavior",
        ),
        ("GET", "/similar/item-1?k=201", {}, 422, "k: found '201'"),
        ("GET", "/tree/x", {}, 404, "stream: found 'x', expected one that generates codes: behavior, text, visual"),
        ("GET", "/tree/text?prefix=999", {}, 404, "prefix: 999 leads to no node of stream text"),
        ("GET", "/tree/text?prefix=0,0,0", {}, 404, "prefix: 0,0,0 leads to no node of stream text"),
        ("GET", "/tree/text?prefix=a", {}, 422, "prefix: found 'a'; string should match pattern"),
        ("GET", "/tree/text?item=x", {}, 404, "item: found 'x'"),
        ("GET", "/images/x", {}, 404, "item: found 'x'"),
        ("GET", "/images/item-1?size=100000", {}, 422, "size: found '100000'"),
        ("GET", "/no/such/route", {}, 404, "Not Found"),
        ("GET", "/docs", {}, 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_said(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int, words: str
) -> None:
    answer = client.request(method, path, **options)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"history": ["item-1",', "body: invalid JSON: EOF while parsing a value at line 1 column 22"),
        (b'{"history": [],\n "k": nul}', "body: invalid JSON: expected ident at line 2 column 10"),
        (b"", "body: invalid JSON: EOF while parsing"),
        (b"\xff\xfe", "body: invalid JSON"),
        (b'{"history": ["\\ud800"]}', "body: invalid JSON"),
        (b"[" * 100_000, "body: invalid JSON: recursion limit exceeded"),
        (b'{"history": [], "k": 1e400}', "k: found inf; input should be a valid integer"),
        (b'{"history": [], "k": NaN}', "k: "),
    ],
)
def test_malformed_json_is_refused_with_its_place(client: TestClient, body: bytes, words: str) -> None:
    answer = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def renamed(run: Path, folder: Path, names: dict[int, tuple[str, str]], *, with_counts: bool = True) -> Path:
    """A copy of a run in which some items have other keys and titles."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(".stages"))
    forget_checksums(folder)
    items = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    for row, (key, title) in names.items():
        items["keys"][row], items["titles"][row] = key, title
    if not with_counts:
        del items["counts"]
    (folder / "items.json").write_text(json.dumps(items), encoding="utf-8")
    return folder


def test_several_runs_and_odd_names(small_run: Path, tmp_path: Path) -> None:
    odd = {0: ("a/b?c=d#e f", "<script>alert(1)</script>"), 1: ("\u00e4\u6f22", ""), 2: ("..", "two dots")}
    other = renamed(small_run, tmp_path / "x" / "run", odd)
    third = renamed(small_run, tmp_path / "old", {}, with_counts=False)
    with serving(small_run, other, third, images=True) as client:
        names = [run["name"] for run in client.get("/runs").json()]
        assert names == [f"{small_run.parent.name}/run", "x/run", "old"]
        item = client.get("/items/a%2Fb%3Fc%3Dd%23e%20f", params={"run": "x/run"}).json()
        assert (item["key"], item["title"]) == odd[0]
        assert client.get("/items/\u00e4\u6f22", params={"run": "x/run"}).json()["title"] == ""
        assert client.get("/items/\u00e4\u6f22").status_code == 404
        body = {"history": [odd[0][0]], "k": 60, "run": "x/run", "seen": "keep"}
        answer = client.post("/recommend", json=body).json()
        assert answer == client.post("/recommend?run=x/run", json={**body, "run": None}).json()
        assert answer["run"] == "x/run"
        assert odd[0] in [(item["key"], item["title"]) for item in answer["results"][0]["items"]]
        images = client.get("/items", params={"run": "x/run", "limit": 100}).json()["items"]
        assert all(item["image"] is None for item in images if item["key"] == odd[0][0]), "not in the dataset"
        assert client.get(f"/{next(item['image'] for item in images if item['image'])}").status_code == 200

        assert all(item["count"] is None for item in client.get("/items", params={"run": "old"}).json()["items"])
        refused = client.post("/recommend", json={"history": [], "run": "old"})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("a history has no known item, and this run of an earlier version")
        assert client.post("/recommend", json={"history": ["item-3"], "run": "old"}).status_code == 200


def test_a_service_without_images(small_run: Path) -> None:
    with serving(small_run, images=False) as client:
        assert client.get("/runs").json()[0]["images"] == "none"
        assert client.get("/images/item-7").status_code == 404
        assert all(item["image"] is None for item in client.get("/items").json()["items"])


def test_an_export_is_served_with_its_own_images(small_run: Path, tmp_path: Path) -> None:
    exported = genrec.export(small_run, tmp_path / "model", images=True)
    own = ItemImages(exported)
    with serving(exported, images=True) as client, serving(small_run) as of_run:
        items = client.get("/items", params={"limit": 100}).json()["items"]
        assert [item["key"] for item in items if not item["image"]], "the showroom leaves out some images"
        for item in items:
            row = int(item["key"].removeprefix("item-")) - 1
            assert bool(item["image"]) == own.has(row)
            if item["image"]:
                assert client.get(f"/{item['image']}").content == own.jpeg(row)
        answers = [of.post("/recommend", json={"history": ["item-1"]}).json()["results"] for of in (client, of_run)]
        keys = [[item["key"] for item in answer[0]["items"]] for answer in answers]
    assert keys[0] == keys[1]


def test_metrics_count_requests_and_batches(small_run: Path) -> None:
    with serving(small_run) as client:
        client.post("/recommend", json={"histories": [["item-1"], ["item-2"]]})
        client.get("/items/x")
        text = client.get("/metrics").text
    assert 'genrec_requests_total{route="/recommend",status="200"} 1.0' in text
    assert 'genrec_requests_total{route="/items/{key:path}",status="404"} 1.0' in text
    assert 'genrec_request_seconds_count{route="/recommend"} 1.0' in text
    assert "genrec_batch_histories_sum 2.0" in text
    assert "genrec_waiting_histories 0.0" in text
    assert "genrec_requests_in_progress 1.0" in text, "this one"


def test_the_page_is_sent_with_strict_headers(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "icons").mkdir()
    for name, text in (("index.html", "<p>page"), ("app.js", "1"), ("icons/a.svg", "<svg/>"), ("notes.txt", "secret")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(app, "PAGE", tmp_path)
    with serving(small_run, api_key="correct-horse") as client:
        page = client.get("/")
        assert (page.status_code, page.text) == (200, "<p>page")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert client.get("/app.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/icons/a.svg").status_code == 200
        assert client.get("/notes.txt").status_code == 401
        assert client.get("/../pyproject.toml").status_code == 401


def test_without_a_page_the_root_names_the_api(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PAGE", tmp_path / "none")
    with serving(small_run) as client:
        answer = client.get("/")
    assert answer.status_code == 404
    assert "/openapi.json" in answer.text
