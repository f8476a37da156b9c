"""The same tools over MCP.

For assistants that run beside the user and should see the user's photos locally. A
picture comes as base64, or as a path; a path is read only where it lies under a folder
that the user allowed, after every link in it has been followed.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import AfterValidator, Field, FiniteFloat

from regiontalk import RegionCaptioner
from regiontalk.deprecation import renamed_keys
from regiontalk.export.alt_text import LIMIT, MIN_CONFIDENCE, SHORTEST, narrate
from regiontalk.images.encoded import decode_photo
from regiontalk.images.open import Photo, open_photo
from regiontalk.serve.limits import MOST_BEAMS, MOST_BOXES, Limits
from regiontalk.serve.schemas import OLD_FIELDS, local

if TYPE_CHECKING:
    from regiontalk.index.library import PhotoIndex

T = TypeVar("T")

AllowedPath = Annotated[
    str | None, Field(description="path of a picture file under an allowed folder")
]
Bytes = Annotated[
    str | None,
    Field(description="the bytes of a picture file in base64, instead of a path"),
]
Count = Annotated[
    int, Field(ge=0, le=MOST_BOXES, description="boxes beside the whole photo")
]
Boxes = Annotated[
    list[tuple[float, float, float, float]] | None,
    Field(
        max_length=MOST_BOXES,
        description="x1, y1, x2, y2 in pixels: caption these instead",
    ),
]
Parts = Annotated[
    list[tuple[float, float, float, float]] | None,
    Field(
        min_length=1,
        max_length=MOST_BOXES,
        description="x1, y1, x2, y2 in pixels of the example: only these count",
    ),
]
Beams = Annotated[
    int | None,
    Field(
        ge=1,
        le=MOST_BEAMS,
        description="K of the beam search; the model's own if unset",
    ),
]
Share = Annotated[
    float | None,
    Field(ge=0, le=1, description="regions less confident than this get no words"),
]
MinConfidence = Annotated[
    float,
    Field(ge=0, le=1, description="captions less confident than this are not used"),
]
Least = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        description="the name of min_confidence in the version before",
        json_schema_extra={"deprecated": True},
    ),
]
Letters = Annotated[int, Field(ge=SHORTEST, le=5000, description="most characters")]
Smooth = Annotated[
    FiniteFloat,
    Field(ge=0, le=1000, description="how much a word gains on its neighbour's box"),
]
Below = Annotated[str | None, Field(description="only photos whose path begins so")]
Time = Annotated[datetime, AfterValidator(local)] | None
Few = Annotated[int, Field(ge=1, le=50, description="how many, best first")]

_ABOUT = (
    "Describes regions of photos, locally. Boxes are x1, y1, x2, y2 in pixels of the "
    "photo. confidence is the probability that a caption is right; below 0.3 it is "
    "often wrong."
)


def create_mcp(
    captioner: RegionCaptioner,
    *,
    folders: Sequence[Path] = (),
    library: PhotoIndex | None = None,
    limits: Limits | None = None,
) -> MCPServer:
    """An MCP server with the tools caption, align, locate, alt_text and, with a library, search.

    Args:
        captioner: what answers.
        folders: where pictures may be read by path; none allows only base64.
        library: the photos that ``search`` searches.
        limits: pixels and bytes of a picture.

    Raises:
        ValueError: a folder that is none, or the library belongs to another model.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: expected a folder that may be read, got no folder"
            )
    if library is not None:
        library.check_model(captioner)
    server = MCPServer("regiontalk", instructions=_ABOUT)
    tools = Tools(
        captioner, [folder.resolve() for folder in folders], limits or Limits(), library
    )
    offered: list[Callable[..., Any]] = [
        tools.caption,
        tools.align,
        tools.locate,
        tools.alt_text,
    ]
    for tool in [*offered, *([tools.search] if library is not None else [])]:
        server.add_tool(_said(tool), structured_output=False)
    return server


