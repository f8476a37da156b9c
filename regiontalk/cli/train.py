"""``regiontalk train``: your own photos, or a recipe or one stage of it.

To a model folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.files import locked

if TYPE_CHECKING:
    from regiontalk.cli.own_photos import Beginning
    from regiontalk.train.recipe import Recipe
    from regiontalk.train.run import Run

STAGES = ("proposer", "warm", "joint", "refine", "align", "generate", "photo_check")
OTHER_STAGES = ("all", "objects", "vectors")

Stage = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|" + "|".join([*STAGES, *OTHER_STAGES]),
        help="A folder with your own photos, and nothing else is needed; or a stage of a recipe.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG]",
        help="Of a stage, a recipe: mini, weak, dvsa ..., or a TOML file; for vectors, a text.",
    ),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="flickr8k/ and flickr30k_entities/, or your own; again for more of them.",
    ),
]
Names = Annotated[
    list[Path] | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="Boxes and classes on photos of the data, COCO results; again: more.",
    ),
]
Sentences = Annotated[
    list[Path] | None,
    typer.Option(
        "--sentences",
        metavar="FILE",
        help="Sentences that belong to no photo, one a line; again for more.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Of a folder, the model; of a stage, checkpoints, caches and, at the end, "
        "model/; for vectors, a file.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Local weights of the backbone, safetensors; of a folder, the model "
        "begins with them and nothing else.",
    ),
]
Published = Annotated[
    bool, typer.Option("--published", help="Download the backbone's published weights.")
]
Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="MODEL",
        help="Take the extractor of this model instead; of a folder, the whole model "
        "that goes on learning (mini).",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=1, help="Only the first photos, for a try."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Processor threads; all of them if unset."
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="KIND",
        help="For objects: yolox:FILE.onnx, torchvision, regions.",
    ),
]
Vectors = Annotated[
    Path | None,
    typer.Option(
        "--vectors", metavar="FILE", help="Word vectors, where the recipe wants some."
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="PATH",
        help="For align: region features computed by somebody else, npz or npy.",
    ),
]
Size = Annotated[
    int, typer.Option("--size", metavar="N", min=1, help="For vectors: numbers a word.")
]
TrainDevice = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Where it trains: cpu, cuda ...")
]


def train(
    stage: Stage,
    out: Out,
    config: Config = None,
    data: Data = None,
    weights: Weights = None,
    published: Published = False,
    start: Start = None,
    limit: Limit = None,
    threads: Threads = None,
    device: TrainDevice = "cpu",
    detector: DetectorOption = None,
    vectors: Vectors = None,
    size: Size = 300,
    features: Features = None,
    names: Names = None,
    sentences: Sentences = None,
) -> None:
    """Train a model on your own photos (a folder is enough), or by a recipe.

    Killed or stopped, the same command goes on exactly where its last checkpoint stands.
    """
    if config is None and not _is_stage(stage):
        options_of_recipes = {
            "--data": data,
            "--detector": detector,
            "--vectors": vectors,
            "--features": features,
            "--names": names,
            "--sentences": sentences,
        }
        _refuse_options(options_of_recipes, stage)
        beginning = _own_beginning(start, weights, published)
        _train_own(Path(stage), out, beginning, device, limit, threads)
        return
    config = _checked_config(config, stage)
    beginnings = _count_beginnings(weights, published, start)
    _refuse_clashes(stage, data, detector, features, beginnings)
    _set_threads(threads)
    if stage == "vectors" or not data:
        _train_vectors([config, *(sentences or ())], data or (), out, size, stage)
    elif detector is not None:
        _train_objects(config, data, out, detector, limit, device)
    else:
        _train_stages(
            config,
            stage,
            data=data,
            out=out,
            weights=weights,
            published=published,
            start=start,
            limit=limit,
            device=device,
            vectors=vectors,
            features=features,
            names=names or (),
            sentences=sentences or (),
        )


def _train_stages(
    config: Path,
    stage: str,
    *,
    data: Sequence[Path],
    out: Path,
    weights: Path | None,
    published: bool,
    start: str | None,
    limit: int | None,
    device: str,
    vectors: Path | None,
    features: Path | None,
    names: Sequence[Path],
    sentences: Sequence[Path],
) -> None:
    """The stages of a recipe, on one process or on all that a launcher has started."""
    from regiontalk.regions.sources import PrecomputedRegions
    from regiontalk.train.processes import launched_processes
    from regiontalk.train.run import Run, run_recipe

    recipe, stages = _read_recipe(config, stage)
    beginnings = _count_beginnings(weights, published, start)
    if (weights is not None and published) or (
        beginnings > 1 and recipe.extractor.crops is None
    ):
        raise ValueError(
            "--weights, --published and --start exclude each other: the backbone has one beginning"
        )
    processes = launched_processes(device)
    with _journal(out) if processes.is_main else nullcontext(_silent) as log:
        run = Run(
            recipe=recipe,
            data=data,
            out=out,
            log=log,
            limit=limit,
            device=device,
            given=None if features is None else PrecomputedRegions(features),
            names=names,
            sentences=sentences,
            processes=processes,
        )
        folder = run_recipe(
            run,
            stages,
            start=start,
            weights=weights,
            published=published,
            card=_card(run, ", ".join(folder.name for folder in data), start),
            vectors=vectors,
        )
    if processes.is_main:
        typer.echo(folder)


def _is_stage(name: str) -> bool:
    """Whether it is no folder's name."""
    return name in (*STAGES, *OTHER_STAGES)


