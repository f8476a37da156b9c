"""What every request passes: who may ask, how large, how long, how many at once.

And what every answer carries. One ASGI layer around the application. Answers of its own
are JSON with a reason, as all others.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regiontalk.serve.admission import (
    Admission,
    BusyError,
    Ticket,
    Upload,
    UploadMemory,
)
from regiontalk.serve.limits import Limits
from regiontalk.serve.metrics import Metrics
from regiontalk.serve.schemas import RefusedError

# The page needs nothing but itself; pictures that it shows come from the user's own disk (blob:) or
# an answer (data:).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: "
    "data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action "
    "'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_CLIENT_LEFT = 499  # in the metrics alone: as nginx counts them


def answer(
    status: int, reason: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The JSON of a request that failed."""
    return Response(
        json.dumps({"error": reason}), status, dict(headers or {}), "application/json"
    )


def busy(error: BusyError) -> Response:
    """The answer to one that is to come again."""
    return answer(503, str(error), {"retry-after": str(error.seconds)})


def _plain_path(scope: Scope) -> Scope:
    """A request with the slashes of its path as they are meant.

    Of ``//v1/caption/`` one before each name.
    """
    path = str(scope["path"])
    if "//" not in path and not (path.startswith("/v1/") and path.endswith("/")):
        return scope
    plain = re.sub("/{2,}", "/", path)
    if plain.startswith("/v1/"):
        plain = plain.rstrip("/")
    return {**scope, "path": plain, "raw_path": plain.encode()}


