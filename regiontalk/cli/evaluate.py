"""``regiontalk evaluate``: the protocols of the papers on a data set, as tables and as JSON."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontalk.cli import session
from regiontalk.cli.options import Device, Engine, Features, Model, Threads
from regiontalk.cli.progress import Walks
from regiontalk.cli.source import given_features

if TYPE_CHECKING:
    from regiontalk.datasets.report import DataReport
    from regiontalk.evaluate.photos import EncodedPhotos
    from regiontalk.evaluate.suite import Settings, Suite, Timed
    from regiontalk.records import Example

NAMES = ("retrieval", "captions", "regions", "phrases", "proposals", "dense", "alignment")

PROTOCOLS = (*NAMES, "names", "not-photos", "calibrate")  # of which "all" runs the first

Protocol = Annotated[str, typer.Argument(metavar="|".join([*PROTOCOLS, "all"]), show_default=False)]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Holds flickr8k/ and flickr30k_entities/, or COCO's annotations/, or your own files; again for more.",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split", help="train, dev, test or all; dev if unset, of COCO all.", show_default=False
    ),
]
TrainData = Annotated[
    Path | None,
    typer.Option(
        "--train-data", metavar="DIR", help="Holds the training split; --data where that has it."
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
    typer.Option("--outputs", metavar="FILE", help="Write what the model said, as JSON Lines."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first photos.")]
TrainLimit = Annotated[
    int | None, typer.Option("--train-limit", min=1, help="Only the first training photos.")
]
Beam = Annotated[
    int | None, typer.Option("--beam", min=1, help="Beams of the search; the model's own if unset.")
]
Beta = Annotated[
    float | None,
    typer.Option("--beta", min=0, help="Smoothing of word paths, eq. 12 of the paper."),
]
Fold = Annotated[
    int | None,
    typer.Option("--fold", min=1, help="Photos of a retrieval fold; unset: all together."),
]
Overlap = Annotated[
    float,
    typer.Option(
        "--overlap", min=0, max=1, help="dense: IoU above which the weaker of two detections goes."
    ),
]
Snippets = Annotated[
    Path | None,
    typer.Option(
        "--snippets", metavar="FILE", help="Inferred pairs; they are inferred anew if unset."
    ),
]
Crops = Annotated[bool, typer.Option("--crops/--no-crops", help="Run the photo model on crops.")]
Untrained = Annotated[
    bool, typer.Option("--untrained/--no-untrained", help="An untrained model beside alignment.")
]
Write = Annotated[
    bool, typer.Option("--write", help="calibrate: put the fit into the model's config.json.")
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions", metavar="FILE", help="Captions of any model, COCO results format."
    ),
]
Jar = Annotated[
    bool,
    typer.Option("--meteor-jar", help="--predictions: METEOR by its own jar, which needs Java."),
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
        help="names, calibrate: JSON, what may be said of each class.",
    ),
]
Yolox = Annotated[
    Path | None,
    typer.Option(
        "--yolox", metavar="FILE", help="names: a YOLOX network measured beside the model."
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
    overlap: Overlap = 0.3,
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
    if protocol not in (*PROTOCOLS, "all"):
        raise ValueError(
            f"protocol: expected one of {', '.join(PROTOCOLS)} or all, got {protocol!r}"
        )
    if class_words is not None and protocol not in ("names", "calibrate"):
        raise ValueError(f"--class-words: expected the protocol names or calibrate, got {protocol}")
    if yolox is not None and protocol != "names":
        raise ValueError(f"--yolox: expected the protocol names, got {protocol}")
    if report is not None:
        from regiontalk.evaluate.report import prepare_report

        prepare_report(report)
    if predictions is not None or references is not None:
        if outputs is not None or limit is not None:
            raise ValueError(
                "--predictions: expected no --outputs and no --limit beside it; the whole file is scored"
            )
        result = _score_files(protocol, predictions, references, train_data, meteor_jar, spice_jar)
        _finish([result], {}, json, outputs, report)
        return
    if meteor_jar or spice_jar is not None:
        raise ValueError(
            "--meteor-jar and --spice-jar: expected --predictions and --references beside them"
        )
    if not data:
        raise ValueError(
            "--data: expected the folder that holds flickr8k/ (or COCO's annotations/), got none"
        )
    from regiontalk.evaluate.suite import Settings

    names = NAMES if protocol == "all" else (protocol,)
    settings = Settings(
        beam,
        beta,
        fold,
        crops,
        untrained,
        snippets,
        nms_iou=overlap,
        class_words=class_words,
        yolox=yolox,
    )
    with Walks() as walks:
        measured, head = _prepare(
            names,
            model,
            session.compute(device, engine, threads),
            data,
            split,
            train_data,
            (limit, train_limit),
            settings,
            walks,
            features,
        )
        results = []
        for name in names:
            typer.echo(f"{name} ...", err=True)
            results.append(measured.run(name) if protocol != "all" else measured.attempt(name))
        if all(one.result.figures == {} for one in results):
            raise ValueError(
                f"{data[0]}: no protocol can be measured on it: {results[0].result.notes[0]}"
            )
    if write and protocol == "calibrate":
        _write_calibration(model, measured)
    _finish(results, head, json, outputs, report)


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
    examples = None if train_data is None else read_split(train_data, "train")[0]
    training = (
        None if examples is None else [text for example in examples for text in example.captions]
    )
    return timed(
        lambda: score_files(predictions, references, training=training, meteor=meteor, spice=spice)
    )


def _prepare(
    names: Sequence[str],
    model: str,
    where: session.Compute,
    data: Sequence[Path],
    split: str | None,
    train_data: Path | None,
    limits: tuple[int | None, int | None],
    settings: Settings,
    walks: Walks,
    features: Path | None,
) -> tuple[Suite, dict[str, Any]]:
    """The model, the photos and the training split, and what the document says of them."""
    from regiontalk import RegionCaptioner
    from regiontalk.datasets.splits import default_split, read_split
    from regiontalk.evaluate.photos import EncodedPhotos
    from regiontalk.evaluate.suite import NEED_TRAINING, Suite, fingerprint
    from regiontalk.model.hub import resolve_model

    folder = resolve_model(model)
    examples: list[Example] = []
    reports: list[DataReport] = []
    for place in data:
        rows, own_reports = read_split(place, split or default_split(place))
        examples += rows
        reports += own_reports
    split = split or default_split(data[0])
    given = given_features(features, str(folder))
    captioner = RegionCaptioner.from_pretrained(folder, source=given, **where)
    examples, lost = examples[: limits[0]], list[str]()
    if given is not None:
        from regiontalk.regions.precomputed import with_features

        examples, lost = with_features(given, examples)
    keep = len(names) > 1 and len(examples) <= 2000  # about a gigabyte
    photos = EncodedPhotos(
        captioner, examples, keep=keep, done=walks.over(len(examples), f"photos of {split}")
    )
    training: EncodedPhotos | None = None
    if given is None and any(name in NEED_TRAINING for name in names):
        rows, more = _read_training(data[0], train_data, split)
        if rows:
            rows = rows[: limits[1]]
            training = EncodedPhotos(captioner, rows, done=walks.over(len(rows), "photos of train"))
        reports = [*reports, *more]
    lines = [*(line for report in reports for line in report.lines()), *lost]
    for line in lines:
        typer.echo(line, err=True)
    head = {
        "model": captioner.config.name,
        "model_sha256": fingerprint(folder),
        "split": split,
        "photos": len(photos.examples),
        "data": lines,
    }
    return Suite(photos, training, settings, names), head


def _read_training(
    data: Path, train_data: Path | None, split: str
) -> tuple[list[Example], list[DataReport]]:
    """The training split where it was asked for, or else where ``data`` has one that is not measured itself."""
    from regiontalk.datasets.splits import read_split

    if train_data is None and split in ("train", "all"):
        return [], []
    try:
        return read_split(train_data or data, "train")
    except ValueError:
        if train_data is not None:
            raise
        return [], []


def _write_calibration(model: str, measured: Suite) -> None:
    """Put the fitted confidence into the model's settings."""
    from regiontalk.evaluate.calibration import with_fit
    from regiontalk.evaluate.suite import write_text
    from regiontalk.model.hub import resolve_model

    path = resolve_model(model) / "config.json"
    write_text(
        path,
        with_fit(measured.photos.captioner.config, measured.fit).model_dump_json(indent=2) + "\n",
    )
    typer.echo(f"wrote {path}", err=True)


