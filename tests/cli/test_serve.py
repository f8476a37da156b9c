"""``regiontalk serve`` and ``mcp``: as programs, with the tiny model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

PROGRAM = [sys.executable, "-c", "from regiontalk.cli.main import app; app()"]


def test_serve_answers_until_interrupted(tiny_folder: Path) -> None:
    program = [
        *PROGRAM,
        "serve",
        "--model",
        str(tiny_folder),
        "--port",
        "0",
        "--no-open",
    ]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        address = next(
            line.split()[1]
            for line in running.stderr
            if line.startswith("RegionTalk: ")
        )
        with urllib.request.urlopen(f"{address}v1/models", timeout=60) as answer:
            assert json.load(answer)["models"][0]["name"] == "tiny"
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0


def test_the_browser_is_not_waited_for_and_sees_no_token(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """A command's arguments can be read by every user of the machine.

    And some browsers return only when closed.
    """
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {seen}\nexec sleep 60\n')
    browser.chmod(0o755)
    program = [*PROGRAM, "serve", "--model", str(tiny_folder), "--port", "0"]
    environment = {
        **os.environ,
        "REGIONTALK_TOKEN": "long-secret",
        "BROWSER": f"{browser} %s",
    }
    with subprocess.Popen(
        program, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stderr is not None
        line = next(line for line in running.stderr if line.startswith("RegionTalk: "))
        with urllib.request.urlopen(f"{line.split()[1]}healthz", timeout=30) as answer:
            assert json.load(answer) == {"status": "ok"}
        while not seen.exists() or not seen.read_text():
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    assert seen.read_text() == f"{line.split()[1]}\n" and "long-secret" not in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--host", "0.0.0.0"], "needs a token; set REGIONTALK_TOKEN", id="no token"
        ),
        pytest.param(["--port", "{taken}"], "cannot listen there", id="taken port"),
        pytest.param(["--index", "absent.index"], "absent.index", id="no library"),
        pytest.param(["--model", "absent"], "absent", id="no model"),
        pytest.param(
            ["--port", "0", "--token", "abc"], "8 characters or more", id="short token"
        ),
        pytest.param(
            ["--port", "0", "--token", "längstes Wort"],
            "without spaces",
            id="token no header carries",
        ),
    ],
)
def test_serve_refuses(
    real: Any,
    refused: Any,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delenv("REGIONTALK_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = {"--port": "0", "--model": "tiny"}
        given |= {
            options[at]: options[at + 1].replace("{taken}", port)
            for at in range(0, len(options), 2)
        }
        refused(
            real(
                "serve", "--no-open", *(part for pair in given.items() for part in pair)
            ),
            message,
        )


def test_mcp_over_stdin(tiny_folder: Path, tmp_path: Path) -> None:
    """The official client starts the program, lists its tools and calls one."""
    from PIL import Image

    Image.new("RGB", (40, 30), "teal").save(tmp_path / "a.png")
    arguments = [
        *PROGRAM[1:],
        "mcp",
        "--model",
        str(tiny_folder),
        "--allow",
        str(tmp_path),
    ]
    server = StdioServerParameters(
        command=PROGRAM[0], args=arguments, env=dict(os.environ)
    )

    async def ask() -> Any:
        async with Client(stdio_client(server)) as client:
            assert "caption" in [
                tool.name for tool in (await client.list_tools()).tools
            ]
            return await client.call_tool(
                "caption", {"path": str(tmp_path / "a.png"), "regions": 1}
            )

    result = asyncio.run(ask())
    assert json.loads(result.content[0].text)["width"] == 40


def test_mcp_refuses_a_folder_that_is_none(real: Any, refused: Any) -> None:
    refused(
        real("mcp", "--model", "tiny", "--allow", "absent"),
        "expected a folder that may be read",
    )
