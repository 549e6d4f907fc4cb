"""The load test of the service at a tiny size."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import service

pytestmark = pytest.mark.slow


def test_the_load_test_of_the_service(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CLIENTS", (1, 4))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    histories = [[f"item-{1 + n % 60}", f"item-{1 + 7 * n % 60}"] for n in range(80)]
    inside, beyond = service.measure(small_run, histories, 0.5, ["--threads", "1"])
    assert [row[:2] for row in inside.rows] == [["on", 1], ["on", 4], ["off", 1], ["off", 4]]
    for row in inside.rows:
        p50, p95, p99, users, users_per_cpu, errors = row[2:]
        assert 0 < p50 <= p95 <= p99  # type: ignore[operator]
        assert users > 0  # type: ignore[operator]
        assert users_per_cpu > 0  # type: ignore[operator]
        assert errors == 0
    [[answered, busy, late, other, failed, slowest]] = beyond.rows
    assert answered + busy + late >= 256  # type: ignore[operator]
    assert (other, failed) == (0, 0)
    assert slowest < 30_000  # type: ignore[operator]