class Tools:
    """The tools; one call computes at a time."""

    def __init__(
        self,
        captioner: RegionCaptioner,
        folders: Sequence[Path],
        limits: Limits,
        library: PhotoIndex | None,
    ) -> None:
        """Take what `create_mcp` checked; the folders are resolved."""
        self._captioner = captioner
        self._folders = folders
        self._limits = limits
        self._library = library
        self._turn = threading.Lock()

    def caption(
        self,
        path: AllowedPath = None,
        base64: Bytes = None,
        regions: Count = 10,
        boxes: Boxes = None,
        beams: Beams = None,
        threshold: Share = None,
    ) -> dict[str, Any]:
        """Describe a photo and its regions, or the boxes that you give."""
        photo = self.open(path, base64)
        with self._turn:
            if boxes is not None:
                return self._captioner.describe(
                    photo, boxes, beams=beams, threshold=threshold
                ).to_dict()
            return self._captioner.caption(
                photo, regions=regions, beams=beams, threshold=threshold
            ).to_dict()

    def align(
        self,
        sentence: str,
        path: AllowedPath = None,
        base64: Bytes = None,
        beta: Smooth = 0.0,
    ) -> dict[str, Any]:
        """Find the box of every word of a sentence about a photo."""
        photo = self.open(path, base64)
        with self._turn:
            result = self._captioner.align(photo, sentence, beta=beta).to_dict()
            return result | {
                "unknown_words": self._captioner.vocabulary.unknown(sentence)
            }

    def locate(
        self, phrase: str, path: AllowedPath = None, base64: Bytes = None, k: Few = 1
    ) -> dict[str, Any]:
        """Find where something is in a photo."""
        photo = self.open(path, base64)
        with self._turn:
            result = self._captioner.locate(photo, phrase, k=k).to_dict()
            return result | {
                "unknown_words": self._captioner.vocabulary.unknown(phrase)
            }

    def alt_text(
        self,
        path: AllowedPath = None,
        base64: Bytes = None,
        limit: Letters = LIMIT,
        neutral: bool = False,
        regions: Count = 10,
        min_confidence: MinConfidence = MIN_CONFIDENCE,
        least: Least = None,
    ) -> dict[str, str]:
        """Write an alt text for a photo; empty where nothing can be said with confidence."""
        if least is not None:
            (min_confidence,) = renamed_keys({"least": least}, OLD_FIELDS).values()
        photo = self.open(path, base64)
        with self._turn:
            result = self._captioner.caption(photo, regions=regions)
        return {
            "alt_text": narrate(
                result, limit=limit, min_confidence=min_confidence, neutral=neutral
            )
        }

    def search(
        self,
        text: str | None = None,
        k: Few = 10,
        path: AllowedPath = None,
        base64: Bytes = None,
        boxes: Parts = None,
        folder: Below = None,
        after: Time = None,
        before: Time = None,
    ) -> dict[str, Any]:
        """Find photos of the user's library by words, by an example picture or both.

        Each has the box that answers. after and before are times at which a photo was
        taken: from the one on, until the other begins.
        """
        if self._library is None:
            raise ValueError("search: expected a library, got none; start with --index")
        example = None if path is None and base64 is None else self.open(path, base64)
        with self._turn:
            hits = self._library.search(
                self._captioner,
                text,
                photo=example,
                boxes=boxes,
                k=k,
                folder=folder,
                after=after,
                before=before,
            )
            unknown = self._captioner.vocabulary.unknown(text) if text else []
        return {"hits": [hit.to_dict() for hit in hits], "unknown_words": unknown}

    def open(self, path: str | None, encoded: str | None) -> Photo:
        """The picture of a call.

        Raises:
            ValueError: neither or both were given, base64 that is none, or a path outside the
                allowed folders.
            ImageError: it cannot be used.
        """
        if (path is None) == (encoded is None):
            raise ValueError("picture: expected either path or base64")
        if path is not None:
            return self._opened(self.allowed(path), path)
        try:
            content = decode_photo(encoded or "")
        except ValueError as error:
            raise ValueError(f"base64: {error}") from error
        if len(content) > self._limits.upload_bytes:
            raise ValueError(
                f"base64: expected at most {self._limits.upload_bytes:,} bytes, got "
                f"{len(content):,}"
            )
        return self._opened(content, "photo")

    def _opened(self, source: Path | bytes, name: str) -> Photo:
        size = self._captioner.preprocessing.size
        return open_photo(
            source, max_pixels=self._limits.pixels, at_least=size, name=name
        )

    def allowed(self, path: str) -> Path:
        """The file that a path leads to, if it lies under an allowed folder.

        Raises:
            ValueError: it does not; the same words whether it exists or not.
        """
        try:
            local = (
                url2pathname(urlsplit(path).path)
                if path.startswith("file://")
                else path
            )
            target = Path(local).expanduser().resolve()
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # a zero character, a loop of links, an unknown ~user
            raise ValueError(f"{path!r}: not a path ({error})") from error
        if not any(target.is_relative_to(folder) for folder in self._folders):
            known = (
                ", ".join(map(str, self._folders))
                or "none; start with --allow FOLDER, or send base64"
            )
            raise ValueError(f"{path}: outside the folders that may be read: {known}")
        return target


def _said(tool: Callable[..., T]) -> Callable[..., T]:
    """The tool, its user's mistakes told to the client in their own words."""

    @functools.wraps(tool)
    def call(*given: Any, **named: Any) -> T:
        try:
            return tool(*given, **named)
        except (ValueError, OSError) as error:
            raise ToolError(" ".join(str(error).split())) from error

    return call
