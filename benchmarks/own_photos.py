"""Your own photos, measured: screens drawn by code, which `mini` has never seen, before and after, for several sizes.

    python benchmarks/own_photos.py --sizes 50 300 3000 --out runs/own
    python benchmarks/own_photos.py --memory DATA regiontalk/models/mini

For each size it trains with ``regiontalk train FOLDER --out MODEL`` and prints minutes (by the
clock and of the processor) and, on 100 other screens, R@1, CIDEr-D and the share of true boxes
whose words are right, of ``mini`` and of the new model. ``--memory`` writes the memory of everyday
photos that keeps ``mini`` from forgetting, from the training photos of DATA.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from typer.testing import CliRunner

from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.screens import write_screens
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.captions import evaluate_captions
from regiontalk.evaluate.correctness import is_region_correct
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.evaluate.result import Interval
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.train.features import freeze_features
from regiontalk.train.keep import MEMORY, Memory
from regiontalk.train.photos import PictureStore

TEST_SEED, TRAIN_SEED = 900_000, 1_000
TEST_SCREENS = 100
MEMORY_PHOTOS, MEMORY_BOXES, MEMORY_COMPONENTS = 2000, 2, 256


def measure(model: str, folder: Path) -> str:
    """The figures of a model on the screens of a folder, in one line."""
    examples, _ = read_folder(folder)
    photos = EncodedPhotos(RegionCaptioner.from_pretrained(model), examples, keep=True)
    retrieval = evaluate_retrieval(photos, resamples=1).figures
    captions = evaluate_captions(photos, resamples=1).figures["model"]
    verdicts = [
        is_region_correct(item.caption.text, item.thing.phrases)
        for item in describe_boxes(photos, None)
    ]
    figures = {
        "R@1 photo to sentence": retrieval["photo to sentence"]["R@1"],
        "R@1 sentence to photo": retrieval["sentence to photo"]["R@1"],
        "CIDEr-D": captions["CIDEr-D"],
    }
    values = {
        name: value.value if isinstance(value, Interval) else value
        for name, value in figures.items()
    }
    right = sum(bool(verdict) for verdict in verdicts) / max(1, len(verdicts))
    parts = [f"{name} {100 * (value or 0):.1f}" for name, value in values.items()]
    return ", ".join(
        [*parts, f"words right on {100 * right:.1f} % of {len(verdicts)} true boxes"]
    )


def write_memory(data: Path, model_folder: Path) -> None:
    """The memory of a model, from training photos spread over a data set."""
    examples, _ = read_split(data, "train")
    chosen = examples[:: max(1, len(examples) // MEMORY_PHOTOS)][:MEMORY_PHOTOS]
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
        write_memory(*arguments.memory)
        return
    test = arguments.out / "test"
    write_screens(TEST_SCREENS, TEST_SEED, test)
    print(f"before: {measure(arguments.start, test)}", flush=True)
    for size in arguments.sizes:
        folder, model = arguments.out / f"screens{size}", arguments.out / f"model{size}"
        write_screens(size, TRAIN_SEED, folder)
        started, cpu = time.perf_counter(), time.process_time()
        result = CliRunner().invoke(
            app, ["train", str(folder), "--out", str(model), "--start", arguments.start]
        )
        if result.exit_code:
            raise SystemExit(result.output)
        minutes = (time.perf_counter() - started) / 60
        cpu_minutes = (time.process_time() - cpu) / 60
        print(
            f"{size} screens: {minutes:.1f} minutes, {cpu_minutes:.1f} of the processor"
        )
        print(f"after: {measure(str(model), test)}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 300, 3000])
    parser.add_argument("--out", type=Path, default=Path("runs/own"))
    parser.add_argument("--start", default="mini")
    parser.add_argument("--memory", type=Path, nargs=2, metavar=("DATA", "MODEL"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
