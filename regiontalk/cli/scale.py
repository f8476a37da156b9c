"""``regiontalk scale``: many photos, many processes, many machines (docs/scale.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, NamedTuple, TypeVar

import typer

from regiontalk.cli.caption import BeamOption, ThresholdOption
from regiontalk.cli.index import (
    HOME,
    CaptionsOption,
    Library,
    PhotosArgument,
    library_uri,
    tell_failed,
)
from regiontalk.cli.index import RegionsOption as LibraryRegionsOption
from regiontalk.cli.options import MAX_PIXELS, Device, MaxPixels, Model
from regiontalk.cli.progress import LINE_SECONDS, QUIET_SECONDS
from regiontalk.cli.snippets import Beta

if TYPE_CHECKING:
    from ray.data import Dataset

    from regiontalk.scale.index import IndexProgress
    from regiontalk.scale.job import Progress
    from regiontalk.scale.rows import Task

T = TypeVar("T")

InputArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Folders with all below, patterns, Parquet files or tars, also as s3://bucket/...",
        show_default=False,
    ),
]
CaptionedArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Tars (7.txt or 7.json beside 7.jpg) or Parquet files, also as s3://bucket/...",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Instead of INPUT: the folder of a data set, as for snippets.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    str, typer.Option("--split", metavar="NAME", help="Of --data: train, dev or test.")
]
SentencesOption = Annotated[
    str | None,
    typer.Option(
        "--sentences",
        metavar="NAME",
        help="The column of Parquet files, or field of .json files, with the sentences.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        metavar="FOLDER|URI",
        help="Where the rows go; run again to go on there.",
        show_default=False,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="A Ray cluster: auto, or host:port.  [default: this machine alone]",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, help="Processes with a model.")
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, help="CPU cores of each worker.")
]
FormatOption = Annotated[
    str,
    typer.Option("--format", metavar="FORMAT", help="Of the output: parquet or jsonl."),
]
RegionsOption = Annotated[
    int, typer.Option("--regions", metavar="N", min=0, help="How many regions a photo.")
]
BatchOption = Annotated[
    int,
    typer.Option(
        "--batch",
        metavar="N",
        min=1,
        help="Photos written together: what a failure costs a worker at most.",
    ),
]
TogetherOption = Annotated[
    int,
    typer.Option(
        "--together",
        metavar="N",
        min=1,
        help="Photos computed in one run of the network.",
    ),
]
ColumnOption = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="Of Parquet files: the photos' bytes.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Of Parquet files: the photos' names.",
        show_default=False,
    ),
]

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Many photos by many processes, on this machine or a Ray cluster.",
)


@app.callback()
def _group() -> None:
    """Many photos by many processes, on this machine or a Ray cluster."""


@app.command("caption")
def caption(
    inputs: InputArgument,
    output: OutputOption,
    address: AddressOption = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    form: FormatOption = "parquet",
    regions: RegionsOption = 10,
    beam: BeamOption = None,
    threshold: ThresholdOption = None,
    batch: BatchOption = 64,
    together: TogetherOption = 8,
    column: ColumnOption = None,
    key: KeyOption = None,
    model: Model = "mini",
    device: Device = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Caption photos into Parquet or JSON Lines.

    A photo that cannot be used becomes a row with its error. Whatever is killed, the same command
    goes on where it was: photos that are finished are passed over by the hash of their content.
    """
    from regiontalk.scale.caption import CaptionSettings
    from regiontalk.scale.sources import read_photos

    settings = CaptionSettings(regions, beam, threshold, together, max_pixels)
    staff = _Staff(model, device, address, workers, threads)
    _run_job(
        lambda: read_photos(inputs, batch=batch, column=column, key=key),
        inputs,
        output,
        form,
        settings,
        staff,
    )


