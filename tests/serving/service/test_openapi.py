"""The OpenAPI document against the service, by schemathesis; and what people read in it."""

from __future__ import annotations

from fastapi.testclient import TestClient


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
