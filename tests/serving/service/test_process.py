"""``genrec serve`` as a process: its first line, many clients at once, its limits, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest

from genrec.runtime.environment import Environment
from genrec.serving.recommender import Recommender
from tests.serving.service.conftest import served_process

pytestmark = pytest.mark.slow

SLOW = """
import time
from genrec.plugin import Merge, merges

@merges.register("slow_round_robin")
class Slow(Merge):
    '''Takes its time for a batch.'''

    def merge(self, candidates, *, top_n):
        time.sleep(0.4)
        return merges.get("round_robin")().merge(candidates, top_n=top_n)
"""


@pytest.fixture(name="slow_folder")
def _slow_folder(tmp_path: Path) -> Path:
    """A working folder with a plugin: a merge that takes its time."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "slow_round_robin.py").write_text(SLOW, encoding="utf-8")
    return tmp_path


def test_lists_of_many_clients_are_those_of_the_recommender(small_run: Path) -> None:
    recommender = Recommender(small_run, environment=Environment("cpu"))
    histories = [[f"item-{1 + n % 60}", f"item-{1 + 7 * n % 60}"] for n in range(96)]
    settings = [{"k": 5 + n % 3, "seen": ("filter", "keep")[n % 2], "explain": n % 4 == 0} for n in range(96)]
    with served_process(small_run, options=("--no-images",)) as served, httpx.Client(base_url=served.url) as client:

        def ask(n: int) -> list[str]:
            answer = client.post("/recommend", json={"history": histories[n], **settings[n]}, timeout=60)
            assert answer.status_code == 200, answer.text
            return [item["key"] for item in answer.json()["results"][0]["items"]]

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(ask, range(96)))
        metrics = client.get("/metrics").text
        key = client.get("/items/item%2D7").json()["key"]
    expected = [recommender.recommend(h, **s).item_keys()[0] for h, s in zip(histories, settings, strict=True)]  # type: ignore[arg-type]
    assert found == expected
    assert "genrec_batch_histories_sum 96.0" in metrics
    assert key == "item-7"


def in_progress(url: str) -> float:
    """Number of requests in progress, this one included."""
    found = re.search(r"^genrec_requests_in_progress (.+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_sigterm_loses_no_accepted_request(small_run: Path, slow_folder: Path) -> None:
    body = {"history": ["item-1"], "merge": "slow_round_robin"}
    with served_process(small_run, options=("--no-images", "--max-batch", "1"), folder=slow_folder) as served:
        statuses: Counter[int | str] = Counter()

        def ask(_: int) -> None:
            try:
                statuses[httpx.post(f"{served.url}/recommend", json=body, timeout=60).status_code] += 1
            except httpx.ConnectError:
                statuses["refused"] += 1

        with ThreadPoolExecutor(8) as pool:
            first = [pool.submit(ask, n) for n in range(8)]
            until = time.monotonic() + 30
            while in_progress(served.url) < 5:
                assert time.monotonic() < until
            served.process.send_signal(signal.SIGTERM)
            for future in first:
                future.result()
        assert statuses[200] >= 4
        assert statuses[200] + statuses["refused"] == 8, "what was not refused was answered"
        assert served.process.wait(timeout=30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(served.url)
        _, errors = served.process.communicate()
        assert "Traceback" not in errors


def test_sigterm_under_load_answers_whatever_was_sent(small_run: Path) -> None:
    """Clients that send one request after the other on one connection, while the process is stopped."""
    is_over = threading.Event()
    with served_process(small_run, options=("--no-images",)) as served:
        lost: list[Exception] = []
        done = Counter[int]()

        def ask_on() -> None:
            with httpx.Client(base_url=served.url) as client:
                while not is_over.is_set():
                    try:
                        done[client.post("/recommend", json={"history": ["item-1"]}, timeout=60).status_code] += 1
                    except httpx.ConnectError:
                        return
                    except Exception as error:
                        lost.append(error)
                        return

        threads = [threading.Thread(target=ask_on) for _ in range(6)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 30
        while done[200] <= 12:
            assert time.monotonic() < until
            time.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(timeout=30) == 0
        is_over.set()
        for thread in threads:
            thread.join()
    assert lost == []
    assert {*done} <= {200, 503}


def test_ctrl_c_ends_it_too(small_run: Path) -> None:
    with served_process(small_run, options=("--no-images",)) as served:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(timeout=30) == 0


def test_beyond_the_limits_requests_are_refused_in_time(small_run: Path, slow_folder: Path) -> None:
    body = {"histories": [["item-1"]] * 8, "merge": "slow_round_robin"}
    plugin = slow_folder / "plugins" / "slow_round_robin.py"
    plugin.write_text(SLOW.replace("time.sleep(0.4)", "time.sleep(1.0)"), encoding="utf-8")
    limits = ("--no-images", "--max-batch", "8", "--queue", "64", "--deadline", "4.0")
    with served_process(small_run, options=limits, folder=slow_folder) as served:
        answers: list[httpx.Response] = []

        def ask(_: int) -> float:
            began = time.monotonic()
            answers.append(httpx.post(f"{served.url}/recommend", json=body, timeout=60))
            return time.monotonic() - began

        with ThreadPoolExecutor(40) as pool:
            seconds = list(pool.map(ask, range(40)))
        statuses = Counter(answer.status_code for answer in answers)
        assert {*statuses} == {200, 429, 503}, statuses
        assert max(seconds) < 20
        for answer in answers:
            if answer.status_code != 200:
                assert answer.headers["retry-after"] == "1"
                assert "try again later" in answer.json()["detail"]
        quiet = time.monotonic() + 40
        while httpx.post(f"{served.url}/recommend", json=body, timeout=60).status_code != 200:
            assert time.monotonic() < quiet
        metrics = httpx.get(f"{served.url}/metrics").text
    begun = float(metrics.split("genrec_batch_histories_sum ")[1].split()[0])
    assert begun < 8 * 41, "expired requests are not computed"


def test_a_client_that_sends_nothing_blocks_nobody(small_run: Path) -> None:
    with served_process(small_run, options=("--no-images",)) as served:
        address = urlparse(served.url)
        assert address.hostname is not None
        silent = [socket.create_connection((address.hostname, address.port or 0)) for _ in range(50)]
        for connection in silent[:25]:
            connection.sendall(b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        assert httpx.post(f"{served.url}/recommend", json={"history": ["item-1"]}, timeout=60).status_code == 200
        for connection in silent:
            connection.close()
        assert httpx.get(f"{served.url}/ready").status_code == 200


def test_other_addresses_without_a_key_are_warned_of(small_run: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("correct-horse\n", encoding="utf-8")
    for options, is_warned in (
        (("--host", "0.0.0.0"), True),
        (("--host", "0.0.0.0", "--api-key-file", str(key)), False),
    ):
        with served_process(small_run, options=("--no-images", *options)) as served:
            url = served.url.replace("0.0.0.0", "127.0.0.1")
            status = httpx.get(f"{url}/runs").status_code
            served.process.send_signal(signal.SIGTERM)
            _, errors = served.process.communicate(timeout=30)
        assert ("without an API key" in errors) == is_warned
        assert status == (200 if is_warned else 401)


def test_requests_are_logged_only_on_demand(small_run: Path) -> None:
    for options, is_logged in (((), False), (("--verbose",), True)):
        with served_process(small_run, options=("--no-images", *options)) as served:
            httpx.get(f"{served.url}/items?q=secret")
            served.process.send_signal(signal.SIGTERM)
            output, errors = served.process.communicate(timeout=30)
        assert ("GET /items" in output + errors) == is_logged
        assert "Traceback" not in errors
