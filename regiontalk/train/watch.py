"""A stage under watch.

Judged on dev while it runs, its best weights kept, stopped when nothing improves. Every
judgement is one line of a JSON Lines log, by which a killed run also knows what came
before: lines after the step that it goes on from are taken away and written again. The
same rows are TensorBoard events in ``events/STAGE`` beside the log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from regiontalk.files import atomic_write, write_text
from regiontalk.train.events import FOLDER as EVENTS
from regiontalk.train.events import EventWriter

BEST = "best.safetensors"
JUDGEMENTS = 25  # of a stage, at most: an epoch of few photos is soon over
PATIENCE = 6  # judgements without a better one after which a stage stops

Judge = Callable[[], Mapping[str, float]]


class Watch:
    """Judges one stage."""

    def __init__(
        self,
        *,
        stage: str,
        judge: Judge,
        figure: str,
        epoch: int,
        folder: Path,
        path: Path,
        log: Callable[[str], None],
        patience: int = PATIENCE,
    ) -> None:
        """Say how a stage is judged.

        Args:
            stage: its name.
            judge: measures the model as it is on dev.
            figure: the one of its figures by which the best weights are chosen; greater is better.
            epoch: steps of an epoch.
            folder: where the best weights are kept.
            path: the log of all stages, JSON Lines.
            log: takes a line for people.
            patience: judgements without a better one after which the stage is over.
        """
        self.stage = stage
        self.judge_dev = judge
        self.figure = figure
        self.epoch = max(1, epoch)
        self.folder = folder
        self.path = path
        self.log = log
        self.patience = patience
        self.rows: list[dict[str, Any]] = []
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._every = self.epoch
        self._last = 0
        self._started = 0.0
        self._begin = 0
        self._events: EventWriter | None = None

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best judgement; of equals the first."""
        return max(self.rows, key=lambda row: (row["dev"][self.figure], -row["step"]))

    @property
    def is_over(self) -> bool:
        """Whether the last judgements were all no better than one before.

        By the figure and by the loss on dev. A model that learns to speak has no figure
        for long, while its loss falls.
        """
        if not self.rows:
            return False
        best_step = self.best["step"]
        if all("loss" in row["dev"] for row in self.rows):
            best_step = max(
                best_step, min(self.rows, key=lambda row: row["dev"]["loss"])["step"]
            )
        later = sum(bool(row["step"] > best_step) for row in self.rows)
        return later >= self.patience

    def resume(self, begin: int, last: int) -> None:
        """Go on at a step of ``last``."""
        every_row = read_rows(self.path)
        self.rows = [
            row
            for row in every_row
            if row["stage"] == self.stage and row["step"] <= begin
        ]
        others = [row for row in every_row if row["stage"] != self.stage]
        write_rows(self.path, [*others, *self.rows])
        epochs = max(1, last // self.epoch)
        self._every = self.epoch * -(-epochs // JUDGEMENTS)
        self._begin = begin
        self._last = last
        self._started = time.perf_counter()
        self._events = EventWriter(
            self.path.parent / EVENTS / self.stage, self.rows, self.log
        )

    def add(self, name: str, value: float) -> None:
        """Take note of a loss term of a step."""
        self._sums[name] = self._sums.get(name, 0.0) + value

    def is_due(self, done: int) -> bool:
        """Whether the stage is judged after so many steps."""
        self._steps += 1
        return done % self._every == 0 or done == self._last

    def judge(self, done: int, module: nn.Module) -> None:
        """Measure, log, and keep the weights where they are the best so far."""
        was_training = module.training
        figures = {name: round(value, 5) for name, value in self.judge_dev().items()}
        module.train(was_training)
        row = {
            "stage": self.stage,
            "step": done,
            "of": self._last,
            "epoch": round(done / self.epoch, 2),
            "loss": self._take_losses(),
            "dev": figures,
            "seconds_left": self._seconds_left(done),
        }
        self.rows.append(row)
        is_best = self.best is row
        if is_best:
            self._save_best(module)
        write_rows(self.path, [row], append=True)
        if self._events is not None:
            self._events.add(row)
        self.log(self._line(row, is_best))

    def _take_losses(self) -> dict[str, float]:
        """The mean of each loss term since the judgement before."""
        steps = max(1, self._steps)
        losses = {name: round(total / steps, 4) for name, total in self._sums.items()}
        self._sums = {}
        self._steps = 0
        return losses

    def _seconds_left(self, done: int) -> int:
        """How long the stage still takes at the pace so far."""
        seconds = time.perf_counter() - self._started
        pace = seconds / max(1, done - self._begin)
        return round(pace * (self._last - done))

    def _save_best(self, module: nn.Module) -> None:
        """Keep the weights as the best so far."""
        tensors = {
            name: value.contiguous() for name, value in module.state_dict().items()
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self.folder / BEST, lambda path: save_file(tensors, path))

    def restore(self, module: nn.Module) -> None:
        """Give the module its best weights; the stage is over."""
        if self._events is not None:
            self._events.close()
        if not self.rows:
            return
        module.load_state_dict(load_file(self.folder / BEST))
        row = self.best
        reason = ", stopped early: nothing improved" if self.is_over else ""
        self.log(
            f"{self.stage}: best after epoch {row['epoch']:g}, "
            f"{self.figure} {row['dev'][self.figure]:.3f}{reason}"
        )

    def _line(self, row: Mapping[str, Any], is_best: bool) -> str:
        """A judgement for people."""
        losses = " ".join(f"{name} {value:.2f}" for name, value in row["loss"].items())
        figures = " ".join(f"{name} {value:.3f}" for name, value in row["dev"].items())
        left = row["seconds_left"]
        remaining = (
            f"{left // 60} min {left % 60} s left" if left >= 60 else f"{left} s left"
        )
        epochs = f"{row['epoch']:g}/{self._last / self.epoch:g}"
        star = " (best)" if is_best else ""
        return f"{self.stage} epoch {epochs}: loss {losses} | dev {figures}{star} | {remaining}"


def restore_best(folder: Path, module: nn.Module) -> None:
    """Give a module the best weights that a watched stage has left in its folder.

    Where there are any.
    """
    if (folder / BEST).is_file():
        module.load_state_dict(load_file(folder / BEST))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]], append: bool = False) -> None:
    """Write rows as JSON Lines, whole or after those that are there."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if append:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        write_text(path, text)
