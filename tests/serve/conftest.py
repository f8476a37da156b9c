"""A server with a real small model, asked through FastAPI's client."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits

HERE = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def picture() -> bytes:
    """Soft coloured clouds, 90x60, as a PNG file."""
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(values).resize((90, 60), Image.Resampling.BICUBIC).save(
        target, "PNG"
    )
    return target.getvalue()


@pytest.fixture(scope="session")
def captioner(tiny_folder: Path) -> RegionCaptioner:
    return RegionCaptioner.from_pretrained(tiny_folder)


@pytest.fixture(scope="session")
def client(captioner: RegionCaptioner) -> Iterator[TestClient]:
    limits = Limits(upload_bytes=200_000, pixels=1_000_000)
    with TestClient(
        create_app(captioner, limits=limits, licence="Free."), base_url=HERE
    ) as client:
        yield client


@pytest.fixture
def ask(client: TestClient, picture: bytes) -> Callable[..., Any]:
    """POST a photo and fields as a multipart form to a path under /v1."""

    def send(path: str, photo: bytes = picture, **fields: Any) -> Any:
        return client.post(
            f"/v1/{path}", files={"photo": ("album/a.png", photo)}, data=fields
        )

    return send
