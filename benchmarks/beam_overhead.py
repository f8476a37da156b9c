"""What beam search costs beside the model.

Time a step in the search itself, with an LSTM of the default's size. Random weights,
END growing likelier with every word so that sentences have about ten words and finish
at different times. Times are processor time, so that other work on the machine does not
count; run it with one thread.

    OMP_NUM_THREADS=1 python benchmarks/beam_overhead.py --json beam_overhead.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regiontalk.records import FloatArray
from regiontalk.runtime.search import IntArray, beam
from regiontalk.text.vocabulary import END

ROWS, HIDDEN, WORDS, MAX_WORDS, ROUNDS = 11, 512, 2541, 20, 15
SETTINGS: list[dict[str, Any]] = [
    {"beams": beams, "length_power": power, "keep": 1, "horizon": horizon}
    for beams in (3, 5)
    for power, horizon in ((0.0, None), (0.7, None), (0.7, 0))
]


class Clocked:
    """An LSTM language model that keeps count of its own time."""

    def __init__(self) -> None:
        """Random weights, peaked enough to be like a trained model's."""
        torch.manual_seed(0)
        self.embed = nn.Embedding(WORDS, HIDDEN)
        self.cell = nn.LSTMCell(HIDDEN, HIDDEN)
        self.output = nn.Linear(HIDDEN, WORDS)
        nn.init.normal_(self.output.weight, std=0.3)
        self.seconds, self.steps = 0.0, 0

    def step(
        self, words: IntArray, state: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[FloatArray, tuple[Tensor, Tensor, Tensor]]:
        """One word; the third part of the state counts words."""
        begin = time.process_time()
        h, c, written = state
        h, c = self.cell(self.embed(torch.from_numpy(words)), (h, c))
        logits = self.output(h)
        logits[:, END] += 0.8 * written - 5
        log_probabilities = logits.log_softmax(1).numpy()
        self.seconds += time.process_time() - begin
        self.steps += 1
        return log_probabilities, (h, c, written + 1)


def first_state(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random state of the cell, and no word written."""
    chance = torch.Generator().manual_seed(seed)
    hidden = torch.randn(ROWS, HIDDEN, generator=chance)
    memory = torch.randn(ROWS, HIDDEN, generator=chance)
    return hidden, memory, torch.zeros(ROWS)


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Medians over rounds of new first states."""
    model = Clocked()
    overheads, steps, totals, lengths = [], [], [], []
    for number in range(ROUNDS + 2):
        state = first_state(number)
        model.seconds, model.steps = 0.0, 0
        begin = time.process_time()
        hypotheses = beam(model.step, state, ROWS, MAX_WORDS, **settings)
        total = time.process_time() - begin
        if number >= 2:  # two rounds to warm up
            overheads.append((total - model.seconds) / model.steps * 1e3)
            steps.append(model.steps)
            totals.append(total * 1e3)
            lengths += [len(row[0].words) for row in hypotheses]
    figures = {
        "words": statistics.mean(lengths),
        "steps": statistics.mean(steps),
        "CPU ms a batch": statistics.median(totals),
        "CPU ms a step in the search": statistics.median(overheads),
    }
    return settings | {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Print one line a setting; write all as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for settings in SETTINGS:
        rows.append(measure(settings))
        print(
            "  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True
        )
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=2)
            + "\n"
        )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
