"""The MCP tools, called by the official client; which files they read and which not."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from regiontalk import RegionCaptioner
from regiontalk.serve.limits import Limits
from regiontalk.serve.tools import create_mcp


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
    return bool(result.is_error), "".join(getattr(part, "text", "") for part in result.content)


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
        pytest.param("align", {"sentence": "a red dog"}, "matches", id="align"),
        pytest.param("locate", {"phrase": "dog", "k": 2}, "matches", id="locate"),
        pytest.param("alt_text", {}, "alt_text", id="alt text"),
    ],
)
def test_by_path_and_by_bytes(
    captioner: RegionCaptioner, album: Path, picture: bytes, name: str, arguments: Any, key: str
) -> None:
    server = create_mcp(captioner, folders=[album])
    answers = [
        call(server, name, {**arguments, **given})
        for given in ({"path": str(album / "a.png")}, {"base64": base64.b64encode(picture).decode()})
    ]
    assert [failed for failed, _ in answers] == [False, False], answers
    first, second = (json.loads(text) for _, text in answers)
    assert first[key] == second[key] and (key == "alt_text" or first[key])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"path": "{tmp}/outside.png"}, "outside the folders", id="outside"),
        pytest.param({"path": "{tmp}/album/../outside.png"}, "outside the folders", id="by two dots"),
        pytest.param({"path": "{tmp}/album/leak.png"}, "outside the folders", id="by a link"),
        pytest.param({"path": "{tmp}/absent.png"}, "outside the folders", id="outside and absent"),
        pytest.param({"path": "{tmp}/album/absent.png"}, "no such file", id="absent"),
        pytest.param({"path": "{tmp}/album/broken.png"}, "not a picture", id="broken"),
        pytest.param({"path": "{tmp}/album"}, "a folder", id="a folder"),
        pytest.param({"path": "a\0b"}, "not a path", id="no path"),
        pytest.param({"base64": "***"}, "base64: expected the bytes", id="no base64"),
        pytest.param({"base64": "AAAA" * 300}, "at most 500 bytes", id="too large"),
        pytest.param({}, "either path or base64", id="nothing"),
        pytest.param({"path": "{tmp}/album/a.png", "base64": "AAAA"}, "either path or base64", id="both"),
    ],
)
def test_refused(captioner: RegionCaptioner, album: Path, given: dict[str, str], message: str) -> None:
    server = create_mcp(captioner, folders=[album], limits=Limits(upload_bytes=500))
    arguments = {key: value.replace("{tmp}", str(album.parent)) for key, value in given.items()}
    failed, text = call(server, "caption", arguments)
    assert failed and message in text


def test_a_link_into_an_allowed_folder(captioner: RegionCaptioner, album: Path) -> None:
    failed, _ = call(create_mcp(captioner, folders=[album]), "caption", {"path": str(album.parent / "inward.png")})
    assert not failed


def test_without_folders_no_path_is_read(captioner: RegionCaptioner, album: Path) -> None:
    failed, text = call(create_mcp(captioner), "caption", {"path": str(album / "a.png")})
    assert failed and "--allow FOLDER" in text


def test_a_folder_that_is_none(captioner: RegionCaptioner, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder that may be read"):
        create_mcp(captioner, folders=[tmp_path / "absent"])
