"""``regiontalk evaluate``: the protocols of the papers on a data set, as tables and as JSON."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontalk.cli import session
from regiontalk.cli.options import Device, Engine, Features, Model, Threads
from regiontalk.cli.progress import Walks
from regiontalk.cli.source import precomputed_features

if TYPE_CHECKING:
    from regiontalk import RegionCaptioner
    from regiontalk.datasets.report import DataReport
    from regiontalk.evaluate.photos import EncodedPhotos
    from regiontalk.evaluate.suite import Settings, Suite, Timed
    from regiontalk.records import Example

NAMES = (
    "retrieval",
    "captions",
    "regions",
    "phrases",
    "proposals",
    "dense",
    "alignment",
)

PROTOCOLS = (
    *NAMES,
    "names",
    "not-photos",
    "calibrate",
)  # of which "all" runs the first

Protocol = Annotated[
    str, typer.Argument(metavar="|".join([*PROTOCOLS, "all"]), show_default=False)
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Holds flickr8k/ and flickr30k_entities/, or COCO's annotations/, or your "
        "own files; again for more.",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="train, dev, test or all; dev if unset, of COCO all.",
        show_default=False,
    ),
]
TrainData = Annotated[
    Path | None,
    typer.Option(
        "--train-data",
        metavar="DIR",
        help="Holds the training split; --data where that has it.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Write one HTML page there: tables, plots, examples with boxes.",
    ),
]
Outputs = Annotated[
    Path | None,
    typer.Option(
        "--outputs", metavar="FILE", help="Write the model's words, as JSON Lines."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first photos.")
]
TrainLimit = Annotated[
    int | None,
    typer.Option("--train-limit", min=1, help="Only the first training photos."),
]
Beam = Annotated[
    int | None,
    typer.Option(
        "--beam", min=1, help="Beams of the search; the model's own if unset."
    ),
]
Beta = Annotated[
    float | None,
    typer.Option("--beta", min=0, help="Smoothing of word paths, eq. 12 of the paper."),
]
Fold = Annotated[
    int | None,
    typer.Option(
        "--fold", min=1, help="Photos of a retrieval fold; unset: all together."
    ),
]
NmsIou = Annotated[
    float,
    typer.Option(
        "--nms-iou",
        min=0,
        max=1,
        help="dense: IoU above which the weaker of two detections goes.",
    ),
]
Snippets = Annotated[
    Path | None,
    typer.Option(
        "--snippets",
        metavar="FILE",
        help="Inferred pairs; they are inferred anew if unset.",
    ),
]
Crops = Annotated[
    bool, typer.Option("--crops/--no-crops", help="Run the photo model on crops.")
]
Untrained = Annotated[
    bool,
    typer.Option(
        "--untrained/--no-untrained", help="An untrained model beside alignment."
    ),
]
Write = Annotated[
    bool,
    typer.Option(
        "--write", help="calibrate: put the fit into the model's config.json."
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Captions of any model, COCO results format.",
    ),
]
Jar = Annotated[
    bool,
    typer.Option(
        "--meteor-jar", help="--predictions: METEOR by its own jar, which needs Java."
    ),
]
SpiceJar = Annotated[
    Path | None,
    typer.Option(
        "--spice-jar",
        metavar="FILE",
        help="--predictions: SPICE by spice-1.0.jar, which needs Java and lib/ beside it.",
    ),
]
ClassWordsFile = Annotated[
    Path | None,
    typer.Option(
        "--class-words",
        metavar="FILE",
        help="names, calibrate: JSON, the words for each class.",
    ),
]
Yolox = Annotated[
    Path | None,
    typer.Option(
        "--yolox",
        metavar="FILE",
        help="names: a YOLOX network measured beside the model.",
    ),
]
References = Annotated[
    Path | None, typer.Option("--references", metavar="FILE", help="Their references.")
]


def evaluate(
    protocol: Protocol,
    model: Model = "mini",
    data: Data = None,
    split: Split = None,
    train_data: TrainData = None,
    json: JsonFile = None,
    report: Report = None,
    outputs: Outputs = None,
    limit: Limit = None,
    train_limit: TrainLimit = None,
    beam: Beam = None,
    beta: Beta = None,
    fold: Fold = None,
    nms_iou: NmsIou = 0.3,
    snippets: Snippets = None,
    crops: Crops = True,
    untrained: Untrained = True,
    predictions: Predictions = None,
    references: References = None,
    meteor_jar: Jar = False,
    spice_jar: SpiceJar = None,
    write: Write = False,
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    features: Features = None,
    class_words: ClassWordsFile = None,
    yolox: Yolox = None,
) -> None:
    """Measure a model, or with --predictions and --references anybody's captions."""
    _check_protocol(protocol, class_words, yolox)
    files = _Files(json, outputs, report)
    files.prepare()
    if predictions is not None or references is not None:
        _check_files(outputs, limit)
        result = _score_files(
            protocol, predictions, references, train_data, meteor_jar, spice_jar
        )
        _finish([result], {}, files)
        return
    _check_data(data, meteor_jar, spice_jar)
    from regiontalk.evaluate.suite import Settings

    settings = Settings(
        beam,
        beta,
        fold,
        crops,
        untrained,
        snippets,
        nms_iou=nms_iou,
        class_words=class_words,
        yolox=yolox,
    )
    compute = session.compute(device, engine, threads)
    source = _Source(
        model, compute, data or [], split, train_data, limit, train_limit, features
    )
    names = NAMES if protocol == "all" else (protocol,)
    with Walks() as walks:
        suite, head = _prepare(names, source, settings, walks)
        results = _measure(suite, names, source, is_strict=protocol != "all")
    if write and protocol == "calibrate":
        _write_calibration(model, suite)
    _finish(results, head, files)


