"""Photos, outputs and a photo index in an object store.

A real S3-compatible server (moto) on loopback.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lancedb", reason="needs regiontalk[search]")
pytest.importorskip("moto.server", reason="needs moto[server], an S3-compatible server")

from moto.server import ThreadedMotoServer

from regiontalk.captioner import RegionCaptioner
from regiontalk.index.library import PhotoIndex
from regiontalk.scale.caption import CaptionSettings
from regiontalk.scale.output import Job, Output
from regiontalk.scale.rows import Row
from regiontalk.scale.sources import _load_files, find_files, to_table
from regiontalk.scale.storage import open_storage

JOB = Job("tiny", "f" * 64, "parquet", CaptionSettings())


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server with an empty bucket "bucket" whose files are gone after the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-word")
        patch.setenv("AWS_REGION", "us-east-1")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        host, port = running.get_host_and_port()
        request = urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT")
        urllib.request.urlopen(request).close()
        yield f"{host}:{port}"
        running.stop()


def address(endpoint: str, path: str) -> str:
    return f"s3://{path}?endpoint_override={endpoint}&scheme=http"


def row(name: str) -> Row:
    empty: Row = dict.fromkeys(["width", "height", "model", "caption", "error"])
    return {**empty, "photo": name, "sha256": "00", "regions": [], "matches": []}


def test_photos(endpoint: str) -> None:
    files, root = open_storage(address(endpoint, "bucket/photos"))
    for name in ("a.jpg", "b.png", "notes.txt", "below/c.jpg"):
        with files.open_output_stream(f"{root}/{name}") as stream:
            stream.write(name.encode())
    found = find_files(address(endpoint, "bucket/photos"))
    assert [file.key for file in found] == [
        f"s3://bucket/photos/{name}" for name in ("a.jpg", "b.png", "below/c.jpg")
    ]
    rows = _load_files(to_table(found)).to_pylist()
    assert [values["data"] for values in rows] == [b"a.jpg", b"b.png", b"below/c.jpg"]
    assert len(find_files(address(endpoint, "bucket/photos/*.jpg"))) == 2
    assert len(find_files(address(endpoint, "bucket/photos/a.jpg"))) == 1
    with pytest.raises(FileNotFoundError, match="s3://bucket/nowhere"):
        find_files(address(endpoint, "bucket/nowhere"))


def test_an_output(endpoint: str) -> None:
    uri = address(endpoint, "bucket/out")
    output = Output(uri)
    with output.lock():
        known = output.begin(JOB)
        part = Output(uri).stage("run", [row("a"), row("b")], JOB)
        output.stage("run", [row("left behind")], JOB)
        assert output.commit(part, known, JOB) == 2
        with (
            pytest.raises(BlockingIOError, match="its lock was renewed"),
            Output(uri).lock(),
        ):
            pass
    with Output(uri).lock():
        assert len(Output(uri).begin(JOB)) == 2
    assert [values["photo"] for values in Output(uri).rows()] == ["a", "b"]

    files, root = open_storage(uri)
    # as two minutes after kill -9
    with files.open_output_stream(f"{root}/_lock") as stream:
        values = {"owner": "somebody else", "renewed": time.time() - 120}
        stream.write(json.dumps(values).encode())
    with Output(uri).lock():
        assert len(Output(uri).begin(JOB)) == 2


def test_a_bucket_that_is_not_there(endpoint: str) -> None:
    with pytest.raises(
        OSError, match="check the address, and the credentials"
    ) as caught:
        Output(address(endpoint, "elsewhere/out")).begin(JOB)
    assert (
        "hidden-word" not in str(caught.value)
        and len(str(caught.value).splitlines()) == 1
    )


@pytest.fixture
def storage(endpoint: str) -> dict[str, str]:
    return {
        "aws_access_key_id": "somebody",
        "aws_secret_access_key": "hidden-word",
        "aws_region": "us-east-1",
        "aws_endpoint": f"http://{endpoint}",
        "allow_http": "true",
    }


def test_two_writers_and_a_reader_of_an_index(
    storage: dict[str, str], tiny_folder: Path, made_up: Callable[[int, int], list[Any]]
) -> None:
    captioner = RegionCaptioner.from_pretrained(tiny_folder)

    def library() -> PhotoIndex:
        return PhotoIndex.open_or_create(
            "s3://bucket/index", captioner, storage=storage
        )

    library()
    errors: list[BaseException] = []

    def write(first: int) -> None:
        try:
            index = library()
            for batch in range(4):
                rows = made_up(first + 5 * batch, 5)
                index._store.write(rows, index._basis)
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 10)]
    for writer in writers:
        writer.start()
    reader, counts = library(), []
    while any(writer.is_alive() for writer in writers):
        counts.append(len(reader))
    for writer in writers:
        writer.join()
    assert errors == []
    assert sorted(library().paths()) == sorted(row.path for row in made_up(0, 30))
    assert all(count % 5 == 0 for count in counts) and counts == sorted(counts)
    reader.compact()
    assert len(library()) == 30
    hits = library().search(captioner, "a dog", k=3)
    assert len(hits) == 3 and all(np.isfinite(hit.score) for hit in hits)


@pytest.fixture
def made_up(tiny_folder: Path) -> Callable[[int, int], list[Any]]:
    """Rows number ``first`` to ``first + count`` of photos that never were."""
    from datetime import datetime

    from regiontalk.index.rows import Row as IndexRow
    from regiontalk.index.rows import Stamp

    def make(first: int, count: int) -> list[Any]:
        boxes = np.array([[0, 0, 9, 9], [1, 1, 5, 5]], dtype=np.float32)
        ones = np.ones(2, dtype=np.float32)
        rows = []
        for number in range(first, first + count):
            vectors = (
                np.random.default_rng(number).normal(size=(2, 12)).astype(np.float32)
            )
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            stamp, words = Stamp(number, number, f"{number:064x}"), ("a dog", "a car")
            path, day = f"/photos/{number}.jpg", datetime(2024, 1, 1)
            rows.append(
                IndexRow(path, stamp, day, (10, 10), vectors, boxes, ones, words, ones)
            )
        return rows

    return make
