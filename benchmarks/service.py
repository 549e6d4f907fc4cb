"""Load test of ``genrec serve`` on loopback: latency and throughput with and without batches, and beyond its limits.

``python benchmarks/service.py RUN [--data DIR] [--output FILE]``. Clients wait for each answer before they ask again.
The time of the server is measured as CPU-seconds of its process, so that clients on the same machine do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _results import Cell, Result, Table, give, read_conditions, say_load

from genrec.experiment.dataset import load_dataset
from genrec.experiment.run_folder import RunFolder
from genrec.runtime.environment import Environment
from genrec.serving.recommender import Recommender

CLIENTS = (1, 8, 64)
_PATIENCE = 60.0
"""Seconds after which a request counts as one that hangs."""


@dataclass
class Load:
    """What some clients saw."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    """By status, and ``failed`` for connections that broke or hung."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of the answers with status 200."""
    refusals: list[float] = field(default_factory=list)
    """Seconds of all other answers."""
    cpu_seconds: float = 0.0
    """Of the server."""

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return 1000 * float(np.percentile(self.latencies, share)) if self.latencies else float("nan")


@contextlib.contextmanager
def running_server(run: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A server of a run on a free port: its host and port. It is ended by SIGTERM.

    Raises:
        RuntimeError: it does not start, or does not end with status 0.
    """
    command = [sys.executable, "-m", "genrec.cli", "serve", str(run), "--port", "0", "--no-images", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://(.+):(\d+)", process.stdout.readline())
        if found is None:
            raise RuntimeError(f"{' '.join(command)}: did not start")
        host, port = found[1], int(found[2])
        until = time.monotonic() + 300
        while asyncio.run(ask(host, port, b"GET", b"/ready"))[0] != 200:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)}: was not ready")
            time.sleep(0.1)
        yield host, port
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=60)
    if status:
        raise RuntimeError(f"{' '.join(command)}: ended with status {status}")


async def ask(host: str, port: int, method: bytes, path: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await exchange(reader, writer, b"%b %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % (method, path))
    finally:
        writer.close()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """Send a request; the status and the body of its answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return int(head[9:12]), await reader.readexactly(int(length[1])) if length else b""


def post(body: bytes) -> bytes:
    """A request to recommend."""
    head = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


async def client(host: str, port: int, requests: Sequence[bytes], until: float, load: Load) -> None:
    """Ask one request after the other on one connection, which is opened again if it breaks."""
    connection = None
    for request in requests:
        if time.perf_counter() > until:
            break
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = connection or await asyncio.open_connection(host, port)
                status, _ = await exchange(*connection, request)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            connection = None
            load.statuses["failed"] += 1
            continue
        load.statuses[str(status)] += 1
        (load.latencies if status == 200 else load.refusals).append(time.perf_counter() - began)
    if connection is not None:
        connection[1].close()


async def cpu_seconds(host: str, port: int) -> float:
    """CPU-seconds of the server since its start."""
    _, text = await ask(host, port, b"GET", b"/metrics")
    found = re.search(rb"^process_cpu_seconds_total ([\d.e+-]+)", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


async def put_load(host: str, port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Let some clients ask for some seconds; each starts at another request."""
    load = Load()
    before, began = await cpu_seconds(host, port), time.perf_counter()
    starts = [len(requests) * number // clients for number in range(clients)]
    work = [client(host, port, [*requests[start:], *requests[:start]] * 100, began + seconds, load) for start in starts]
    await asyncio.gather(*work)
    load.seconds = time.perf_counter() - began
    load.cpu_seconds = await cpu_seconds(host, port) - before
    return load


def recommender_speed(recommender: Recommender, histories: Sequence[Sequence[str]], seconds: float) -> float:
    """Users per CPU-second of :meth:`Recommender.recommend` at 64 histories."""
    recommender.recommend(histories[:64])
    users, start, began = 0, 0, time.process_time()
    while time.process_time() - began < seconds:
        users += len(recommender.recommend(histories[start : start + 64]))
        start = (start + 64) % (len(histories) - 63)
    return users / (time.process_time() - began)


def measure(run: Path, histories: list[list[str]], seconds: float, options: Sequence[str]) -> list[Table]:
    """The tables of the load test."""
    requests = [post(json.dumps({"history": history}).encode()) for history in histories]
    recommender = Recommender(run, environment=Environment("cpu"))
    rows: list[list[Cell]] = []
    speeds = [recommender_speed(recommender, histories, seconds / 2)]
    throughput, per_cpu = {}, {}
    for batching, more in (("on", ()), ("off", ("--max-batch", "1"))):
        with running_server(run, *options, *more) as (host, port):
            asyncio.run(put_load(host, port, requests, 8, 1.0))
            for clients in CLIENTS:
                load = asyncio.run(put_load(host, port, requests, clients, seconds))
                speeds.append(recommender_speed(recommender, histories, seconds / 4))
                done = load.statuses["200"]
                throughput[batching, clients] = done / load.seconds
                per_cpu[batching, clients] = done / load.cpu_seconds
                times = [load.percentile(share) for share in (50, 95, 99)]
                errors = sum(load.statuses.values()) - done
                rows.append([batching, clients, *times, done / load.seconds, done / load.cpu_seconds, errors])
    most = CLIENTS[-1]
    gain = throughput["on", most] / throughput["off", most]
    note = (
        f"`Recommender` at 64 histories, before, between and after: {median(speeds):,.0f} users per CPU-second "
        f"(median of {len(speeds)}, {min(speeds):,.0f} to {max(speeds):,.0f}). Over HTTP at {most} clients: "
        f"{per_cpu['on', most] / median(speeds):.0%} of that. Batches at {most} clients: {gain:.1f} times the users/s."
    )
    columns = ["batches", "clients", "p50 ms", "p95 ms", "p99 ms", "users/s", "users/CPU-s", "errors"]
    tables = [Table("Clients that wait for each answer", columns, rows, note)]
    with running_server(run, *options, "--queue", "64", "--deadline", "0.5") as (host, port):
        load = asyncio.run(put_load(host, port, requests, 256, seconds))
    slowest = 1000 * max([*load.latencies, *load.refusals], default=float("nan"))
    counts = [load.statuses[status] for status in ("200", "429", "503", "failed")]
    others = sum(load.statuses.values()) - sum(counts)
    columns = ["200", "429", "503", "other", "failed", "slowest ms"]
    title = "Beyond the limits: 256 clients, at most 64 histories wait, a deadline of 0.5 s"
    return [*tables, Table(title, columns, [[*counts[:3], others, counts[3], slowest]])]


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--data", type=Path, help="data folder, whose test users are the requests")
    parser.add_argument("--seconds", type=float, default=10.0, help="time of each measurement")
    parser.add_argument("--users", type=int, default=2048, help="number of different histories")
    parser.add_argument("--options", default="", help="more options of genrec serve, separated by spaces")
    parser.add_argument("--output", type=Path, help="JSON file to store the result in")
    arguments = parser.parse_args()
    say_load()
    torch.set_num_threads(1)
    conditions = read_conditions(options=arguments.options or "none")
    folder = RunFolder.open(arguments.run)
    recipe = Recommender(arguments.run, environment=Environment("cpu")).recipe
    dataset = load_dataset(recipe, folder.located(Environment(data=arguments.data)))
    test = dataset.test.sample(arguments.users, seed=0).histories
    histories = [[dataset.catalog.keys[item] for item in test[user]] for user in range(len(test))]
    tables = measure(arguments.run, histories, arguments.seconds, arguments.options.split())
    give(Result("service", tables, conditions), arguments.output)


if __name__ == "__main__":
    main()
