"""``regiontalk export``: captions, regions and alt texts in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.narrate import (
    REGIONS,
    LimitOption,
    MinConfidenceOption,
    NeutralOption,
    RegionsOption,
)
from regiontalk.cli.options import (
    MAX_PIXELS,
    AllBoxes,
    Device,
    Engine,
    MaxPixels,
    Model,
    Threads,
)
from regiontalk.export.alt_text import LIMIT, MIN_CONFIDENCE

if TYPE_CHECKING:
    from regiontalk.cli.photos import Photos
    from regiontalk.export.accepted import AcceptedTexts
    from regiontalk.export.gallery import Entry
    from regiontalk.records import ImageResult

# Each of these has a module whose `files` makes texts of all results; the others write photo by
# photo.
DOCUMENTS = {
    "coco": "coco",
    "genome": "genome",
    "w3c": "annotation",
    "label-studio": "labelstudio",
    "cvat": "cvat",
    "csv": "table",
}
FORMATS = ("xmp", "xmp-copy", "html", *DOCUMENTS, "gallery")
# --out is a folder; elsewhere it is a file
FOLDERS = ("xmp", "xmp-copy", "html", "genome", "gallery")
ALTS = ("xmp", "xmp-copy", "html", "gallery")  # what --texts goes into
EXTENDED = 2000  # characters of the long description

Format = Annotated[str, typer.Argument(metavar="|".join(FORMATS), show_default=False)]
PhotosArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PHOTO|FOLDER|GLOB",
        help="What to export; for html the site's folder.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="PATH",
        help=f"A folder for {', '.join(FOLDERS)}; otherwise a file.",
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="FILE",
        help="Export what `caption --json` printed; no model is loaded.",
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="xmp, xmp-copy, html: put our texts in place of those that are there.",
    ),
]
MwgOption = Annotated[
    bool,
    typer.Option(
        "--mwg",
        help="xmp, xmp-copy: the regions in the list of faces too, which some programs show.",
    ),
]
TextsOption = Annotated[
    Path | None,
    typer.Option(
        "--texts",
        metavar="FILE",
        help="Alt texts that were accepted on the page; they go before ours.",
    ),
]


@dataclass(frozen=True)
class Wording:
    """How results are worded, from the command line; accepted texts go before the model's."""

    limit: int
    min_confidence: float
    neutral: bool
    all_boxes: bool
    replace: bool
    mwg: bool = False
    texts: AcceptedTexts | None = None

    def alt(self, result: ImageResult) -> str:
        """The alt text of a photo."""
        accepted = self.texts.of(result.photo) if self.texts else ""
        return accepted or self.composed(result, self.limit)

    def composed(self, result: ImageResult, limit: int) -> str:
        """The model's text for a photo, at most so many characters."""
        from regiontalk.export.alt_text import narrate

        return narrate(
            result,
            limit=limit,
            min_confidence=self.min_confidence,
            neutral=self.neutral,
        )

    def final(self, result: ImageResult) -> ImageResult:
        """The result as it is exported.

        One box a thing unless all are wanted, no captions without confidence.
        """
        from regiontalk.export.alt_text import distinct, neutral_wording

        caption = result.caption
        if caption is not None and caption.confidence < self.min_confidence:
            caption = None
        if caption is not None and self.neutral:
            caption = replace(caption, text=neutral_wording(caption.text or ""))
        regions = [
            region
            for region in result.regions
            if region.text and region.confidence >= self.min_confidence
        ]
        if not self.all_boxes:
            regions = distinct(
                regions, min_confidence=self.min_confidence, neutral=self.neutral
            )
        elif self.neutral:
            regions = [
                replace(region, text=neutral_wording(region.text or ""))
                for region in regions
            ]
        return replace(result, caption=caption, regions=tuple(regions))


