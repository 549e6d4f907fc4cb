"""Exports on a model hub are downloaded by the hub's own client, from a server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genrec
from genrec.errors import DataError, GenrecError
from genrec.serving.hub import run_folder
from genrec.serving.recommender import Recommender
from tests.hub_server import COMMIT, HubServer, serve_hub

ROOT = Path(__file__).parents[2]
WITHOUT_HUB = "huggingface_hub is not installed: pip install 'genrec[text]'"


@pytest.fixture(scope="module", name="hub")
def _hub(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A hub with an export of the small run, to which somebody added code."""
    pytest.importorskip("huggingface_hub", reason=WITHOUT_HUB)
    folder = genrec.export(small_run, tmp_path_factory.mktemp("hub") / "x", images=True)
    for name in ("plugins/evil.py", "evil.py", "streams/evil.py", "images/evil.py", "model.pkl", "setup.sh"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise SystemExit('code of the repository ran')", encoding="utf-8")
    with serve_hub(folder) as server:
        yield server


def in_new_process(code: str, home: Path, url: str) -> str:
    """What a program prints whose hub is at this address; ``huggingface_hub`` reads that when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=home, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ADDRESSES = """
import json
from pathlib import Path
from genrec.errors import GenrecError
from genrec.serving.hub import run_folder
for address, images in json.loads(%r):
    try:
        folder = run_folder(address, images=images)
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        print(json.dumps([str(folder), names]))
    except GenrecError as error:
        print(json.dumps(str(error)))
"""


def folders_of(addresses: list[tuple[str, bool]], home: Path, url: str) -> list[object]:
    printed = in_new_process(ADDRESSES % json.dumps(addresses), home, url)
    return [json.loads(line) for line in printed.splitlines()]


@pytest.mark.slow
def test_a_run_on_the_hub_recommends(hub: HubServer, small_run: Path, tmp_path: Path) -> None:
    code = (
        "import genrec\n"
        "from genrec.cli import main\n"
        "run = genrec.load_run('hf://shop/model')\n"
        "print(run.conclusion)\n"
        "assert main(['recommend', 'hf://shop/model@v1', '--history', 'item-3', '--json', '--device', 'cpu']) == 0\n"
    )
    first, *rest = in_new_process(code, tmp_path, hub.url).split("\n", 1)
    assert first == genrec.load_run(small_run).conclusion
    keys = [item["key"] for item in json.loads(rest[0])]
    assert keys == Recommender.load(small_run, device="cpu").recommend(["item-3"]).item_keys()[0]


@pytest.mark.slow
def test_data_are_downloaded_once_and_code_never(hub: HubServer, tmp_path: Path) -> None:
    hub.downloaded.clear()
    addresses = [("hf://shop/model", False), ("hf:/shop/model/", False), (f"hf://shop/model@{COMMIT}", True)]
    (folder, names), second, (third, more) = folders_of(addresses, tmp_path, hub.url)  # type: ignore[misc]
    assert second == [folder, names]
    assert third == folder
    assert set(more) - set(names) == {"images/00000.safetensors"}
    assert {"run.json", "model.safetensors", "streams/text/ids.safetensors"} <= set(names)
    assert sorted(hub.downloaded) == sorted(more)
    assert not [name for name in more if not name.endswith((".json", ".safetensors", ".yaml", ".md", ".svg", ".txt"))]
    elsewhere = "http://127.0.0.1:9"  # nobody listens there
    [[cached, _]] = folders_of([("hf://shop/model", False)], tmp_path, elsewhere)  # type: ignore[misc]
    assert cached == folder


@pytest.mark.slow
def test_what_cannot_be_downloaded_is_one_error(hub: HubServer, tmp_path: Path) -> None:
    addresses = [("hf://shop/nothing", False), ("hf://shop/model@v9", False)]
    for (address, _), found in zip(addresses, folders_of(addresses, tmp_path, hub.url), strict=True):
        assert isinstance(found, str)
        assert found.startswith(f"{address}: cannot be downloaded (")
        assert found.endswith(
            "expected a repository with an export of genrec: check the name, the revision, the connection and, for a "
            "private one, the token (hf auth login)"
        )
    [found] = folders_of([("hf://shop/model", False)], tmp_path / "..", "http://127.0.0.1:9")
    assert isinstance(found, str)
    assert found.startswith("hf://shop/model: cannot be downloaded (")


@pytest.mark.slow
def test_a_repository_without_an_export_is_one_error(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason=WITHOUT_HUB)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("Some other model", encoding="utf-8")
    with serve_hub(tmp_path / "other") as server:
        [found] = folders_of([("hf://shop/model", False)], tmp_path, server.url)
    assert found == "hf://shop/model: has no run.json, expected what `genrec export` wrote"


@pytest.mark.parametrize("address", ["hf://shop", "hf://", "hf://a/b/c", "hf://a/b@", "hf:/"])
def test_an_address_names_user_and_repository(address: str) -> None:
    for path in (address, Path(address)):
        with pytest.raises(DataError, match=r"^hf://.*: expected hf://user/name, or hf://user/name@revision "):
            run_folder(path)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    for path in (tmp_path, str(tmp_path), "runs/shop", "hf"):
        assert run_folder(path) == Path(path)


def test_without_the_hubs_client_there_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(GenrecError) as caught:
        genrec.load_run("hf://shop/model@v1")
    assert str(caught.value) == "hf://shop/model@v1: huggingface_hub is not installed: pip install huggingface_hub"