@app.command("snippets")
def snippets(
    output: OutputOption,
    inputs: CaptionedArgument = None,
    data: DataOption = None,
    split: SplitOption = "train",
    address: AddressOption = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    form: FormatOption = "parquet",
    beta: Beta = None,
    batch: BatchOption = 64,
    column: ColumnOption = None,
    key: KeyOption = None,
    sentences: SentencesOption = None,
    model: Model = "mini",
    device: Device = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Infer which words name which region, of photos with sentences.

    A row for each photo, in Parquet or JSON Lines, holds the (region, snippet) pairs of its
    sentences. A photo that cannot be used, or has no sentence, becomes a row with its error.
    Whatever is killed, the same command goes on where it was.
    """
    from regiontalk.scale.sentences import read_captioned
    from regiontalk.scale.snippets import SnippetSettings

    if (data is None) == (not inputs):
        raise ValueError(
            "scale snippets: expected tars or Parquet files, or else --data with the "
            "folder of a data set, got " + ("both" if inputs else "neither")
        )
    settings = SnippetSettings(beta, max_pixels)
    staff = _Staff(model, device, address, workers, threads)
    if data is not None:
        read = _reader_of_examples(data, split, batch)
    else:
        read = partial(
            read_captioned,
            inputs or [],
            batch=batch,
            column=column,
            key=key,
            sentences=sentences,
        )
    _run_job(read, inputs or [str(data)], output, form, settings, staff)


class _Staff(NamedTuple):
    """Who computes, and where, as the command line says it."""

    model: str
    device: str | None
    address: str | None
    workers: int
    threads: int


def _reader_of_examples(data: Path, split: str, batch: int) -> Callable[[], Dataset]:
    """Reads the photos of a data set that have sentences.

    What is wrong with its files is told at once.
    """
    from regiontalk.datasets.splits import read_split
    from regiontalk.scale.sentences import read_examples

    examples, reports = read_split(data, split)
    for report in reports:
        for line in report.lines():
            typer.echo(line, err=True)
    paths = [os.path.abspath(example.photo) for example in examples]
    keys = [example.id for example in examples]
    captions = [example.captions for example in examples]
    return lambda: read_examples(paths, keys, captions, batch)


def _run_job(
    read: Callable[[], Dataset],
    inputs: Sequence[str],
    output: str,
    form: str,
    task: Task,
    staff: _Staff,
) -> None:
    """Run a job to its end and say what it did.

    Args:
        read: makes the dataset of photos, once Ray is there.
        inputs: as the user named them.
        output: where the rows go.
        form: of the output.
        task: what is computed of each photo.
        staff: who computes.
    """
    from regiontalk.scale.job import run_job
    from regiontalk.scale.output import Output
    from regiontalk.scale.ray_session import ray_session
    from regiontalk.scale.rows import FORMATS
    from regiontalk.scale.storage import is_local, shown
    from regiontalk.scale.workers import Workers

    if form not in FORMATS:
        raise ValueError(f"--format: expected {' or '.join(FORMATS)}, got {form!r}")
    for text in inputs:
        if is_local(text) and is_local(output) and _is_inside(output, text):
            raise ValueError(
                f"--output {output}: expected a folder outside of the input, got one in {text}"
            )
    workers = Workers.of(
        staff.model,
        count=staff.workers,
        threads=staff.threads,
        device=staff.device or "cpu",
    )
    Output(output)  # an address that nobody understands is told before Ray starts
    reporter = _Reporter(partial(_line, verb=_VERBS[task.kind]))
    with ray_session(staff.address, staff.workers, staff.threads):
        progress = run_job(
            read(), output, workers, task, form=form, report=reporter.report
        )
    total = progress.before + progress.finished
    line = _line(progress, _VERBS[task.kind])
    typer.echo(f"{shown(output)}: {total:,} photos; {line}", err=True)


_VERBS = {"captions": "captioned", "snippets": "done"}


@app.command("index")
def index(
    photos: PhotosArgument,
    library: Library = HOME,
    address: AddressOption = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    regions: LibraryRegionsOption = 19,
    captions: CaptionsOption = None,
    batch: BatchOption = 64,
    model: Model = "mini",
    device: Device = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Add photos to a library that regiontalk search looks through.

    Every worker commits its own photos. Whatever is killed, the same command goes on where it was:
    photos that are in the library unchanged are passed over.
    """
    from regiontalk import RegionCaptioner
    from regiontalk.cli.photos import find_photos
    from regiontalk.index.library import PhotoIndex
    from regiontalk.scale.index import IndexSettings, add_to_index
    from regiontalk.scale.ray_session import ray_session
    from regiontalk.scale.storage import shown
    from regiontalk.scale.workers import Workers

    for text in photos:
        if "://" in text:
            raise ValueError(
                f"{shown(text)}: expected photos in folders that all machines share, "
                "got an address; a library knows photos by their paths"
            )
    paths = [os.path.abspath(path) for path in find_photos(photos, below=True).paths]
    uri = library_uri(library)
    uri = uri if "://" in uri else os.path.abspath(uri)
    staff = Workers.of(model, count=workers, threads=threads, device=device or "cpu")
    captioner = RegionCaptioner.from_pretrained(
        model, max_pixels=max_pixels, threads=threads
    )
    opened = PhotoIndex.open_or_create(uri, captioner, regions=regions)
    settings = IndexSettings(uri, captions, max_pixels)
    reporter = _Reporter(_index_line)
    with ray_session(address, workers, threads):
        progress = add_to_index(
            opened, paths, staff, settings, batch=batch, report=reporter.report
        )
    typer.echo(
        f"{shown(uri)}: {_index_line(progress)}; {len(opened):,} in all", err=True
    )
    tell_failed(progress.report.failed, len(paths))


class _Reporter(Generic[T]):
    """Says how far a job is, a line every `LINE_SECONDS`."""

    def __init__(self, line: Callable[[T], str]) -> None:
        """Take what says it."""
        self._line = line
        self._next = time.monotonic() + QUIET_SECONDS

    def report(self, progress: T) -> None:
        """Print a line where it is time for one."""
        if time.monotonic() >= self._next:
            typer.echo(self._line(progress), err=True)
            self._next = time.monotonic() + LINE_SECONDS


def _index_line(progress: IndexProgress) -> str:
    """What a run added until now.

    >>> from regiontalk.index.library import Added
    >>> from regiontalk.scale.index import IndexProgress
    >>> _index_line(IndexProgress(Added(90, 10, 5, (("a.jpg", "broken"),)), 10.0))
    '90 added, 10 changed, 5 unchanged, 1 failed, 10.0 photos a second'
    """
    report = progress.report
    counts = f"{report.added:,} added, {report.changed:,} changed, {report.unchanged:,} unchanged"
    failed = f", {len(report.failed):,} failed" if report.failed else ""
    speed = f", {progress.photos_per_second:.1f} photos a second"
    return f"{counts}{failed}{speed if report.added + report.changed else ''}"


def _line(progress: Progress, verb: str) -> str:
    """What a run did until now, in the verb of its task.

    >>> from regiontalk.scale.job import Progress
    >>> _line(Progress(finished=1200, failed=3, before=64, seconds=100.0), "captioned")
    '1,200 captioned, 3 of them with an error, 64 were there before, 12.0 photos a second'
    """
    failed = f", {progress.failed:,} of them with an error" if progress.failed else ""
    before = f", {progress.before:,} were there before" if progress.before else ""
    speed = f", {progress.photos_per_second:.1f} photos a second"
    return f"{progress.finished:,} {verb}{failed}{before}{speed if progress.finished else ''}"


def _is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder of this machine or below it."""
    inner, outer = (
        os.path.realpath(os.path.expanduser(text)) for text in (path, folder)
    )
    return inner == outer or inner.startswith(outer + os.sep)
