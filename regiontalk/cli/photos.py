"""Which photos a user means: files, folders and patterns.

And how one photo's failure leaves the others alone.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from regiontalk.datasets.photo_paths import path_of
from regiontalk.images.suffixes import SUFFIXES
from regiontalk.records import ImageResult
from regiontalk.video.frames import shown_name

OTHER_PHOTOS = (
    ".jxl .cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .pef .srw .psd .svg .xcf .mp4 .mov"
).split()
# What network drives, phones and archives keep beside photos.
SYSTEM_FOLDERS = frozenset(
    [
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "__MACOSX",
        "lost+found",
        "System Volume Information",
    ]
)
# photos given to the model at once: enough to share a decoding batch, few enough to
# report progress
TOGETHER = 8


@dataclass(frozen=True)
class Photos:
    """The photos of a command.

    Attributes:
        paths: files in the user's order, folders and patterns sorted; each once.
        single: the user named one file, so that its failure is the command's failure.
    """

    paths: tuple[str, ...]
    single: bool


def find_photos(arguments: Sequence[str], *, below: bool = False) -> Photos:
    """Expand files, folders (photos directly inside) and patterns such as ``"trip/**/*.jpg"``.

    Of a folder or pattern, hidden files and those of systems (``._x.jpg``, ``@eaDir``)
    are no photos, a link to a photo is that photo, and a link to a folder above is not
    gone into again.

    Args:
        arguments: of the command.
        below: take what is in the folders of a folder too.

    Raises:
        FileNotFoundError: the only argument names nothing, or a pattern or folder holds no photo.
    """
    arguments = [path_of(argument) for argument in arguments]
    first = arguments[0]
    single = len(arguments) == 1 and not Path(first).is_dir() and not _is_pattern(first)
    if single and not Path(first).exists():
        raise FileNotFoundError(f"{shown_name(first)}: no such photo{_hint(first)}")
    paths = chain.from_iterable(_expand(argument, below) for argument in arguments)
    return Photos(tuple(dict.fromkeys(paths)), single)


def _is_pattern(argument: str) -> bool:
    # a file may be called "dog[1].jpg"
    return glob.has_magic(argument) and not Path(argument).exists()


def _hint(argument: str) -> str:
    if argument.count(",") != 3:
        return ""
    return "; a second box needs its own --box"


def _expand(argument: str, below: bool) -> list[str]:
    """The photos that one argument means; a file is taken as it is, whatever its suffix."""
    if Path(argument).is_dir():
        kind = "folder"
        files = list(_files_below(argument)) if below else _files_in(argument)
    elif _is_pattern(argument):
        kind, files = "pattern", _matching(argument)
    else:
        return [argument]
    files = [path for path in files if not _is_system(Path(path))]
    photos = [path for path in files if Path(path).suffix.lower() in SUFFIXES]
    photos = list(filter(os.path.isfile, photos))
    if not photos:
        raise FileNotFoundError(
            f"{argument}: no picture in this {kind}; expected files such as .jpg, .png "
            f"or .heic{_others(files)}"
        )
    return _each_once(photos)


def _files_in(folder: str) -> list[str]:
    """What stands directly in a folder."""
    return [str(path) for path in Path(folder).iterdir()]


def _matching(pattern: str) -> list[str]:
    """The files of a pattern; glob itself would follow a loop of links for ever."""
    base, _, last = pattern.partition("**" + os.sep)
    is_one_name = bool(last) and os.sep not in last
    if not is_one_name or glob.has_magic(base):
        return glob.glob(pattern, recursive=True)
    matching = []
    for path in _files_below(base or "."):
        if fnmatch.fnmatch(os.path.basename(path), last):
            matching.append(os.path.normpath(path))
    return matching


def _files_below(folder: str) -> Iterator[str]:
    """The files in a folder and in its folders, links included.

    Each folder once, however it is reached.
    """
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(parent))
        unvisited = []
        for name in sorted(folders):
            is_visited = os.path.realpath(os.path.join(parent, name)) in visited
            if not is_visited and not _is_system(Path(name)):
                unvisited.append(name)
        folders[:] = unvisited  # os.walk goes on into these
        visited.update(
            os.path.realpath(os.path.join(parent, name)) for name in unvisited
        )
        yield from (os.path.join(parent, name) for name in names)


def _is_system(path: Path) -> bool:
    """Whether a file is hidden, or stands in a folder that a system keeps for itself."""
    return path.name.startswith(".") or not SYSTEM_FOLDERS.isdisjoint(path.parts)


def _each_once(paths: Sequence[str]) -> list[str]:
    """The paths in order, one for each file: of a photo and a link to it, the photo."""
    first: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (os.path.islink(path), path)):
        first.setdefault(os.path.realpath(path), path)
    return sorted(first.values())


def _others(files: Sequence[str]) -> str:
    """How many photos of other formats there are, where there are some."""
    counts = Counter(Path(path).suffix.lower() for path in files)
    others = [f"{counts[suffix]} {suffix}" for suffix in OTHER_PHOTOS if counts[suffix]]
    if not others:
        return ""
    return f"; got {', '.join(others)}, which are not read: export them as JPEG first"


@dataclass(frozen=True)
class Failure:
    """A photo that could not be read or described, and why."""

    photo: str
    error: ValueError | KeyError | OSError

    def without_trace(self) -> Failure:
        """The same without the frames in which it happened.

        They hold the decoded photos for as long as it lives.
        """
        self.error.__traceback__ = None
        self.error.__cause__ = None
        self.error.__context__ = None
        return self


def caption_all(
    paths: Sequence[str], caption: Callable[[Sequence[str]], Sequence[ImageResult]]
) -> Iterator[tuple[str, ImageResult | Failure]]:
    """Results in order, computed several photos at a time.

    Where one photo of a group fails, each of the group is tried alone, so that the others keep
    their results.

    Args:
        paths: the photos.
        caption: photos to as many results; raises for a photo that cannot be used.

    Yields:
        Each photo with its result or its failure.
    """
    for first in range(0, len(paths), TOGETHER):
        group = paths[first : first + TOGETHER]
        results: list[ImageResult] | None = None
        with suppress(ValueError, KeyError, OSError):
            results = list(caption(group))
        # outside of any handler: an error that is being handled keeps the photos of its frames
        if results is None:
            for path in group:
                yield path, _alone(path, caption)
        else:
            yield from zip(group, results, strict=True)


def _alone(
    path: str, caption: Callable[[Sequence[str]], Sequence[ImageResult]]
) -> ImageResult | Failure:
    try:
        return caption([path])[0]
    except (ValueError, KeyError, OSError) as error:
        return Failure(path, error)
