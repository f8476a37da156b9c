"""``regiontalk train FOLDER --out MODEL``: a model for your own photos.

One command, and a model that is better on them.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from regiontalk.evaluate.suite import Timed
    from regiontalk.model.config import ModelConfig
    from regiontalk.model.region_model import RegionModel
    from regiontalk.train.keep import Memory
    from regiontalk.train.own import OwnPhotos
    from regiontalk.train.run import Run

CURVES = "curve_{}.svg"
STAGES = ("proposer", "align", "generate")
SIZES_FROM = "mini"  # whose sizes a model has that begins with a backbone alone


class Beginning(NamedTuple):
    """Where learning begins.

    A model that goes on learning, or the weights of a backbone and nothing else.

    Attributes:
        start: the model; None begins with the backbone.
        weights: of the backbone, a file.
        published: download them instead.
    """

    start: str | None
    weights: Path | None = None
    published: bool = False

    def __str__(self) -> str:
        return self.start or "the backbone's weights"


def train_own(
    folder: Path,
    out: Path,
    *,
    beginning: Beginning,
    device: str,
    limit: int | None,
    journal: Callable[[Path], Callable[[str], None]],
) -> None:
    """Read, check, plan, train, calibrate, compare.

    Args:
        folder: the photos.
        out: becomes the model's folder.
        beginning: where learning begins.
        device: where torch computes.
        limit: keeps the first training photos only.
        journal: gives a function that tells a line and keeps it in a folder's ``log.txt``.

    Raises:
        ValueError: nothing can be learnt from the photos, or a finished model stands at ``out``.
    """
    _check_out(out)
    from regiontalk.train.background import RUN_FOLDER
    from regiontalk.train.own import plan_recipe, summary
    from regiontalk.train.run import Run

    base = memory = None
    if beginning.start is not None:
        base, memory = _load_start(beginning.start)
    run_folder = out / RUN_FOLDER
    photos, log = _read_photos(folder, run_folder, journal)
    sizes = _default_sizes() if base is None else base.config
    recipe = plan_recipe(sizes, photos, out.resolve().name, is_new=base is None)
    run = Run(
        recipe=recipe,
        data=folder,
        out=run_folder,
        log=log,
        limit=limit,
        device=device,
        examples=photos.train,
        dev=photos.dev,
        base=base,
        memory=memory,
    )
    model = run.build(None, beginning.weights, beginning.published)
    if base is not None and memory is None:
        log(f"{beginning} has no memory of what it knows: expect it to forget some")
    log(summary(photos))
    _tell_plan(run, model, beginning, log)
    before = base or copy.deepcopy(model).eval()
    _learn(run, model)
    _finish(run, model, before, photos, folder, out, beginning)


def _check_out(out: Path) -> None:
    """Refuse a folder with a finished model."""
    if (out / "config.json").is_file():
        raise ValueError(
            f"--out {out}: a finished model stands there; choose another folder"
        )


def _read_photos(
    folder: Path, run_folder: Path, journal: Callable[[Path], Callable[[str], None]]
) -> tuple[OwnPhotos, Callable[[str], None]]:
    """The photos, and where lines go.

    No folder is made before the photos are known to be usable.
    """
    from regiontalk.train.own import read_own

    early: list[str] = []
    photos = read_own(folder, early.append)
    log = journal(run_folder)
    for line in early:
        log(line)
    return photos, log


def _learn(run: Run, model: RegionModel) -> None:
    """The stages, in place.

    Who is held by a memory goes back a part of the way (`train.keep.mix_weights`).
    """
    from regiontalk.train.keep import mix_weights

    before = {name: value.clone() for name, value in model.state_dict().items()}
    for stage in STAGES:
        if getattr(run.recipe, stage) is not None:
            run.stage(stage, model)
    if run.memory is not None:
        mix_weights(model, before)


def _load_start(start: str) -> tuple[RegionModel, Memory | None]:
    """The model that goes on learning, and what holds what it knows, where there is such a thing.

    Raises:
        ValueError: it does not look at photos.
    """
    from regiontalk.model.hub import resolve_model
    from regiontalk.model.region_model import RegionModel
    from regiontalk.train.keep import MEMORY, Memory

    folder = resolve_model(start)
    base = RegionModel.from_folder(folder).trainable()
    memory = None
    if not base.config.generator.attention:
        memory = Memory.load(folder / MEMORY, base.extractor)
    if base.config.precomputed is not None:
        raise ValueError(
            f"--start {start}: expected a model that looks at photos, got one that "
            "reads given features"
        )
    return base, memory


def _default_sizes() -> ModelConfig:
    """The sizes of a model that begins with a backbone alone."""
    from regiontalk.model.config import ModelConfig
    from regiontalk.model.hub import resolve_model
    from regiontalk.model.storage import open_folder

    config, _ = open_folder(resolve_model(SIZES_FROM), ModelConfig)
    return config


def _tell_plan(
    run: Run, model: RegionModel, beginning: Beginning, log: Callable[[str], None]
) -> None:
    """What will be done, and how long it will take at most."""
    from regiontalk.train.pace import predict_seconds

    seconds = predict_seconds(run, model)
    recipe = run.recipe
    for name in STAGES:
        stage = getattr(recipe, name)
        if stage is None:
            continue
        optimiser = stage.optimiser
        log(
            f"plan: {name}, up to {optimiser.epochs:g} epochs of {len(run.examples)} "
            f"photos in batches of {stage.batch} = {optimiser.steps} steps, from "
            f"{beginning}; stops early where nothing improves"
        )
    parts = ", ".join(f"{name} {_minutes(value)}" for name, value in seconds.items())
    log(f"plan: about {_minutes(sum(seconds.values()))} at most ({parts})")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _finish(
    run: Run,
    model: RegionModel,
    before: RegionModel,
    photos: OwnPhotos,
    folder: Path,
    out: Path,
    beginning: Beginning,
) -> None:
    """Confidences, the model's folder, the page, and what to do with them."""
    from regiontalk.train.background import GAIN
    from regiontalk.train.card import own_card
    from regiontalk.train.finish import (
        before_and_after,
        calibrate,
        settle_photo_check,
        write_gain,
    )
    from regiontalk.train.own_confidence import Past
    from regiontalk.train.run import save_for_use

    log = run.log
    model.eval()
    features = run.features(model, "generate")
    settle_photo_check(model, features.read_vectors(range(features.photos))[:, 0], log)
    past = Past.of_training(before, run.memory, run.examples, features)
    calibrate(model, photos.dev, log, past)
    compared = before_and_after(before, model, photos.dev)
    write_gain(run.out / GAIN, compared)
    _draw(run, compared.results, folder, out)
    card = own_card(
        run.recipe,
        data=folder.name,
        photos=len(run.examples),
        start=str(beginning),
        figures=compared.lines,
        dev=len(photos.dev),
    )
    save_for_use(out, model, card, log)
    _remove_caches(run.out)
    for line in compared.lines:
        log(line)
    _tell_how_to_use(out, photos.dev[0].photo)