def _finish(
    results: Sequence[Timed],
    head: dict[str, Any],
    json: Path | None,
    outputs: Path | None,
    report: Path | None,
) -> None:
    """Print the tables and write the files."""
    from regiontalk.evaluate.suite import document, write_json, write_outputs

    head = {
        "command": shlex.join(["regiontalk", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        **head,
    }
    for one in results:
        _show(one)
    if json is not None:
        write_json(json, document(head, results))
    if outputs is not None:
        write_outputs(outputs, results)
    if report is not None:
        from regiontalk.evaluate.report import write_report

        typer.echo(f"wrote {write_report(report, head, results)}", err=True)


def _show(one: Timed) -> None:
    """One result as a table with what was counted and remarked below it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from regiontalk.evaluate.result import cell, columns

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a file has no width: nothing is to be broken
    title = f"{one.result.protocol} ({one.seconds:.1f} s)"
    table = Table("", title=title, title_justify="left")
    result, names = one.result, columns(one.result)
    for name in names:
        table.add_column(name, justify="right")
    for row, cells in result.figures.items():
        table.add_row(escape(row), *(cell(name, cells.get(name)) for name in names))
    console.print(table if result.figures else title)
    console.print(
        "; ".join(f"{name}: {value:g}" for name, value in result.counts.items()), markup=False
    )
    for note in result.notes:
        console.print(note, markup=False)