def export(
    format: Format,
    out: Out,
    photos: PhotosArgument = None,
    results: Results = None,
    regions: RegionsOption = REGIONS,
    all_boxes: AllBoxes = False,
    limit: LimitOption = LIMIT,
    min_confidence: MinConfidenceOption = MIN_CONFIDENCE,
    neutral: NeutralOption = False,
    replace: Replace = False,
    mwg: MwgOption = False,
    texts: TextsOption = None,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Write captions, regions and alt texts where other programs read them.

    xmp: a sidecar NAME.jpg.xmp a photo; xmp-copy: copies of the photos with the same inside, pixels
        untouched;
    html: alt attributes into the pages of a folder; coco, genome (Visual Genome), w3c (Web
        Annotation), csv;
    label-studio: tasks to correct, which `regiontalk import` makes training data of; gallery: a
    page to look at.
    """
    if format not in FORMATS:
        raise ValueError(
            f"format: expected one of {', '.join(FORMATS)}, got {format!r}"
        )
    _check_out(format, out)
    wording = Wording(
        limit,
        min_confidence,
        neutral,
        all_boxes,
        replace,
        mwg,
        _accepted(format, texts),
    )

    def caption(paths: Sequence[str]) -> Sequence[ImageResult]:
        return captioner.caption_many(
            paths, regions=regions, threshold=min_confidence, merge=not all_boxes
        )

    if format == "html":
        from regiontalk.cli.pages import describe_pages

        root = _site(photos, results)
        captioner = session.load_captioner(
            model, session.compute(device, engine, threads), max_pixels
        )
        with _telling_unused(wording.texts):
            describe_pages(root, out, caption, wording.alt, replace)
        return
    exported, known = _sources(photos, results)
    _check_photos(format, exported.paths, out)
    if results is None:
        captioner = session.load_captioner(
            model, session.compute(device, engine, threads), max_pixels
        )
    with _telling_unused(wording.texts):
        _write(format, exported, known or caption, out, wording, max_pixels)


def _accepted(format: str, path: Path | None) -> AcceptedTexts | None:
    """The accepted texts, for the formats that have alt texts."""
    if path is None:
        return None
    if format not in ALTS:
        raise ValueError(
            f"--texts: expected one of {', '.join(ALTS)}, which have alt texts, got {format}"
        )
    from regiontalk.export.accepted import read_texts

    return read_texts(path)


@contextmanager
def _telling_unused(texts: AcceptedTexts | None) -> Iterator[None]:
    """Say at the end which accepted texts have found no photo: they are nowhere yet."""
    try:
        yield
    finally:
        if texts is not None and texts.unused:
            typer.echo(
                f"--texts: no photo found for {', '.join(texts.unused)}", err=True
            )


def _check_out(format: str, out: Path) -> None:
    """Refuse a folder for a file, a file for a folder, and what may not be replaced.

    Before a model is loaded.
    """
    if format in FOLDERS and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: expected a folder for {format}, got a file")
    if format not in FOLDERS and out.is_dir():
        raise ValueError(
            f"--out {out}: expected the name of a file to write, got a folder"
        )
    if format == "label-studio" and out.suffix.lower() == ".xml":
        raise ValueError(
            f"--out {out}: expected a name such as tasks.json; as .xml the labelling "
            "interface is written"
        )
    if format == "gallery":
        from regiontalk.export.gallery import check_folder

        check_folder(out)


def _check_photos(format: str, paths: Sequence[str], out: Path) -> None:
    """Refuse photos that stand where this format cannot have them, before a model is loaded."""
    if format == "label-studio":
        from regiontalk.export.labelstudio import name_below

        for path in paths:
            name_below(path, out.parent)
    elif format == "gallery":
        from regiontalk.export.gallery import check_photos

        check_photos(paths, out)


def _site(photos: list[str] | None, results: Path | None) -> Path:
    """The folder of HTML pages."""
    if (
        results is not None
        or photos is None
        or len(photos) != 1
        or not Path(photos[0]).is_dir()
    ):
        raise ValueError(
            "html: expected one folder that holds HTML pages and their pictures"
        )
    return Path(photos[0])


def _sources(
    photos: list[str] | None, results: Path | None
) -> tuple[Photos, Callable[[Sequence[str]], Sequence[ImageResult]] | None]:
    """The photos, and where results were given what gives them back."""
    from regiontalk.cli.photos import Photos, find_photos

    if (results is None) == (not photos):
        raise ValueError("expected photos or --results FILE, either of them")
    if results is None:
        return find_photos(photos or []), None
    by_photo = {result.photo: result for result in _read_results(results)}
    return Photos(tuple(by_photo), single=False), lambda paths: [
        by_photo[path] for path in paths
    ]


def _read_results(path: Path) -> list[ImageResult]:
    """What `caption --json` printed: one document, or one a line."""
    import json

    from regiontalk.files import read_text
    from regiontalk.records import ImageResult

    try:
        text = read_text(path)
        try:
            documents = [json.loads(text)]
        except ValueError:
            documents = [json.loads(line) for line in text.split("\n") if line.strip()]
        if not documents:
            raise ValueError("the file is empty")
        return [ImageResult.from_dict(document) for document in documents]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"--results {path}: expected what `regiontalk caption --json` prints ({error})"
        ) from error


def _write(
    format: str,
    photos: Photos,
    caption: Callable[[Sequence[str]], Sequence[ImageResult]],
    out: Path,
    wording: Wording,
    max_pixels: int,
) -> None:
    """Export the photos; what could be exported is written even where some photos failed."""
    from regiontalk.cli.run import for_each
    from regiontalk.export.names import check_name
    from regiontalk.files import DiskFullError

    written: set[tuple[int, int]] = set()
    gathered: list[ImageResult] = []
    entries: list[Entry] = []

    def use(path: str, result: ImageResult) -> None:
        if format in ("xmp", "xmp-copy"):
            typer.echo(
                f"wrote {_write_xmp(format, result, out, wording, written)}", err=True
            )
        elif format == "gallery":
            taken = {entry.picture for entry in entries}
            entries.append(_write_entry(path, result, out, wording, max_pixels, taken))
        else:
            check_name(path, out if format in FOLDERS else out.parent)
            gathered.append(wording.final(result))

    try:
        for_each(photos, caption, use)
    except DiskFullError:
        entries.clear()  # no page of the photos that found room
        raise
    finally:
        _write_texts(_texts(format, gathered, entries, out))
        if entries:
            from regiontalk.export.gallery import mark_finished

            mark_finished(out)


def _texts(
    format: str, gathered: Sequence[ImageResult], entries: Sequence[Entry], out: Path
) -> dict[Path, str]:
    """The files that are written after the last photo."""
    if entries:
        from regiontalk.export.gallery import page

        return {out / "index.html": page(entries, out)}
    if not gathered:
        return {}
    module = import_module(f"regiontalk.export.{DOCUMENTS[format]}")
    texts: dict[Path, str] = module.files(gathered, out)
    return texts


def _write_texts(texts: dict[Path, str]) -> None:
    from regiontalk.files import write_text

    for path, text in texts.items():
        write_text(path, text)
        typer.echo(f"wrote {path}", err=True)


def _write_xmp(
    format: str,
    result: ImageResult,
    out: Path,
    wording: Wording,
    written: set[tuple[int, int]],
) -> Path:
    """Write the XMP of one photo.

    Adds what `_identity` says of its file to those that were written.
    """
    from regiontalk.export.alt_text import whole_sentence
    from regiontalk.export.metadata import (
        copy_path,
        sidecar_path,
        write_copy,
        write_sidecar,
    )
    from regiontalk.export.xmp import Texts

    path = (sidecar_path if format == "xmp" else copy_path)(result.photo, out)
    if path.exists() and _identity(path) in written:
        raise ValueError(
            f"{result.photo}: a photo of this name was written to {path} already; "
            "export each folder by itself"
        )
    description = whole_sentence(
        result, min_confidence=wording.min_confidence, neutral=wording.neutral
    )
    texts = Texts(description, wording.alt(result), wording.composed(result, EXTENDED))
    write = write_sidecar if format == "xmp" else write_copy
    write(wording.final(result), texts, out, replace=wording.replace, mwg=wording.mwg)
    written.add(_identity(path))
    return path


def _identity(path: Path) -> tuple[int, int]:
    """What tells a file from all others, also where a.jpg and A.JPG are one name."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _write_entry(
    path: str,
    result: ImageResult,
    out: Path,
    wording: Wording,
    max_pixels: int,
    taken: set[Path],
) -> Entry:
    from regiontalk.export.gallery import (
        Entry,
        mark_unfinished,
        picture_path,
        write_picture,
    )
    from regiontalk.export.names import check_name
    from regiontalk.images.open import open_image

    check_name(Path(path).name, Path())  # all that the page says of where the photo is
    picture = picture_path(path, out, taken)
    if picture.exists() and picture.samefile(path):
        raise ValueError(
            f"{path}: the gallery's picture would replace the photo; choose another "
            "folder with --out"
        )
    photo = open_image(path, max_pixels=max_pixels, srgb=True)
    if not taken:
        mark_unfinished(out)
    write_picture(photo, picture)
    return Entry(wording.final(result), picture, wording.alt(result))
