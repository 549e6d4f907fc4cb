"""The OpenAPI document against the service, by schemathesis; and what people read in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.serving.service.conftest import served_process

PROBLEM = "#/components/schemas/Problem"


@pytest.mark.slow
def test_schemathesis_finds_nothing(small_run: Path, tmp_path: Path) -> None:
    """Requests that the document allows are answered as it says, those that it forbids are refused."""
    program = Path(sys.executable).with_name("schemathesis")
    bounds = ("--max-examples", "20", "--phases", "examples,coverage,fuzzing", "--generation-deterministic")
    with served_process(small_run) as served:
        command = [program, "--no-color", "run", f"{served.url}/openapi.json", *bounds]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Tested: 10" in done.stdout
        assert served.process.poll() is None


def test_every_route_and_field_is_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {*document["paths"]} == {
        "/health",
        "/ready",
        "/metrics",
        "/runs",
        "/recommend",
        "/items",
        "/items/{key}",
        "/similar/{key}",
        "/tree/{stream}",
        "/images/{key}",
    }
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            for status in ("401", "421", "429", "500"):
                assert operation["responses"][status]["content"]["application/json"]["schema"]["$ref"].endswith(
                    "Problem"
                )
            assert all(p.get("description") for p in operation.get("parameters", ()) if p["in"] == "query"), path
    [body] = document["paths"]["/recommend"]["post"]["requestBody"]["content"].values()
    assert all(field.get("description") for field in body["schema"]["properties"].values())
    assert client.post("/recommend", json=body["schema"]["examples"][0]).status_code == 200
