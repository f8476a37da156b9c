r"""Your own photos, measured.

Screens drawn by code, which `mini` has never seen, before and after, for several sizes.

    python benchmarks/own_photos.py --sizes 50 300 3000 --out runs/own
    python benchmarks/own_photos.py --sizes 300 --weights BACKBONE.safetensors \
        --out runs/own_from_nothing
    python benchmarks/own_photos.py --memory regiontalk/models/mini \
        --data DATA DATA/coco_more --photos 1000 500

For each size it trains with ``regiontalk train FOLDER --out MODEL`` and prints minutes (by the
clock and of the processor) beside those that the plan foretold and, on 100 other screens, R@1,
CIDEr-D and the share of true boxes whose words are right, of ``mini`` and of the new model, which
begins with a backbone alone where its ``--weights`` are given. ``--memory`` writes the memory of
everyday photos that keeps a model from forgetting, from the training photos of all DATA.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from regiontalk.captioner import RegionCaptioner, confidence_of
from regiontalk.cli.main import app
from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.screens import write_screens
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.captions import evaluate_captions
from regiontalk.evaluate.correctness import is_region_correct
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.evaluate.result import Figure, Interval
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.metrics.calibration import reliability
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.train.features import freeze_features
from regiontalk.train.keep import MEMORY, Memory
from regiontalk.train.photos import PictureStore

TEST_SEED, TRAIN_SEED = 900_000, 1_000
TEST_SCREENS = 100
MEMORY_BOXES, MEMORY_COMPONENTS = 2, 256
R1_SENTENCE, R1_PHOTO = "R@1 photo to sentence", "R@1 sentence to photo"
CIDER, RIGHT = "CIDEr-D", "words right on true boxes"
CALIBRATION = "calibration error of these"


def measure(model: str, examples: Sequence[Example]) -> dict[str, float]:
    """The figures of a model on photos, in per cent."""
    photos = EncodedPhotos(RegionCaptioner.from_pretrained(model), examples, keep=True)
    retrieval = evaluate_retrieval(photos, resamples=1).figures
    captions = evaluate_captions(photos, resamples=1).figures["model"]
    calibration = photos.captioner.config.decoding.region
    verdicts: list[bool] = []
    confidences: list[float] = []
    for item in describe_boxes(photos, None):
        is_right = is_region_correct(item.caption.text, item.thing.phrases)
        verdicts.append(bool(is_right))
        confidences.append(confidence_of(calibration, item.caption))
    figures = {
        R1_SENTENCE: retrieval["photo to sentence"]["R@1"],
        R1_PHOTO: retrieval["sentence to photo"]["R@1"],
        CIDER: captions["CIDEr-D"],
        RIGHT: sum(verdicts) / max(1, len(verdicts)),
        CALIBRATION: reliability(confidences, verdicts, resamples=1).error,
    }
    return {name: _in_per_cent(figure) for name, figure in figures.items()}


def _in_per_cent(figure: Figure) -> float:
    value = figure.value if isinstance(figure, Interval) else figure
    return round(100 * (value or 0), 1)


def in_words(figures: Mapping[str, float]) -> str:
    """Figures in one line."""
    return ", ".join(f"{name} {value}" for name, value in figures.items())


class Trained(NamedTuple):
    """What a training took.

    Attributes:
        minutes: by the clock.
        cpu_minutes: of the processor.
        planned: the line in which the plan foretold the time.
    """

    minutes: float
    cpu_minutes: float
    planned: str


def train(folder: Path, model: Path, options: Sequence[str]) -> Trained:
    """``regiontalk train FOLDER --out MODEL``, in this process."""
    started, cpu = time.perf_counter(), time.process_time()
    result = CliRunner().invoke(
        app, ["train", str(folder), "--out", str(model), *options]
    )
    if result.exit_code:
        raise SystemExit(result.output)
    planned = next(line for line in result.stderr.splitlines() if "plan: about" in line)
    return Trained(
        (time.perf_counter() - started) / 60,
        (time.process_time() - cpu) / 60,
        planned.partition("plan: ")[2],
    )


def write_memory(
    folders: Sequence[Path], counts: Sequence[int], model_folder: Path
) -> None:
    """The memory of a model, from so many training photos of each data set, spread over it."""
    chosen: list[Example] = []
    for folder, count in zip(folders, counts, strict=True):
        examples, _ = read_split(folder, "train")
        chosen += examples[:: max(1, len(examples) // count)][:count]
    model = RegionModel.from_folder(resolve_model(model_folder))
    features = freeze_features(
        model.extractor.eval(),
        chosen,
        lambda: PictureStore(chosen, model.preprocessing),
        model_folder / "features",
        regions=MEMORY_BOXES,
        log=print,
    )
    memory = Memory.from_features(features, MEMORY_BOXES)
    memory.save(model_folder / MEMORY, model.extractor, MEMORY_COMPONENTS)
    for cache in model_folder.glob("features.*"):
        cache.unlink()


def main() -> None:
    """Train and print."""
    arguments = parse_arguments()
    if arguments.memory is not None:
        write_memory(arguments.data, arguments.photos, arguments.memory)
        return
    options = ["--start", arguments.start]
    if arguments.weights is not None:
        options = ["--weights", str(arguments.weights)]
    test = arguments.out / "test"
    write_screens(TEST_SCREENS, TEST_SEED, test)
    examples, _ = read_folder(test)
    print(f"{arguments.start}: {in_words(measure(arguments.start, examples))}")
    for size in arguments.sizes:
        folder, model = arguments.out / f"screens{size}", arguments.out / f"model{size}"
        write_screens(size, TRAIN_SEED, folder)
        trained = train(folder, model, options)
        print(
            f"{size} screens: {trained.minutes:.1f} minutes, {trained.cpu_minutes:.1f} "
            f"of the processor; the plan said {trained.planned}"
        )
        print(f"after: {in_words(measure(str(model), examples))}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 300, 3000])
    parser.add_argument("--out", type=Path, default=Path("runs/own"))
    parser.add_argument("--start", default="mini")
    parser.add_argument("--weights", type=Path, help="of a backbone, from nothing")
    parser.add_argument("--memory", type=Path, metavar="MODEL")
    parser.add_argument("--data", type=Path, nargs="+", help="of the memory")
    parser.add_argument("--photos", type=int, nargs="+", help="of each DATA")
    return parser.parse_args()


if __name__ == "__main__":
    main()
