"""``regiontalk mcp``: the tools for an assistant that speaks MCP over stdin and stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import Device, Engine, Model, Threads
from regiontalk.cli.serve import IndexOption

AllowOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow",
        metavar="FOLDER",
        help="Pictures below it may be read by path; may be repeated.",
        show_default=False,
    ),
]


def mcp(
    allow: AllowOption = None,
    index: IndexOption = None,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
) -> None:
    """Offer caption, align, locate, alt text and search to an assistant over MCP.

    The assistant may send pictures as bytes, or name files under the folders that you allow, and no
    others.
    """
    try:
        from regiontalk.serve.mcp_tools import create_mcp
    except ImportError as error:
        raise ImportError(
            f"mcp needs more packages ({error}); pip install 'regiontalk[serve]'"
        ) from error
    from regiontalk import RegionCaptioner

    captioner = RegionCaptioner.from_pretrained(
        model, **session.compute(device, engine, threads)
    )
    library = None
    if index is not None:
        from regiontalk.index.library import PhotoIndex

        library = PhotoIndex.open(index)
    create_mcp(captioner, folders=allow or [], library=library).run("stdio")
