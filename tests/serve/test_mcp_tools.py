"""The MCP tools, called by the official client; which files they read and which not."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mcp.client import Client

from regiontalk import RegionCaptioner
from regiontalk.serve.limits import Limits
from regiontalk.serve.mcp_tools import create_mcp


@pytest.fixture
def album(tmp_path: Path, picture: bytes) -> Path:
    """``album/`` that may be read, with links out of it and into it, and ``outside.png``."""
    folder = tmp_path / "album"
    folder.mkdir()
    for path in (folder / "a.png", tmp_path / "outside.png"):
        path.write_bytes(picture)
    (folder / "broken.png").write_bytes(b"words")
    (folder / "leak.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "inward.png").symlink_to(folder / "a.png")
    return folder


def call(server: Any, name: str, arguments: dict[str, Any]) -> tuple[bool, str]:
    """Whether a tool failed, and the text of its answer."""

    async def ask() -> Any:
        async with Client(server) as client:
            return await client.call_tool(name, arguments)

    result = asyncio.run(ask())
    return bool(result.is_error), "".join(
        getattr(part, "text", "") for part in result.content
    )


def test_the_tools(captioner: RegionCaptioner) -> None:
    async def names() -> list[str]:
        async with Client(create_mcp(captioner)) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert asyncio.run(names()) == ["caption", "align", "locate", "alt_text"]


@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        pytest.param("caption", {"regions": 2}, "regions", id="caption"),
        pytest.param("caption", {"boxes": [[0, 0, 9, 9]]}, "regions", id="boxes"),
        pytest.param(
            "caption",
            {"regions": 2, "beams": 1, "threshold": 0.0},
            "regions",
            id="caption settings",
        ),
        pytest.param(
            "caption",
            {"boxes": [[0, 0, 9, 9]], "beams": 2, "threshold": 0.9},
            "regions",
            id="boxes settings",
        ),
        pytest.param("align", {"sentence": "a red dog"}, "matches", id="align"),
        pytest.param(
            "align",
            {"sentence": "a red zyx", "beta": 2.0},
            "unknown_words",
            id="align smoothed",
        ),
        pytest.param("locate", {"phrase": "dog", "k": 2}, "matches", id="locate"),
        pytest.param(
            "locate",
            {"phrase": "dog zyx"},
            "unknown_words",
            id="locate an unknown word",
        ),
        pytest.param("alt_text", {}, "alt_text", id="alt text"),
        pytest.param(
            "alt_text",
            {"regions": 0, "min_confidence": 0.0},
            "alt_text",
            id="alt text of all that is said",
        ),
    ],
)
def test_by_path_and_by_bytes(
    captioner: RegionCaptioner,
    album: Path,
    picture: bytes,
    name: str,
    arguments: Any,
    key: str,
) -> None:
    server = create_mcp(captioner, folders=[album])
    answers = [
        call(server, name, {**arguments, **given})
        for given in (
            {"path": str(album / "a.png")},
            {"base64": base64.b64encode(picture).decode()},
        )
    ]
    assert [failed for failed, _ in answers] == [False, False], answers
    first, second = (json.loads(text) for _, text in answers)
    assert first[key] == second[key] and (key == "alt_text" or first[key])


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        pytest.param(
            "caption", {"regions": 3, "beams": 2, "threshold": 0.5}, {}, id="caption"
        ),
        pytest.param(
            "caption",
            {"boxes": [(0, 0, 9, 9)], "beams": 2, "threshold": 0.5},
            {},
            id="describe",
        ),
        pytest.param("align", {"sentence": "a dog", "beta": 2.5}, {}, id="align"),
        pytest.param("alt_text", {"regions": 4}, {"regions": 4}, id="alt_text"),
    ],
)
def test_settings_reach_the_captioner(
    captioner: RegionCaptioner,
    album: Path,
    name: str,
    arguments: Any,
    asked: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they were given, so that an assistant can ask what the page can."""
    seen: dict[str, Any] = {}
    for method in ("caption", "describe", "align"):
        own = getattr(captioner, method)

        def call_it(photo: Any, *given: Any, own: Any = own, **named: Any) -> Any:
            seen.update(named)
            return own(photo, *given, **named)

        monkeypatch.setattr(captioner, method, call_it)
    failed, text = call(
        create_mcp(captioner, folders=[album]),
        name,
        {**arguments, "path": str(album / "a.png")},
    )
    wanted = asked or {
        key: value
        for key, value in arguments.items()
        if key not in ("boxes", "sentence")
    }
    assert not failed and seen.items() >= wanted.items(), text


