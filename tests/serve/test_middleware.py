"""Who may ask, how long, and how many at once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from regiontalk import RegionCaptioner
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits
from regiontalk.serve.run import Address

HERE = "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="here"),
        pytest.param({"host": "localhost"}, 200, id="by name"),
        pytest.param({"host": "[::1]:8765"}, 200, id="IPv6"),
        pytest.param({"host": "evil.example"}, 421, id="a name bent to this machine"),
        pytest.param({"host": "["}, 421, id="no name"),
        pytest.param({"origin": HERE}, 200, id="our page"),
        pytest.param({"origin": "https://evil.example"}, 403, id="another page"),
        pytest.param({"origin": "null"}, 403, id="a page without a home"),
        pytest.param({"origin": "http://["}, 403, id="no page at all"),
    ],
)
def test_only_this_machine_and_our_page(
    client: TestClient, picture: bytes, headers: Any, status: int
) -> None:
    answer = client.post(
        "/v1/caption", files={"photo": picture}, data={"regions": 0}, headers=headers
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/v1/caption", "/v1/caption/", "//v1/caption", "/v1//caption//"]
)
def test_slashes_too_many(client: TestClient, picture: bytes, path: str) -> None:
    url = f"{HERE}{path}"
    answer = client.post(url, files={"photo": picture}, data={"regions": 0})
    assert answer.status_code == 200, answer.text
    assert client.get(f"{HERE}/v1/models/").status_code == 200
    assert client.get(f"{HERE}//").status_code == 200


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        pytest.param("/v1/models", None, 401, id="none"),
        pytest.param("/v1/models", "Bearer wrong", 401, id="wrong"),
        pytest.param("/v1/models", "Basic long-secret", 401, id="another kind"),
        pytest.param("/v1/models", "Bearer long-secret", 200, id="right"),
        pytest.param("/v1/models", "bearer long-secret", 200, id="small letters"),
        pytest.param("/metrics", None, 401, id="metrics"),
        pytest.param("/healthz", None, 200, id="health is open"),
        pytest.param("/", None, 200, id="the page is open"),
    ],
)
def test_token(
    captioner: RegionCaptioner, path: str, header: str | None, status: int
) -> None:
    app = create_app(captioner, token="long-secret")
    with TestClient(app, base_url="http://photos.example") as client:
        answer = client.get(path, headers={"authorization": header} if header else {})
    assert answer.status_code == status
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


@pytest.mark.parametrize(
    ("host", "token", "wrong"),
    [
        pytest.param("127.0.0.1", None, False, id="this machine"),
        pytest.param("localhost", None, False, id="this machine by name"),
        pytest.param("::1", None, False, id="this machine, IPv6"),
        pytest.param("0.0.0.0", None, True, id="everybody"),
        pytest.param("photos.example", None, True, id="a name"),
        pytest.param("0.0.0.0", "long-secret", False, id="everybody with a token"),
    ],
)
def test_other_addresses_need_a_token(
    host: str, token: str | None, wrong: bool
) -> None:
    if wrong:
        with pytest.raises(ValueError, match="needs a token; set REGIONTALK_TOKEN"):
            Address(host, 1, token)
    else:
        assert Address(host, 1, token).page(9).startswith("http://")


def test_where_the_page_is() -> None:
    assert Address("::1", 0).page(9) == "http://[::1]:9/"
    assert Address("0.0.0.0", 0, "a/b&c=d+e").page(9) == "http://127.0.0.1:9/"


def test_answers_do_not_wait_for_the_client() -> None:
    with (
        Address("127.0.0.1", 0).listen() as bound,
        socket.create_connection(bound.getsockname()),
        bound.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port() -> None:
    with Address("127.0.0.1", 0).listen() as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: cannot listen there"):
            Address("127.0.0.1", port).listen()


@pytest.mark.parametrize(
    "token", ["", "abc", "long secret", "long-secrét", "long-secret\n", "\tlong-secret"]
)
def test_a_token_that_is_none(captioner: RegionCaptioner, token: str) -> None:
    for use in (
        lambda: create_app(captioner, token=token),
        lambda: Address("127.0.0.1", 1, token),
    ):
        with pytest.raises(
            ValueError, match="token: expected 8 characters or more"
        ) as caught:
            use()
        assert not token or token not in str(caught.value)


class Slow:
    """A captioner whose captions wait for a door to open; counts photos a batch."""

    def __init__(self, captioner: RegionCaptioner) -> None:
        self._captioner = captioner
        self.predictor = captioner.predictor
        self.preprocessing = captioner.preprocessing
        self.vocabulary = captioner.vocabulary
        self.attends = captioner.attends
        self.door, self.batches = threading.Event(), list[int]()

    def caption_many(self, photos: Any, **settings: Any) -> Any:
        self.batches.append(len(photos))
        self.door.wait(20)
        if any("bad" in photo.name for photo in photos):
            raise ValueError("a bad photo")
        return self._captioner.caption_many(photos, **settings)


def many(
    client: TestClient, picture: bytes, names: list[str], slow: Slow, **fields: Any
) -> list[Any]:
    """Send one request a name at once, the first a little earlier; open the door when all wait."""

    def send(name: str) -> Any:
        return client.post(
            "/v1/caption",
            files={"photo": (name, picture)},
            data={"regions": 1, **fields},
        )

    with ThreadPoolExecutor(len(names)) as pool:
        first = pool.submit(send, names[0])
        while not slow.batches:
            time.sleep(0.01)
        rest = [pool.submit(send, name) for name in names[1:]]
        inside: Any = client.app
        while inside.state.service.engine.admission.inside + sum(
            one.done() for one in rest
        ) < len(names):
            time.sleep(0.01)
        time.sleep(0.3)  # inside, but their photos are still decoded
        slow.door.set()
        return [one.result() for one in (first, *rest)]


def test_requests_that_wait_are_computed_together(
    captioner: RegionCaptioner, picture: bytes
) -> None:
    slow: Any = Slow(captioner)
    with TestClient(create_app(slow, limits=Limits(batch=3)), base_url=HERE) as client:
        answers = many(client, picture, [f"{number}.png" for number in range(6)], slow)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert [answer.json()["photo"] for answer in answers] == [
        f"{number}.png" for number in range(6)
    ]
    assert slow.batches == [1, 3, 2]


def test_one_that_fails_does_not_harm_the_others(
    captioner: RegionCaptioner, picture: bytes
) -> None:
    slow: Any = Slow(captioner)
    with TestClient(create_app(slow), base_url=HERE) as client:
        answers = many(client, picture, ["a.png", "b.png", "bad.png", "c.png"], slow)
    assert [answer.status_code for answer in answers] == [200, 200, 422, 200]
    assert slow.batches == [1, 3, 1, 1, 1]


def test_a_full_queue_says_when_to_come_again(
    captioner: RegionCaptioner, picture: bytes
) -> None:
    slow: Any = Slow(captioner)
    with TestClient(
        create_app(slow, limits=Limits(waiting=2)), base_url=HERE
    ) as client:
        answers = many(client, picture, ["a.png", "b.png", "c.png", "d.png"], slow)
        sent_away = [answer for answer in answers if answer.status_code == 503]
        assert (
            len(sent_away) == 2
            and sum(answer.status_code == 200 for answer in answers) == 2
        )
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in sent_away)
        assert "come again" in sent_away[0].json()["error"]
        assert (
            client.post(
                "/v1/caption", files={"photo": picture}, data={"regions": 0}
            ).status_code
            == 200
        )


def test_what_takes_too_long_is_given_up(
    captioner: RegionCaptioner, picture: bytes
) -> None:
    slow: Any = Slow(captioner)
    with TestClient(
        create_app(slow, limits=Limits(seconds=0.5)), base_url=HERE
    ) as client:
        answer = client.post("/v1/caption", files={"photo": picture})
        slow.door.set()
    assert answer.status_code == 504 and "longer than 0.5 s" in answer.json()["error"]


@pytest.mark.parametrize("stuck", [True, False], ids=["never ends", "never stops"])
def test_a_body_that_does_not_end(captioner: RegionCaptioner, stuck: bool) -> None:
    """Sent in pieces without a length: the time limit ends the one, the size limit the other."""
    app = create_app(captioner, limits=Limits(seconds=0.3, upload_bytes=1000))
    sent: list[Any] = []

    async def receive() -> Any:
        if stuck and sent_bytes[0] > 500:
            await asyncio.sleep(60)
        sent_bytes[0] += 400
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    sent_bytes = [0]
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/caption",
        "headers": headers,
        "query_string": b"",
    }
    asyncio.run(
        app(
            {**scope, "http_version": "1.1", "scheme": "http", "raw_path": b""},
            receive,
            send,
        )
    )
    assert sent[0]["status"] == (408 if stuck else 413)
