"""Which photos a user means: files, folders and patterns; and how one photo's failure leaves the others alone."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from regiontalk.images.suffixes import SUFFIXES
from regiontalk.records import ImageResult
from regiontalk.video.frames import shown_name

TOGETHER = 8  # photos given to the model at once: enough to share a decoding batch, few enough to report progress


@dataclass(frozen=True)
class Photos:
    """The photos of a command.

    Attributes:
        paths: files in the user's order, folders and patterns sorted; each once.
        single: the user named one file, so that its failure is the command's failure.
    """

    paths: tuple[str, ...]
    single: bool


def find_photos(arguments: Sequence[str]) -> Photos:
    """Expand files, folders (pictures directly inside) and patterns such as ``"trip/**/*.jpg"``.

    Raises:
        FileNotFoundError: the only argument names nothing, or a pattern or folder holds no picture.
    """
    single = (
        len(arguments) == 1 and not Path(arguments[0]).is_dir() and not _is_pattern(arguments[0])
    )
    if single and not Path(arguments[0]).exists():
        raise FileNotFoundError(f"{shown_name(arguments[0])}: no such photo{_hint(arguments[0])}")
    paths = [path for argument in arguments for path in _expand(argument)]
    return Photos(tuple(dict.fromkeys(paths)), single)


def _is_pattern(argument: str) -> bool:
    return (
        glob.has_magic(argument) and not Path(argument).exists()
    )  # a file may be called "dog[1].jpg"


def _hint(argument: str) -> str:
    return "; a second box needs its own --box" if argument.count(",") == 3 else ""


def _expand(argument: str) -> list[str]:
    """The pictures that one argument means; a file is taken as it is, whatever its suffix."""
    if Path(argument).is_dir():
        found, where = (str(path) for path in Path(argument).iterdir()), "folder"
    elif _is_pattern(argument):
        found, where = (path for path in glob.iglob(argument, recursive=True)), "pattern"
    else:
        return [argument]
    paths = sorted(
        path for path in found if Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()
    )
    if not paths:
        raise FileNotFoundError(
            f"{argument}: no picture in this {where}; expected files such as .jpg, .png or .heic"
        )
    return paths


@dataclass(frozen=True)
class Failure:
    """A photo that could not be read or described, and why."""

    photo: str
    error: ValueError | KeyError | OSError

    def without_trace(self) -> Failure:
        """The same without the frames in which it happened: they hold the decoded photos for as long as it lives."""
        self.error.__traceback__ = self.error.__cause__ = self.error.__context__ = None
        return self


def speak_all(
    paths: Sequence[str], speak: Callable[[Sequence[str]], Sequence[ImageResult]]
) -> Iterator[tuple[str, ImageResult | Failure]]:
    """Results in order, computed several photos at a time.

    Where one photo of a group fails, each of the group is tried alone, so that the others keep
    their results.

    Args:
        paths: the photos.
        speak: photos to as many results; raises for a photo that cannot be used.

    Yields:
        Each photo with its result or its failure.
    """
    for first in range(0, len(paths), TOGETHER):
        group = paths[first : first + TOGETHER]
        results: list[ImageResult] | None = None
        with suppress(ValueError, KeyError, OSError):
            results = list(speak(group))
        # outside of any handler: an error that is being handled keeps the photos of its frames
        if results is None:
            for path in group:
                yield path, _alone(path, speak)
        else:
            yield from zip(group, results, strict=True)


def _alone(
    path: str, speak: Callable[[Sequence[str]], Sequence[ImageResult]]
) -> ImageResult | Failure:
    try:
        return speak([path])[0]
    except (ValueError, KeyError, OSError) as error:
        return Failure(path, error)