def _tell_how_to_use(model: Path, photo: Path) -> None:
    """The two lines that use a new model."""
    typer.echo(f"regiontalk caption {photo} --model {model}")
    typer.echo(f'RegionCaptioner.from_pretrained("{model}").caption("{photo}")')


def _remove_caches(folder: Path) -> None:
    """Delete the features of a finished run.

    They are large, and made again where they are needed.
    """
    for cache in folder.glob("features*"):
        if cache.is_file():
            cache.unlink()
        else:
            shutil.rmtree(cache)


def _draw(run: Run, results: Sequence[Timed], folder: Path, out: Path) -> None:
    """The curves and the page of before and after, where matplotlib is here."""
    from regiontalk.evaluate.plots import svg
    from regiontalk.evaluate.report import write_report
    from regiontalk.files import write_data
    from regiontalk.train.finish import curves
    from regiontalk.train.run import LOG_NAME

    head = {
        "model": run.recipe.name,
        "date": time.strftime("%Y-%m-%d"),
        "photos": len(run.dev),
        "data": [folder.name],
    }
    try:
        for number, chart in enumerate(curves(run.out / LOG_NAME), start=1):
            write_data(run.out / CURVES.format(number), svg(chart).encode())
        page = write_report(run.out / "report", head, results)
    except ImportError as error:
        run.log(f"no curves and no page: {error}")
        return
    run.log(f"before and after: {page}")
