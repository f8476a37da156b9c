"""What becomes of a photo that was sent.

Where it lies, how long it stays, which threads it may hold.
"""

from __future__ import annotations

import base64
import io
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.images.open import ImageError
from regiontalk.serve import routes
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits

HERE = "http://127.0.0.1:8765"


@pytest.fixture
def large() -> bytes:
    """A photo of more than a megabyte."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(noise).save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize("way", ["form", "json"])
def test_a_large_photo_never_reaches_the_disk(
    captioner: RegionCaptioner, large: bytes, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rollover(self: Any) -> None:
        raise AssertionError("written to disk")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", rollover)
    body: Any = (
        {"json": {"photo": base64.b64encode(large).decode()}}
        if way == "json"
        else {"files": {"photo": large}}
    )
    with TestClient(create_app(captioner), base_url=HERE) as client:
        assert (
            len(large) > 2**20 and client.post("/v1/caption", **body).status_code == 200
        )


@pytest.mark.parametrize("way", ["form", "json"])
def test_what_waits_keeps_neither_the_upload_nor_the_large_picture(
    captioner: RegionCaptioner, large: bytes, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, inside, uploads, photos = (
        threading.Event(),
        threading.Event(),
        list[bytes](),
        list[Any](),
    )

    def remember(content: bytes, **asked: Any) -> Any:
        uploads.append(content)
        return open_photo(content, **asked)

    def caption_many(given: Any, **settings: Any) -> Any:
        photos.extend(given)
        inside.set()
        door.wait(20)
        return captioner.caption_many(given, **settings)

    open_photo = routes.open_photo
    monkeypatch.setattr(routes, "open_photo", remember)
    slow: Any = SimpleNamespace(
        predictor=captioner.predictor,
        preprocessing=captioner.preprocessing,
        vocabulary=captioner.vocabulary,
        attends=captioner.attends,
        caption_many=caption_many,
    )
    body: Any = (
        {"json": {"photo": base64.b64encode(large).decode()}}
        if way == "json"
        else {"files": {"photo": large}}
    )
    with (
        TestClient(create_app(slow), base_url=HERE) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(client.post, "/v1/caption", **body)
        assert inside.wait(20)
        # the thread that decoded may not have let go of it yet
        patience = time.monotonic() + 5
        while (held := sys.getrefcount(uploads[0])) > 2 and time.monotonic() < patience:
            time.sleep(0.01)
        door.set()
        assert answer.result().status_code == 200
    assert held == 2, "the list of this test and the argument"
    assert (
        photos[0].size_wh == (700, 700)
        and max(photos[0].image.size) < 4 * captioner.preprocessing.size
    )


def test_a_decoder_that_was_given_up_still_holds_its_place(
    captioner: RegionCaptioner, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a few photos that take minutes would take every core, whatever the time limit."""
    door, begun = threading.Event(), list[str]()

    def stuck(content: bytes, *, name: str, **asked: Any) -> Any:
        begun.append(name)
        door.wait(20)
        raise ImageError("late")

    monkeypatch.setattr(routes, "open_photo", stuck)
    names = [f"{number}.png" for number in range(5)]
    with TestClient(
        create_app(captioner, limits=Limits(seconds=0.5)), base_url=HERE
    ) as client:
        with ThreadPoolExecutor(5) as pool:
            answers = list(
                pool.map(
                    lambda name: client.post(
                        "/v1/caption", files={"photo": (name, picture)}
                    ),
                    names,
                )
            )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [503, 503, 503, 504, 504], "three have only waited"
        assert len(begun) == 2
        door.set()
        time.sleep(0.1)
        assert len(begun) == 2, "nobody waits for the others any more"


class Library:
    """Answers with the same photos, whatever is asked."""

    def __init__(
        self, captioner: RegionCaptioner, photos: list[str], source: Any
    ) -> None:
        result = captioner.locate(source, "dog").to_dict()
        found = result | {
            "score": 1.0,
            "answer": result["matches"][0],
            "date": "2024-05-01",
            "missing": False,
        }
        self.hits = [
            SimpleNamespace(photo=photo, to_dict=lambda: found) for photo in photos
        ]

    def check_model(self, captioner: Any) -> None: ...

    def search(self, captioner: Any, text: str, **asked: Any) -> list[Any]:
        return self.hits


@pytest.fixture
def searching(captioner: RegionCaptioner, tmp_path: Any) -> Iterator[TestClient]:
    """A server whose library has five photos of 200x100 pixels; it takes uploads of 100 pixels."""
    for number in range(5):
        Image.new("RGB", (200, 100), "teal").save(tmp_path / f"{number}.png")
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    library: Any = Library(captioner, paths, paths[0])
    limits = Limits(seconds=3, pixels=100)
    with TestClient(
        create_app(captioner, library=library, limits=limits), base_url=HERE
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("side", "size"),
    [(40, (40, 20)), (320, (200, 100))],
    ids=["smaller", "never larger"],
)
def test_thumbnails_of_photos_larger_than_an_upload_may_be(
    searching: TestClient, side: int, size: Any
) -> None:
    hits = searching.post("/v1/search", json={"text": "dog", "thumbnail": side}).json()[
        "hits"
    ]
    for hit in hits:
        with Image.open(
            io.BytesIO(base64.b64decode(hit["thumbnail"].partition(",")[2]))
        ) as small:
            assert small.size == size


def test_thumbnails_that_take_too_long_are_left_out(
    searching: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: str, side: int, pixels: int) -> str:
        time.sleep(0.4)
        return "data:"

    monkeypatch.setattr(routes, "thumbnail", slow)
    answer = searching.post("/v1/search", json={"text": "dog"})
    assert answer.status_code == 200
    found = [hit["thumbnail"] for hit in answer.json()["hits"]]
    assert (found[0], found[-1]) == ("data:", None)


def test_an_upload_finds_a_decoder_between_thumbnails(
    searching: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two searches would hold both decoders to their end."""
    order = list[str]()

    def slow(path: str, side: int, pixels: int) -> str:
        time.sleep(0.15)
        order.append("thumbnail")
        return "data:"

    def quick(content: bytes, **asked: Any) -> Any:
        order.append("upload")
        raise ImageError("done")

    monkeypatch.setattr(routes, "thumbnail", slow)
    monkeypatch.setattr(routes, "open_photo", quick)
    with ThreadPoolExecutor(3) as pool:
        searches = [
            pool.submit(searching.post, "/v1/search", json={"text": "dog"})
            for _ in range(2)
        ]
        while not order:
            time.sleep(0.01)
        assert searching.post("/v1/caption", files={"photo": b"x"}).status_code == 422
        assert all(one.result().status_code == 200 for one in searches)
    assert order.index("upload") < 8
