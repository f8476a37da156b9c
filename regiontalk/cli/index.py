"""``regiontalk index``: a library of photos that `regiontalk search` looks through."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from regiontalk.cli import session
from regiontalk.cli.options import (
    MAX_PIXELS,
    Device,
    Engine,
    Json,
    MaxPixels,
    Model,
    Threads,
)

HOME = "~/.regiontalk/index"  # the library of a user who names none

Library = Annotated[
    str,
    typer.Option(
        "--index",
        metavar="PATH|URI",
        envvar="REGIONTALK_INDEX",
        help="The library: a folder, or any URI that LanceDB takes (s3://bucket/photos).",
    ),
]
PhotosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FOLDER|PHOTO|GLOB...",
        help="What to add; folders with all below.",
        show_default=False,
    ),
]
KnownArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FOLDER|PHOTO...",
        help="What to forget; folders with all below.",
        show_default=False,
    ),
]
RegionsOption = Annotated[
    int,
    typer.Option(
        "--regions",
        metavar="N",
        min=0,
        help="Regions a photo, for a library that is made now.",
    ),
]
CaptionsOption = Annotated[
    int | None,
    typer.Option(
        "--captions",
        metavar="N",
        min=0,
        help="How many regions of a photo get words; 0 is fastest.  [default: all]",
    ),
]
BatchOption = Annotated[
    int,
    typer.Option(
        "--batch", metavar="N", min=1, help="Photos computed and written together."
    ),
]
RebuildOption = Annotated[
    bool, typer.Option("--rebuild", help="Throw away what is there and begin again.")
]
MissingOption = Annotated[
    bool, typer.Option("--missing", help="Forget the photos whose file is gone.")
]

HoursOption = Annotated[
    float,
    typer.Option(
        "--older-than",
        metavar="HOURS",
        min=0,
        help="Age from which a version is dropped.",
    ),
]

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Keep a library of photos to search by region (regiontalk search).",
)


def library_uri(text: str) -> str:
    """A library as its user wrote it, the home folder filled in.

    >>> library_uri("s3://bucket/~photos")
    's3://bucket/~photos'
    """
    if "://" in text:
        return text
    return str(Path(text).expanduser())


@app.command("add")
def add(
    photos: PhotosArgument,
    index: Library = HOME,
    regions: RegionsOption = 19,
    captions: CaptionsOption = None,
    batch: BatchOption = 32,
    rebuild: RebuildOption = False,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Add photos to a library, which is made where there is none.

    Photos that are in it unchanged are passed over. Stopped at any moment and started again, it
    goes on where it was.
    """
    from regiontalk import RegionCaptioner
    from regiontalk.cli.photos import find_photos
    from regiontalk.cli.progress import Meter
    from regiontalk.index.library import PhotoIndex

    named_photos = find_photos(photos, below=True)
    uri = library_uri(index)
    captioner = RegionCaptioner.from_pretrained(
        model, **session.compute(device, engine, threads), max_pixels=max_pixels
    )
    library = PhotoIndex.open_or_create(
        uri, captioner, regions=regions, rebuild=rebuild
    )
    with Meter(len(named_photos.paths)) as meter:

        def done(count: int) -> None:
            for _ in range(count):
                meter.advance()

        report = library.add(
            captioner, named_photos.paths, captions=captions, batch=batch, done=done
        )
    if named_photos.single and report.failed:
        raise ValueError(report.failed[0][1])
    if library.about.regions != regions:
        typer.echo(
            f"note: {uri} holds {library.about.regions} regions a photo, not {regions}; "
            "--rebuild makes it anew",
            err=True,
        )
    counts = (
        f"{report.added} added, {report.changed} changed, {report.unchanged} unchanged"
    )
    typer.echo(f"{uri}: {counts}; {len(library)} in all")
    tell_failed(report.failed, len(named_photos.paths))


def tell_failed(failed: Sequence[tuple[str, str]], total: int) -> None:
    """List the photos that were not added, if any, and end with code 1.

    Args:
        failed: path and reason of each.
        total: photos of the command.

    Raises:
        typer.Exit: some failed.
    """
    from regiontalk.cli.photos import Failure
    from regiontalk.cli.run import report

    if failed:
        report([Failure(path, ValueError(reason)) for path, reason in failed], total)


@app.command("remove")
def remove(
    photos: KnownArgument = None, index: Library = HOME, missing: MissingOption = False
) -> None:
    """Forget photos of a library; their files stay."""
    from regiontalk.index.library import PhotoIndex

    if not photos and not missing:
        raise ValueError(
            "index remove: expected photos or folders to forget, or --missing, got neither"
        )
    library = PhotoIndex.open(library_uri(index))
    count = library.remove(photos or [])
    if missing:
        count += library.remove_missing()
    typer.echo(f"{library_uri(index)}: {count} forgotten; {len(library)} left")


@app.command("compact")
def compact(index: Library = HOME, hours: HoursOption = 1.0) -> None:
    """Join the small files of a library and drop its old versions; searching works meanwhile.

    Adding does this by itself; after many writers at once, or on an object store, it frees space.
    """
    from regiontalk.index.library import PhotoIndex

    library = PhotoIndex.open(library_uri(index))
    before = library.info()["bytes"]
    library.compact(timedelta(hours=hours))
    after = library.info()["bytes"]
    typer.echo(
        f"{library_uri(index)}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now"
    )


@app.command("info")
def info(index: Library = HOME, json: Json = False) -> None:
    """Print what a library holds and which model made it."""
    from regiontalk.index.library import PhotoIndex

    values = PhotoIndex.open(library_uri(index)).info()
    typer.echo(
        json_module.dumps(values, indent=2) if json else "\n".join(lines(values))
    )


def lines(values: Mapping[str, Any]) -> Iterator[str]:
    """What `info` says, to be read by people."""
    count = values["photos"]
    yield f"index    {values['index']}"
    yield f"model    {values['model']} ({values['fingerprint'][:12]})"
    yield f"photos   {count:,}, with {values['regions_in_all']:,} regions"
    if count:
        yield f"taken    {values['first'][:10]} to {values['last'][:10]}"
        yield (
            f"size     {values['bytes'] / 1e6:.1f} MB, "
            f"{values['bytes'] / count:,.0f} bytes a photo"
        )
