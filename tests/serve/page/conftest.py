"""The page in a real browser (Debian's Chromium): nothing from elsewhere, no console error.

What was seen stands in out/page/*.png afterwards.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image
from skimage import data

from regiontalk import RegionCaptioner
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
SEEN = Path(__file__).resolve().parents[3] / "out/page"
PATIENCE = 120_000  # milliseconds; other tests compute beside the server
sync_api.expect.set_options(timeout=PATIENCE)
FLAGS = [
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
# a request that the server refuses is an error to the console
REFUSED = re.compile("status of 4(01|22)")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An astronaut, as a photo file; ``cat.jpg`` beside it is wider than high."""
    path = tmp_path_factory.mktemp("photos") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path, quality=90)
    Image.fromarray(data.chelsea()).save(path.with_name("cat.jpg"), quality=90)
    return path


@pytest.fixture(scope="session")
def mini() -> RegionCaptioner:
    return RegionCaptioner.from_pretrained("mini")


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """The address of an application that answers in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="session")
def serving() -> Callable[[Any], Any]:
    """Serves an application within a with block."""
    return serve


@pytest.fixture(scope="session")
def address(mini: RegionCaptioner, photo: Path) -> Iterator[str]:
    """A server with the bundled model and, where LanceDB is installed, a library of two photos."""
    library = make_library(mini, photo)
    with serve(
        create_app(mini, limits=Limits(seconds=PATIENCE / 1000), library=library)
    ) as address:
        yield address


def make_library(captioner: RegionCaptioner, photo: Path) -> Any:
    try:
        import lancedb  # noqa: F401
    except ImportError:
        return None
    from regiontalk.index.library import PhotoIndex

    index = PhotoIndex.open_or_create(photo.parent / "photos.index", captioner)
    index.add(captioner, sorted(photo.parent.glob("*.jpg")), captions=1)
    return index


# playwright's event loop would be in the way of other folders' tests
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; at the end nothing may have gone wrong in it or asked another host."""
    faults: list[str] = []
    contexts: list[Any] = []

    def open_one(
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        script: str = "",
        at: str = "",
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=width < 500,
            permissions=["clipboard-read", "clipboard-write", "camera"],
        )
        contexts.append(context)
        context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on(
            "console",
            lambda message: (
                faults.append(message.text) if message.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        own = (at or address, "blob:", "data:")
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(own) else faults.append(request.url)
            ),
        )
        page.goto(at or address)
        if not at:
            page.wait_for_selector("html[data-ready]")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not REFUSED.search(fault)] == []


@pytest.fixture(scope="session")
def see() -> Callable[[Any, str], None]:
    """Keeps what a page looks like, under a name."""

    def keep(page: Any, name: str) -> None:
        SEEN.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SEEN / f"{name}.png")

    return keep