@dataclass(eq=False)
class Gate:
    """An ASGI application around another.

    Attributes:
        app: what answers.
        admission: gives places to requests that need the model.
        limits: sizes and times.
        metrics: counts answers.
        token: what clients must show; None where only this machine can connect.
    """

    app: ASGIApp
    admission: Admission
    limits: Limits
    metrics: Metrics
    token: str | None = None

    def __post_init__(self) -> None:
        self._memory = UploadMemory(self.limits.memory_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _plain_path(scope)
        begun = monotonic()
        watched = _Watched(receive, send, self.limits.upload_bytes)
        try:
            self._check(scope)
            await self._pass(scope, watched)
        except RefusedError as error:
            await watched.refuse(
                scope, answer(error.status, error.reason, _ask(error.status))
            )
        except BusyError as error:
            await watched.refuse(scope, busy(error))
        finally:
            path = getattr(scope.get("route"), "path", "") or (
                "page" if 0 < watched.status < 400 else "other"
            )
            self.metrics.answered(path, watched.status or 500, monotonic() - begun)

    def _check(self, scope: Scope) -> None:
        """Who asks, and how much they announce to send.

        A page of another site that runs in the user's browser could reach this address as well: it
        is told apart by its Origin, and a name that was bent to point here by its Host.
        """
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.token is None and not is_local(_name(host)):
            raise RefusedError(
                421,
                "host: expected localhost or 127.0.0.1; for others, start with a token",
            )
        origin = headers.get("origin")
        if origin is not None and scope["method"] != "GET" and _home(origin) != host:
            raise RefusedError(403, "origin: pages of other sites may not ask")
        private = scope["path"].startswith("/v1/") or scope["path"] == "/metrics"
        if (
            self.token is not None
            and private
            and not _bears(headers.get("authorization", ""), self.token)
        ):
            raise RefusedError(
                401,
                "authorization: expected 'Bearer' and the token that the server was started with",
            )
        announced = headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > self.limits.upload_bytes:
            raise too_large(self.limits.upload_bytes)

    async def _pass(self, scope: Scope, watched: _Watched) -> None:
        """To the application; what needs the model is received first, and then takes a place."""
        if scope["method"] != "POST":
            await self.app(scope, watched.receive, watched.send)
            return
        self.admission.check()  # before a body is sent in vain
        with self._memory.upload() as upload:
            await self._receive(watched, upload)
            with self.admission.admitted(upload) as ticket:
                await self._answer(scope, watched, ticket)

    async def _receive(self, watched: _Watched, upload: Upload) -> None:
        """The whole body, in a request's time."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                await watched.receive_body(upload)
        except TimeoutError:
            reason = f"receiving the request took longer than {self.limits.seconds:g} s"
            raise RefusedError(408, reason) from None

    async def _answer(self, scope: Scope, watched: _Watched, ticket: Ticket) -> None:
        """The application's answer, while the client waits for it and its time lasts."""
        watched.before_answer = functools.partial(self.admission.leave, ticket)
        answering = asyncio.ensure_future(
            self.app(scope, watched.receive, watched.send)
        )
        leaving = asyncio.create_task(watched.left())
        try:
            await asyncio.wait(
                {answering, leaving},
                timeout=ticket.left,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            gone = leaving.done()
            late = ticket.late_by_queue
            leaving.cancel()
            answering.cancel()
            await asyncio.wait({answering})
        if not answering.cancelled():
            self.admission.answered()
            answering.result()
        elif gone:
            watched.status = watched.status or _CLIENT_LEFT
        elif late:
            raise BusyError(self.admission.retry_after)
        else:
            self.admission.answered()
            reason = f"computing took longer than {self.limits.seconds:g} s"
            raise RefusedError(504, reason)


class _Watched:
    """Receives and sends for one request: counts what comes, remembers what went."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._body: bytearray | None = None  # received, and not yet handed on
        self._whole = asyncio.Event()
        self._gone = asyncio.Event()
        self.before_answer: Callable[[], None] = lambda: None
        self.status = 0

    async def receive_body(self, upload: Upload) -> None:
        """Receive it all; the application then gets it as one message.

        Raises:
            RefusedError: it is too large, or breaks off.
            BusyError: all bodies together are too large.
        """
        body = bytearray()  # a list would hold many times the bytes of small chunks
        while not self._whole.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "body: the upload broke off")
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > self._most:
                raise too_large(self._most)
            upload.add(len(chunk))
            body += chunk
            if not message.get("more_body", False):
                self._whole.set()
        self._body = body

    async def receive(self) -> Message:
        """For the application: the body that was received.

        Then the news that the client has gone.
        """
        if self._body is not None:
            body, self._body = bytes(self._body), None
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._whole.is_set():  # a request that is not received beforehand
            return await self._receive()
        await self._gone.wait()  # `left` listens
        return {"type": "http.disconnect"}

    async def left(self) -> None:
        """Return when the client has gone after it had sent its whole request."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def send(self, message: Message) -> None:
        """To the client, with the headers of every answer."""
        if message["type"] == "http.response.start":
            self.before_answer()
            self.status = message["status"]
            MutableHeaders(scope=message).update(_HEADERS)
        await self._send(message)

    async def refuse(self, scope: Scope, response: Response) -> None:
        """Answer with a reason, where no answer has begun."""
        if self.status == 0:
            await response(scope, self.receive, self.send)


def is_local(name: str) -> bool:
    """Whether a host's name or address can only mean this machine.

    >>> is_local("localhost"), is_local("127.0.0.1"), is_local("::1")
    (True, True, True)
    >>> is_local("0.0.0.0"), is_local("a.example")
    (False, False)
    """
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_token(token: str | None) -> None:
    """Refuse a token that is easy to guess or that a header cannot carry.

    >>> check_token("Z8-long_secret")
    >>> check_token(None)
    """
    if token is not None and not re.fullmatch("[!-~]{8,}", token):
        raise ValueError(
            "token: expected 8 characters or more, ASCII letters, digits and signs "
            f"without spaces, got {len(token)} characters or others; make one with: "
            "openssl rand -hex 16"
        )


def too_large(most: int) -> RefusedError:
    """The refusal of a body that is too large."""
    return RefusedError(413, f"body: expected at most {most:,} bytes; shrink the photo")


def _ask(status: int) -> dict[str, str]:
    """The header that goes with a refusal."""
    return {"www-authenticate": "Bearer"} if status == 401 else {}


def _bears(header: str, token: str) -> bool:
    """Whether an Authorization header shows the token.

    Takes as long for a wrong one as for the right one.
    """
    kind, _, shown = header.partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(
        shown.strip().encode(), token.encode()
    )


def _home(origin: str) -> str:
    """Name and port in an Origin header.

    >>> _home("http://localhost:8000"), _home("null"), _home("http://[")
    ('localhost:8000', '', '')
    """
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name in a Host header, without its port.

    >>> _name("localhost:8000"), _name("[::1]:8000"), _name("")
    ('localhost', '::1', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
