"""How long a word takes the decoder in int8 and in floating point, side by side on ONNX Runtime.

    python benchmarks/decoder_steps.py --rows 8 90

The floating-point model is made of the int8 one (`RegionModel.trainable`), so both have the same
sizes. The two take turns; the least of the rounds is what the processor needs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from caption_speed import clock

from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.export import export_runtime
from regiontalk.runtime.onnx_engine import OnnxPredictor


def main() -> None:
    """Print a line for each number of rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini", help="one whose decoder is in int8")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 90])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    folder = resolve_model(arguments.model)
    with tempfile.TemporaryDirectory() as temporary:
        RegionModel.from_folder(folder).trainable().save_pretrained(
            Path(temporary), "# float\n"
        )
        export_runtime(Path(temporary))
        predictors = [
            OnnxPredictor(path, threads=arguments.threads)
            for path in (folder, Path(temporary))
        ]
        for rows in arguments.rows:
            int8, floating = step_milliseconds(predictors, rows, arguments.rounds)
            print(f"{rows} rows: int8 {int8:.2f} ms, float {floating:.2f} ms")


def step_milliseconds(
    predictors: Sequence[OnnxPredictor], rows: int, rounds: int
) -> tuple[float, ...]:
    """The least time of one step of so many rows, of each model in turn."""
    size = predictors[0].preprocessing.size
    pixels = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    times: list[list[float]] = [[] for _ in predictors]
    words = np.full(rows, 10)
    states = []
    for predictor in predictors:
        features = predictor.encode_photos(pixels)
        states.append(
            predictor.start(features, predictor.whole_photos(1)).take([0] * rows)
        )
    for _ in range(rounds):
        for predictor, state, values in zip(predictors, states, times, strict=True):
            values.append(clock(lambda: predictor.step(words, state)))  # noqa: B023
    return tuple(map(min, times))


if __name__ == "__main__":
    main()
