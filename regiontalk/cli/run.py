"""Running a verb over one photo or many: results on stdout, progress and failures on stderr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from regiontalk.cli.options import one_line
from regiontalk.cli.output import Drawings, show
from regiontalk.cli.photos import Failure, Photos, caption_all, find_photos
from regiontalk.cli.progress import Meter
from regiontalk.files import DiskFullError
from regiontalk.records import ImageResult


def prepare(photo: str, draw: Path | None, max_pixels: int) -> Drawings | None:
    """Find mistakes before a model is loaded, and open the folder of drawings.

    Raises:
        FileNotFoundError: no such photo.
        ValueError: the argument is a folder or a pattern.
    """
    if not find_photos([photo]).single:
        raise ValueError(f"{photo}: expected one photo, got a folder or a pattern")
    if draw is None:
        return None
    return Drawings(draw, max_pixels)


def show_one(
    photo: str, result: ImageResult, as_json: bool, drawings: Drawings | None
) -> None:
    """Print the result of one photo; its failure is the command's."""
    show(result, as_json, indent=2)
    if drawings is not None:
        _tell_drawn(drawings.add(photo, result))


def run_many(
    photos: Photos,
    caption: Callable[[Sequence[str]], Sequence[ImageResult]],
    as_json: bool,
    drawings: Drawings | None,
) -> None:
    """Print the result of each photo as it comes; raises as `for_each` does."""

    def use(path: str, result: ImageResult) -> None:
        indent = 2 if photos.single else None
        show(result, as_json, indent=indent)
        if drawings is not None:
            _tell_drawn(drawings.add(path, result))

    for_each(photos, caption, use)


def for_each(
    photos: Photos,
    caption: Callable[[Sequence[str]], Sequence[ImageResult]],
    use: Callable[[str, ImageResult], object],
) -> None:
    """Do something with the result of each photo as it comes.

    Args:
        photos: of the command.
        caption: photos to as many results; raises for a photo that cannot be used.
        use: takes a photo and its result; a ValueError or OSError is that photo's failure.

    Raises:
        typer.Exit: code 1 where some photos failed, after their list.
        DiskFullError: a full disk, which is no photo's failure.
        Exception: what was raised, where the user named a single photo.
    """
    failures: list[Failure] = []
    with Meter(len(photos.paths)) as meter:
        for path, outcome in caption_all(photos.paths, caption):
            failure = outcome if isinstance(outcome, Failure) else None
            if isinstance(outcome, ImageResult):
                with meter.paused():
                    failure = _used(path, outcome, use)
            if failure is not None:
                if photos.single:
                    raise failure.error
                failures.append(failure.without_trace())
            meter.advance()
    if failures:
        report(failures, len(photos.paths))


def _used(
    path: str, result: ImageResult, use: Callable[[str, ImageResult], object]
) -> Failure | None:
    """The failure of what was done with one result, if any."""
    try:
        use(path, result)
    except (BrokenPipeError, DiskFullError):  # the command's end, not one photo's
        raise
    except (ValueError, OSError) as error:
        return Failure(path, error)
    return None


def _tell_drawn(paths: Sequence[Path]) -> None:
    for path in paths:
        typer.echo(f"drawn: {path}", err=True)


def report(failures: Sequence[Failure], total: int) -> None:
    """List the photos that failed and end with code 1.

    Raises:
        typer.Exit: always.
    """
    typer.echo(f"regiontalk: {len(failures)} of {total} photos failed:", err=True)
    for failure in failures:
        text = one_line(failure.error)
        typer.echo(
            f"  {text}"
            if text.startswith(failure.photo)
            else f"  {failure.photo}: {text}",
            err=True,
        )
    raise typer.Exit(1)
