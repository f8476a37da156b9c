"""``regiontalk serve``: the page and the API on this machine."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import Device, Engine, Model, Threads

HostOption = Annotated[
    str,
    typer.Option(
        "--host", metavar="ADDRESS", help="Others than 127.0.0.1 need a token."
    ),
]
PortOption = Annotated[
    int,
    typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one."),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="REGIONTALK_TOKEN",
        metavar="TEXT",
        help="What clients must show; better given as REGIONTALK_TOKEN, which `ps` does not show.",
        show_default=False,
        show_envvar=False,
    ),
]
IndexOption = Annotated[
    str | None,
    typer.Option(
        "--index", metavar="PATH_OR_URI", help="A library to search (regiontalk index)."
    ),
]
OpenOption = Annotated[
    bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
]
UploadOption = Annotated[
    int,
    typer.Option(
        "--max-upload", metavar="BYTES", min=1, help="Larger requests get 413."
    ),
]
PixelsOption = Annotated[
    int, typer.Option("--max-pixels", metavar="N", min=1, help="Larger photos get 422.")
]
SecondsOption = Annotated[
    float,
    typer.Option(
        "--seconds",
        metavar="S",
        min=0.1,
        help="To receive a request (else 408), and to answer it (else 503 or 504).",
    ),
]
WaitingOption = Annotated[
    int,
    typer.Option(
        "--waiting", metavar="N", min=1, help="More requests at once get 503."
    ),
]


def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    token: TokenOption = None,
    index: IndexOption = None,
    open_page: OpenOption = True,
    max_upload: UploadOption = 20_000_000,
    max_pixels: PixelsOption = 50_000_000,
    seconds: SecondsOption = 30.0,
    waiting: WaitingOption = 32,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
) -> None:
    """Show the page, and answer the API, on this machine.

    Photos stay in memory; neither they nor what is said about them is logged.
    """
    # before numpy is imported: the threads of its BLAS wait busily after their work, on the cores
    # that the next photo needs
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from regiontalk.serve.run import Address, run
    except ImportError as error:
        raise ImportError(
            f"serve needs more packages ({error}); pip install 'regiontalk[serve]'"
        ) from error
    from regiontalk.serve.limits import Limits

    limits = Limits(
        upload_bytes=max_upload, pixels=max_pixels, seconds=seconds, waiting=waiting
    )
    run(
        Address(host, port, token),
        model,
        session.compute(device, engine, threads),
        index,
        limits,
        open_page=open_page,
    )