def _checked_config(config: Path | None, stage: str) -> Path:
    """The recipe of a stage, or the text for vectors.

    Raises:
        ValueError: there is none, or the stage is unknown.
    """
    if config is None:
        raise ValueError(
            f"{stage}: expected a recipe after it, such as mini, or a TOML file"
        )
    if not _is_stage(stage):
        raise ValueError(
            f"stage: expected one of {', '.join(STAGES)}, objects, vectors or all, got {stage!r}"
        )
    return config


def _count_beginnings(weights: Path | None, published: bool, start: str | None) -> int:
    """How many of ``--weights``, ``--published`` and ``--start`` there are."""
    return sum((weights is not None, published, start is not None))


def _refuse_options(values: Mapping[str, object], folder: str) -> None:
    """Refuse options of recipes beside a folder with your own photos."""
    extra = [name for name, value in values.items() if value]
    if extra:
        raise ValueError(
            f"{extra[0]}: expected a recipe beside it, got the folder {folder} alone"
        )


def _refuse_clashes(
    stage: str,
    data: list[Path] | None,
    detector: str | None,
    features: Path | None,
    beginnings: int,
) -> None:
    """Refuse options that contradict each other or the stage.

    Args:
        stage: of a recipe.
        data: the folders.
        detector: of the stage ``objects``.
        features: computed by somebody else.
        beginnings: how many of ``--weights``, ``--published`` and ``--start`` there are.
    """
    if stage != "vectors" and not data:
        raise ValueError("--data: expected the folder of the training photos, got none")
    if (stage == "objects") != (detector is not None):
        raise ValueError(
            "--detector and the stage objects need each other: it trains on what a detector finds"
        )
    if features is not None and (beginnings or stage != "align"):
        raise ValueError(
            "--features: expected the stage align without --weights, --published and "
            "--start, got others; the aligner alone reads given features"
        )
    if beginnings and detector is not None:
        raise ValueError(
            "--detector and a backbone's beginning exclude each other: objects are read as words"
        )


