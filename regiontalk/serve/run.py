"""Run the application with uvicorn: bind, load, tell where it is, open the page."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from regiontalk import RegionCaptioner
from regiontalk.model.card import licence
from regiontalk.model.hub import resolve_model
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits
from regiontalk.serve.middleware import check_token, is_local


@dataclass(frozen=True)
class Address:
    """Where to listen, and what clients must show.

    Raises:
        ValueError: an address that others reach, without a token; or a token that is none.
    """

    host: str
    port: int
    token: str | None = None

    def __post_init__(self) -> None:
        check_token(self.token)
        if self.token is None and not is_local(self.host):
            raise ValueError(
                f"--host {self.host}: an address that others may reach needs a token; "
                "set REGIONTALK_TOKEN (8 characters or more, hard to guess), or listen "
                "on 127.0.0.1"
            )

    def listen(self) -> socket.socket:
        """A bound socket.

        Raises:
            OSError: the port is taken, or the address is not of this machine.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            bound = socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(
                f"{self.host}:{self.port}: cannot listen there ({why}); choose another --port"
            ) from error
        # connections take it over. asyncio sets it on sockets alone that name TCP's number, and
        # without it the second packet of an answer waits 40 ms for the client's word.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return bound

    def page(self, port: int) -> str:
        """The page's address, without the token.

        Every user of the machine could read it there; the page asks.
        """
        name = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{port}/"


class _Server(uvicorn.Server):
    """Tells where it is once it answers."""

    def __init__(self, config: uvicorn.Config, page: str, *, open_page: bool) -> None:
        super().__init__(config)
        self._page = page
        self._open_page = open_page

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        print(f"RegionTalk: {self._page}", file=sys.stderr, flush=True)
        if self._open_page:  # some browsers return only when they are closed
            threading.Thread(target=_browse, args=(self._page,), daemon=True).start()


def _browse(page: str) -> None:
    """Open a browser, where there is one."""
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(page)


def run(
    address: Address,
    model: str,
    compute: Mapping[str, Any],
    index: str | None,
    limits: Limits,
    *,
    open_page: bool,
) -> None:
    """Serve until interrupted.

    Raises:
        ValueError: no such model or library, or an address that needs a token.
        OSError: the port is taken.
    """
    # first: a taken port should not cost the loading of a model
    bound = address.listen()
    with bound:
        folder = resolve_model(model)
        captioner = RegionCaptioner.from_pretrained(
            folder, max_pixels=limits.pixels, **compute
        )
        library = None
        if index is not None:
            from regiontalk.index.library import PhotoIndex

            library = PhotoIndex.open(index)
        card = (folder / "README.md").read_text(encoding="utf-8")
        app = create_app(
            captioner,
            limits=limits,
            library=library,
            token=address.token,
            licence=licence(card),
        )
        serve_app(app, bound, address.page(bound.getsockname()[1]), open_page=open_page)


def serve_app(
    app: FastAPI, bound: socket.socket, page: str, *, open_page: bool
) -> None:
    """Serve an application on a bound socket until interrupted.

    Args:
        app: what answers.
        bound: where it listens.
        page: the address that is told, and opened in a browser on request.
        open_page: open it.
    """
    config = uvicorn.Config(
        app, log_level="info", server_header=False, proxy_headers=False
    )
    # raised again once all is closed: it ended as it was asked to
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, page, open_page=open_page).run(sockets=[bound])