def test_the_old_name_of_an_argument_works_and_warns(
    captioner: RegionCaptioner, album: Path
) -> None:
    server = create_mcp(captioner, folders=[album])
    path = str(album / "a.png")
    texts = {}
    for confidence in (0.0, 1.0):
        arguments = {"path": path, "min_confidence": confidence}
        texts[confidence] = call(server, "alt_text", arguments)
        with pytest.warns(FutureWarning, match="key least is now min_confidence"):
            old = call(server, "alt_text", {"path": path, "least": confidence})
        assert old == texts[confidence]
    assert texts[0.0] != texts[1.0]


class Library:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def check_model(self, captioner: Any) -> None: ...

    def search(self, captioner: Any, text: str | None, **asked: Any) -> list[Any]:
        self.asked = {"text": text, **asked}
        return [SimpleNamespace(to_dict=lambda: {"score": 1.0})]


def test_search_by_words_example_folder_and_time(
    captioner: RegionCaptioner, album: Path
) -> None:
    library: Any = Library()
    server = create_mcp(captioner, folders=[album], library=library)
    example = {
        "path": str(album / "a.png"),
        "boxes": [[0, 0, 9, 9]],
        "folder": "/trips",
        "k": 3,
    }
    failed, text = call(
        server,
        "search",
        {"text": "a zyx dog", "after": "2024-05-01T00:00:00", **example},
    )
    assert not failed and json.loads(text) == {
        "hits": [{"score": 1.0}],
        "unknown_words": ["zyx"],
    }
    asked = library.asked
    assert asked.pop("photo").size_wh == (90, 60) and list(
        map(list, asked.pop("boxes"))
    ) == [[0, 0, 9, 9]]
    after = datetime(2024, 5, 1)
    assert asked == {
        "text": "a zyx dog",
        "k": 3,
        "folder": "/trips",
        "after": after,
        "before": None,
    }
    failed, text = call(
        server,
        "search",
        {"path": str(album / "a.png"), "before": "2024-05-01T10:00:00Z"},
    )
    assert (
        not failed
        and json.loads(text)["unknown_words"] == []
        and library.asked["before"].tzinfo is None
    )
    failed, text = call(
        server, "search", {"text": "dog", "path": str(album.parent / "outside.png")}
    )
    assert failed and "outside the folders" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            {"path": "{tmp}/outside.png"}, "outside the folders", id="outside"
        ),
        pytest.param(
            {"path": "{tmp}/album/../outside.png"},
            "outside the folders",
            id="by two dots",
        ),
        pytest.param(
            {"path": "{tmp}/album/leak.png"}, "outside the folders", id="by a link"
        ),
        pytest.param(
            {"path": "{tmp}/absent.png"}, "outside the folders", id="outside and absent"
        ),
        pytest.param({"path": "{tmp}/album/absent.png"}, "no such file", id="absent"),
        pytest.param({"path": "{tmp}/album/broken.png"}, "not a picture", id="broken"),
        pytest.param({"path": "{tmp}/album"}, "a folder", id="a folder"),
        pytest.param({"path": "a\0b"}, "not a path", id="no path"),
        pytest.param({"base64": "***"}, "base64: expected the bytes", id="no base64"),
        pytest.param({"base64": "AAAA" * 300}, "at most 500 bytes", id="too large"),
        pytest.param({}, "either path or base64", id="nothing"),
        pytest.param(
            {"path": "{tmp}/album/a.png", "base64": "AAAA"},
            "either path or base64",
            id="both",
        ),
    ],
)
def test_refused(
    captioner: RegionCaptioner, album: Path, given: dict[str, str], message: str
) -> None:
    server = create_mcp(captioner, folders=[album], limits=Limits(upload_bytes=500))
    arguments = {
        key: value.replace("{tmp}", str(album.parent)) for key, value in given.items()
    }
    failed, text = call(server, "caption", arguments)
    assert failed and message in text


def test_a_link_into_an_allowed_folder(captioner: RegionCaptioner, album: Path) -> None:
    failed, _ = call(
        create_mcp(captioner, folders=[album]),
        "caption",
        {"path": str(album.parent / "inward.png")},
    )
    assert not failed


def test_without_folders_no_path_is_read(
    captioner: RegionCaptioner, album: Path
) -> None:
    failed, text = call(
        create_mcp(captioner), "caption", {"path": str(album / "a.png")}
    )
    assert failed and "--allow FOLDER" in text


def test_a_folder_that_is_none(captioner: RegionCaptioner, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder that may be read"):
        create_mcp(captioner, folders=[tmp_path / "absent"])