def _refuse_processes(stage: str) -> None:
    """Refuse several processes where only stages of a recipe know how to share their work."""
    from regiontalk.train.processes import launched_count

    count = launched_count()
    if count > 1:
        raise ValueError(
            f"{stage}: expected one process, got {count}; the stages of a recipe train on several"
        )


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _read_recipe(config: Path, stage: str) -> tuple[Recipe, list[str]]:
    """A recipe and the stages of it that are wanted, all where ``stage`` says so."""
    from regiontalk.train.recipe import Recipe, stages_of

    recipe = Recipe.read(config)
    planned = stages_of(recipe)
    if stage != "all" and stage not in planned:
        raise ValueError(
            f"{config}: expected a section [{stage}], got {', '.join(planned) or 'none'}"
        )
    return recipe, planned if stage == "all" else [stage]


def _silent(line: str) -> None:
    """The log of a process that is not the main one."""


def _own_beginning(
    start: str | None, weights: Path | None, published: bool
) -> Beginning:
    """Where a model of your own photos begins: mini, unless something else is named.

    Raises:
        ValueError: two things are named.
    """
    from regiontalk.cli.own_photos import Beginning

    beginnings = _count_beginnings(weights, published, start)
    if beginnings > 1:
        raise ValueError(
            "--weights, --published and --start exclude each other: the model has one beginning"
        )
    if not beginnings:
        start = "mini"
    return Beginning(start, weights, published)


def _train_own(
    folder: Path,
    out: Path,
    beginning: Beginning,
    device: str,
    limit: int | None,
    threads: int | None,
) -> None:
    """Your own photos, without a recipe."""
    if not folder.exists():
        raise ValueError(
            f"expected a folder with your own photos, or one of {', '.join(STAGES)}, "
            f"all, objects, vectors and a recipe, got {str(folder)!r}"
        )
    from regiontalk.cli.own_photos import train_own

    _refuse_processes(str(folder))
    _set_threads(threads)
    with ExitStack() as open_journals:
        train_own(
            folder,
            out,
            beginning=beginning,
            device=device,
            limit=limit,
            journal=lambda path: open_journals.enter_context(_journal(path)),
        )


def _card(run: Run, data: str, start: str | None) -> str:
    """The model card of what a run will leave."""
    from regiontalk.train.build import extractor_sizes
    from regiontalk.train.card import aligner_card, model_card

    recipe, photos = run.recipe, len(run.examples)
    if run.given is not None:
        return aligner_card(recipe, given=run.given.sizes, data=data, photos=photos)
    return model_card(
        recipe,
        extractor=extractor_sizes(recipe, start),
        data=data,
        photos=photos,
        start=start,
    )


def _train_vectors(
    texts: Sequence[Path], data: Sequence[Path], out: Path, size: int, stage: str
) -> None:
    """The stage vectors."""
    from regiontalk.cli.vectors import write_vectors

    _refuse_processes(stage)
    write_vectors(texts, data, out, size)


def _train_objects(
    config: Path,
    data: Sequence[Path],
    out: Path,
    detector: str,
    limit: int | None,
    device: str,
) -> None:
    """The stage objects."""
    if len(data) > 1:
        raise ValueError(f"--data: expected one folder for objects, got {len(data)}")
    _refuse_processes("objects")
    from regiontalk.objects.region_detector import find_detector
    from regiontalk.train.objects import ObjectsRecipe, train_objects

    plan, finder = ObjectsRecipe.read(config), find_detector(detector, device)
    with _journal(out) as log:
        typer.echo(
            train_objects(
                plan,
                data=data[0],
                out=out,
                detector=finder,
                source=detector,
                log=log,
                limit=limit,
                device=device,
            )
        )


@contextmanager
def _journal(out: Path) -> Iterator[Callable[[str], None]]:
    """A function that tells a line of progress and keeps it in ``log.txt``.

    Makes the folder, for one run at a time.
    """
    with (
        locked(out / ".lock", f"--out {out}"),
        (out / "log.txt").open("a", encoding="utf-8") as journal,
    ):

        def log(line: str) -> None:
            stamped = f"{time.strftime('%H:%M:%S')} {line}"
            typer.echo(stamped, err=True)
            print(stamped, file=journal, flush=True)

        yield log