@dataclass(frozen=True)
class _Source:
    """The model and the data of a run, as the command line names them."""

    model: str
    compute: session.Compute
    data: Sequence[Path]
    split: str | None
    train_data: Path | None
    limit: int | None
    train_limit: int | None
    features: Path | None

    def split_of(self, folder: Path) -> str:
        """The split that is measured of a folder of data."""
        from regiontalk.datasets.splits import default_split

        return self.split or default_split(folder)


@dataclass(frozen=True)
class _Files:
    """What a run writes."""

    json: Path | None
    outputs: Path | None
    report: Path | None

    def prepare(self) -> None:
        """Find out before anything is measured whether the report can be written."""
        if self.report is not None:
            from regiontalk.evaluate.report import prepare_report

            prepare_report(self.report)


def _check_protocol(
    protocol: str, class_words: Path | None, yolox: Path | None
) -> None:
    """Refuse an unknown protocol, and files that it does not read."""
    if protocol not in (*PROTOCOLS, "all"):
        raise ValueError(
            f"protocol: expected one of {', '.join(PROTOCOLS)} or all, got {protocol!r}"
        )
    if class_words is not None and protocol not in ("names", "calibrate"):
        raise ValueError(
            f"--class-words: expected the protocol names or calibrate, got {protocol}"
        )
    if yolox is not None and protocol != "names":
        raise ValueError(f"--yolox: expected the protocol names, got {protocol}")


def _check_files(outputs: Path | None, limit: int | None) -> None:
    """Refuse options that captions from a file do not have."""
    if outputs is not None or limit is not None:
        raise ValueError(
            "--predictions: expected no --outputs and no --limit beside it; the whole "
            "file is scored"
        )


def _check_data(
    data: Sequence[Path] | None, meteor_jar: bool, spice_jar: Path | None
) -> None:
    """Refuse a run without data, and one with a jar that only --predictions use."""
    if meteor_jar or spice_jar is not None:
        raise ValueError(
            "--meteor-jar and --spice-jar: expected --predictions and --references beside them"
        )
    if not data:
        raise ValueError(
            "--data: expected the folder that holds flickr8k/ (or COCO's annotations/), got none"
        )


def _measure(
    suite: Suite, names: Sequence[str], source: _Source, *, is_strict: bool
) -> list[Timed]:
    """The protocols one after the other.

    One that the data cannot serve is an error, or a note where not strict.

    Raises:
        ValueError: none of them can be measured.
    """
    results = []
    for name in names:
        typer.echo(f"{name} ...", err=True)
        results.append(suite.run(name) if is_strict else suite.attempt(name))
    if not any(measured.result.figures for measured in results):
        raise ValueError(
            f"{source.data[0]}: no protocol can be measured on it: {results[0].result.notes[0]}"
        )
    return results


def _score_files(
    protocol: str,
    predictions: Path | None,
    references: Path | None,
    train_data: Path | None,
    meteor_jar: bool,
    spice_jar: Path | None,
) -> Timed:
    """Captions from a file; no model is loaded."""
    from regiontalk.datasets.splits import read_split
    from regiontalk.evaluate.captions import score_files
    from regiontalk.evaluate.judges import find_jar, find_spice
    from regiontalk.evaluate.suite import timed

    if protocol != "captions" or predictions is None or references is None:
        raise ValueError(
            "--predictions and --references: expected both, with the protocol captions"
        )
    meteor = find_jar() if meteor_jar else None
    spice = None if spice_jar is None else find_spice(spice_jar)
    training: list[str] | None = None
    if train_data is not None:
        examples, _ = read_split(train_data, "train")
        training = list(chain.from_iterable(example.captions for example in examples))
    return timed(
        lambda: score_files(
            predictions, references, training=training, meteor=meteor, spice=spice
        )
    )


