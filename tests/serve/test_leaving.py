"""Clients that leave: in the middle of an upload, while they wait, while they are computed.

And a failing engine.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from fastapi.testclient import TestClient

from regiontalk import RegionCaptioner
from regiontalk.serve.app import create_app

HERE = "http://127.0.0.1:8765"


class Slow:
    """A captioner that waits for a door, and remembers the photos it was given."""

    def __init__(self, captioner: RegionCaptioner) -> None:
        self._captioner = captioner
        self.predictor = captioner.predictor
        self.preprocessing = captioner.preprocessing
        self.vocabulary = captioner.vocabulary
        self.attends = captioner.attends
        self.door, self.given = threading.Event(), list[str]()
        self.answers: list[Any] | None = None

    def caption_many(self, photos: Any, **settings: Any) -> Any:
        self.given += [photo.name for photo in photos]
        self.door.wait(20)
        return (
            self._captioner.caption_many(photos, **settings)
            if self.answers is None
            else self.answers
        )


class Caller:
    """One request of an ASGI client that can leave."""

    def __init__(
        self, client: TestClient, messages: list[Any], headers: dict[str, str]
    ) -> None:
        self.sent: list[Any] = []
        self._messages, self._gone = messages, asyncio.Event()
        self._portal: Any = client.portal
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/caption",
            "query_string": b"",
            "http_version": "1.1",
        }
        given = [
            (key.encode(), value.encode())
            for key, value in {"host": "localhost", **headers}.items()
        ]
        self.done: Future[Any] = self._portal.start_task_soon(
            client.app,
            {**scope, "scheme": "http", "raw_path": b"", "headers": given},
            self._receive,
            self._send,
        )

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self._portal.call(self._gone.set)


def form(picture: bytes, name: str) -> tuple[list[Any], dict[str, str]]:
    disposition = f'form-data; name="photo"; filename="{name}"'
    head = f"--b\r\ncontent-disposition: {disposition}\r\n\r\n".encode()
    body = head + picture + b"\r\n--b--\r\n"
    return [{"type": "http.request", "body": body}], {
        "content-type": "multipart/form-data; boundary=b"
    }


def until(true: Any) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def slow(captioner: RegionCaptioner) -> Iterator[Any]:
    slow = Slow(captioner)
    yield slow
    slow.door.set()


def test_nobody_is_computed_who_left_the_queue(slow: Any, picture: bytes) -> None:
    app = create_app(slow)
    engine = app.state.service.engine
    with TestClient(app, base_url=HERE) as client:
        first = Caller(client, *form(picture, "first.png"))
        until(lambda: slow.given)
        second = Caller(client, *form(picture, "second.png"))
        until(lambda: engine._jobs)
        assert engine.admission.inside == 2
        second.leave()
        second.done.result(20)
        assert engine.admission.inside == 1, (
            "its place is free, with the first still at work"
        )
        slow.door.set()
        first.done.result(20)
        assert (first.sent[0]["status"], second.sent, slow.given) == (
            200,
            [],
            ["first.png"],
        )
        until(lambda: engine.admission.inside == 0)
        assert 'path="/v1/caption",status="499"' in client.get("/metrics").text


def test_who_leaves_while_it_is_computed_frees_the_place(
    slow: Any, picture: bytes
) -> None:
    app = create_app(slow)
    with TestClient(app, base_url=HERE) as client:
        caller = Caller(client, *form(picture, "a.png"))
        until(lambda: slow.given)
        caller.leave()
        caller.done.result(20)
        slow.door.set()
        assert (
            client.post(
                "/v1/caption", files={"photo": picture}, data={"regions": 0}
            ).status_code
            == 200
        )
        assert app.state.service.engine.admission.inside == 0


@pytest.mark.parametrize("kind", ["form", "json"])
def test_an_upload_that_breaks_off(slow: Any, picture: bytes, kind: str) -> None:
    messages, headers = form(picture, "a.png")
    messages[0] = {**messages[0], "body": messages[0]["body"][:200], "more_body": True}
    headers = headers if kind == "form" else {"content-type": "application/json"}
    with TestClient(create_app(slow), base_url=HERE) as client:
        caller = Caller(client, messages, headers)
        caller.leave()
        caller.done.result(20)  # no exception, and no traceback in the log
        assert (
            caller.sent[0]["status"] == 400
            and "broke off" in json.loads(caller.sent[1]["body"])["error"]
        )
        assert 'path="other",status="400"' in client.get("/metrics").text


def test_a_fault_in_the_engine_does_not_end_it(slow: Any, picture: bytes) -> None:
    slow.door.set()
    slow.answers = []  # for one photo: a fault that no handler foresees
    with TestClient(
        create_app(slow), base_url=HERE, raise_server_exceptions=False
    ) as client:
        assert client.post("/v1/caption", files={"photo": picture}).status_code == 500
        slow.answers = None
        assert client.post("/v1/caption", files={"photo": picture}).status_code == 200
