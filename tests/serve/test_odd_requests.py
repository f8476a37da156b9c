"""The short form of benchmarks/api_fuzz.py.

Odd requests, none of which may be a fault of the server.
"""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from typing import Any

import pytest
from fastapi.testclient import TestClient

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    3,
    1e300,
    -0.5,
    2**63,
    "",
    " ",
    "a red dog",
    "\x00",
    "é́" * 20,
    "x" * 5000,
    "nan",
    "[[1, 2",
    "[[0, 0, 30, 30]]",
    "[[1, 2, 3]]",
    "2024-05-01",
    "0001-01-01T00:00:00+14:00",
    [],
    [[]],
    [[0, 0, 30, 30]],
    [[30, 30, 0, 0]],
    [[0, 0, 1e9, 1e9]],
    [0, 0, 30, 30],
    {},
    {"a": []},
    [None],
)
BODIES = (b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"photo": 1}', b"[" * 5000)


def operations(client: TestClient) -> list[tuple[str, dict[str, Any]]]:
    """Every path that takes a body, with the fields of its form."""
    paths = client.get("/openapi.json").json()["paths"]
    posts = [(path, ways["post"]) for path, ways in paths.items() if "post" in ways]
    return [
        (
            path,
            post["requestBody"]["content"]["application/json"]["schema"]["properties"],
        )
        for path, post in posts
    ]


def draw(
    fields: dict[str, Any], picture: bytes, chance: random.Random
) -> dict[str, Any]:
    """A form with real words and mostly a real photo, and odd fields.

    Some have odd values or unknown names.
    """
    values: dict[str, Any] = {
        name: "a dog" for name in ("sentence", "phrase", "text") if name in fields
    }
    if "photo" in fields and chance.random() < 0.8:
        values["photo"] = base64.b64encode(picture).decode()
    for name in chance.sample([*fields, "regoins", "_x"], k=chance.randrange(4)):
        values[name] = chance.choice(ODD)
    return values


def ask(
    client: TestClient, path: str, values: dict[str, Any], picture: bytes, kind: str
) -> Any:
    """Send a form as JSON or as multipart."""
    if kind == "json":
        body = json.dumps(values).encode()
        return client.post(
            path, content=body, headers={"content-type": "application/json"}
        )
    photo = values.pop("photo", None)
    files = {} if photo is None else {"photo": ("a.png", picture)}
    text = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    return client.post(path, data=text, files=files)


@pytest.mark.parametrize("kind", ["json", "form"])
def test_no_request_is_a_fault_of_ours(
    client: TestClient, picture: bytes, kind: str
) -> None:
    chance, statuses = random.Random(7), Counter[int]()
    for path, fields in operations(client):
        for _ in range(25):
            values = draw(fields, picture, chance)
            answer = ask(client, path, dict(values), picture, kind)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (path, values, answer.text)
            if answer.status_code >= 400:
                reason = answer.json()["error"]
                assert len(reason) <= 400 and "\n" not in reason, (path, values)
    assert statuses[200] >= 10 and statuses[422] >= 10


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_bodies_that_are_no_form(client: TestClient, body: bytes) -> None:
    for path, _ in operations(client):
        for kind in ("application/json", "multipart/form-data; boundary=b", "a/b", ""):
            answer = client.post(path, content=body, headers={"content-type": kind})
            assert 400 <= answer.status_code < 500, (path, kind, answer.text)