def _prepare(
    names: Sequence[str], source: _Source, settings: Settings, walks: Walks
) -> tuple[Suite, dict[str, Any]]:
    """The model, the photos and the training split, and what the document says of them."""
    from regiontalk import RegionCaptioner
    from regiontalk.evaluate.suite import NEED_TRAINING, Suite
    from regiontalk.model.hub import resolve_model

    folder = resolve_model(source.model)
    examples, lines = _read_examples(source)
    split = source.split_of(source.data[0])
    features = precomputed_features(source.features, str(folder))
    captioner = RegionCaptioner.from_pretrained(
        folder, source=features, **source.compute
    )
    training: EncodedPhotos | None = None
    if features is None and any(name in NEED_TRAINING for name in names):
        training, training_lines = _encode_training(captioner, source, split, walks)
        lines += training_lines
    if features is not None:
        from regiontalk.regions.precomputed import with_features

        examples, unread = with_features(features, examples)
        lines += unread
    keep = len(names) > 1 and len(examples) <= 2000  # about a gigabyte
    photos = _encode(captioner, examples, walks, f"photos of {split}", keep=keep)
    for line in lines:
        typer.echo(line, err=True)
    suite = Suite(photos, training, settings, names)
    return suite, _head(photos, folder, split, lines)


def _head(
    photos: EncodedPhotos, folder: Path, split: str, lines: list[str]
) -> dict[str, Any]:
    """What the document says of the model and of the data."""
    from regiontalk.evaluate.suite import fingerprint

    return {
        "model": photos.captioner.config.name,
        "model_sha256": fingerprint(folder),
        "split": split,
        "photos": len(photos.examples),
        "data": lines,
    }


def _encode(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    walks: Walks,
    unit: str,
    *,
    keep: bool = False,
) -> EncodedPhotos:
    """Photos to be encoded, with a bar for each walk over them."""
    from regiontalk.evaluate.photos import EncodedPhotos

    done = walks.over(len(examples), unit)
    return EncodedPhotos(captioner, examples, keep=keep, done=done)


def _read_examples(source: _Source) -> tuple[list[Example], list[str]]:
    """The photos of all folders, and what their readers report."""
    from regiontalk.datasets.splits import read_split

    examples: list[Example] = []
    lines: list[str] = []
    for folder in source.data:
        folder_examples, reports = read_split(folder, source.split_of(folder))
        examples += folder_examples
        lines += _report_lines(reports)
    return examples[: source.limit], lines


def _report_lines(reports: Iterable[DataReport]) -> list[str]:
    return list(chain.from_iterable(report.lines() for report in reports))


def _encode_training(
    captioner: RegionCaptioner, source: _Source, split: str, walks: Walks
) -> tuple[EncodedPhotos | None, list[str]]:
    """The training photos to be encoded, and what their readers report.

    None where there are none.
    """
    examples, lines = _read_training(source, split)
    if not examples:
        return None, lines
    return _encode(captioner, examples, walks, "photos of train"), lines


def _read_training(source: _Source, split: str) -> tuple[list[Example], list[str]]:
    """The training split where it was asked for, or else where ``data`` has one.

    Of the latter, one that is not measured itself.
    """
    from regiontalk.datasets.splits import read_split

    if source.train_data is None and split in ("train", "all"):
        return [], []
    try:
        examples, reports = read_split(source.train_data or source.data[0], "train")
    except ValueError:
        if source.train_data is not None:
            raise
        return [], []
    return examples[: source.train_limit], _report_lines(reports)


def _write_calibration(model: str, suite: Suite) -> None:
    """Put the fitted confidence into the model's settings."""
    from regiontalk.evaluate.calibration import with_fit
    from regiontalk.files import write_text
    from regiontalk.model.hub import resolve_model

    path = resolve_model(model) / "config.json"
    config = with_fit(suite.photos.captioner.config, suite.fit)
    text = config.model_dump_json(indent=2) + "\n"
    write_text(path, text)
    typer.echo(f"wrote {path}", err=True)


def _finish(results: Sequence[Timed], head: dict[str, Any], files: _Files) -> None:
    """Print the tables and write the files."""
    from regiontalk.evaluate.suite import document, write_json, write_outputs

    head = {
        "command": shlex.join(["regiontalk", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        **head,
    }
    for measured in results:
        _show(measured)
    if files.json is not None:
        write_json(files.json, document(head, results))
    if files.outputs is not None:
        write_outputs(files.outputs, results)
    if files.report is not None:
        from regiontalk.evaluate.report import write_report

        typer.echo(f"wrote {write_report(files.report, head, results)}", err=True)


def _show(measured: Timed) -> None:
    """One result as a table with what was counted and remarked below it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from regiontalk.evaluate.result import cell, columns

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a file has no width: nothing is to be broken
    result = measured.result
    title = f"{result.protocol} ({measured.seconds:.1f} s)"
    table = Table("", title=title, title_justify="left")
    names = columns(result)
    for name in names:
        table.add_column(name, justify="right")
    for row, cells in result.figures.items():
        table.add_row(escape(row), *(cell(name, cells.get(name)) for name in names))
    console.print(table if result.figures else title)
    counts = "; ".join(f"{name}: {value:g}" for name, value in result.counts.items())
    console.print(counts, markup=False)
    for note in result.notes:
        console.print(note, markup=False)
