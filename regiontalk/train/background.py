"""Training in a process of its own, while its user goes on.

Started, watched, and stopped with its parent.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regiontalk.train.answers import Answers

MIN_ANSWERS = 20  # as train.own.MIN_PHOTOS, which is not imported here: it needs torch
GAIN = "gain.json"  # in a run's folder: headline figures before and after
RUN_FOLDER = "training"  # inside the model's folder
TAIL = 4_000  # bytes of its output that are read


@dataclass(frozen=True)
class Progress:
    """How training stands.

    Attributes:
        round: number of the model, from 1.
        state: "running", "done" or "failed".
        line: what it said last; of a failure, why.
        gain: headline -> (before, after) on photos held out; empty before the end.
        model: the folder of the new model.
    """

    round: int
    state: str
    line: str
    gain: Mapping[str, tuple[float | None, float | None]]
    model: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "round": self.round,
            "state": self.state,
            "line": self.line,
            "gain": {name: list(values) for name, values in self.gain.items()},
            "model": str(self.model),
        }


class BackgroundTraining:
    """Trains model after model in ``out/round_1``, ``out/round_2`` and so on.

    Each from the start model on all answers.
    """

    def __init__(
        self, answers: Answers, out: Path, start: str, threads: int | None = None
    ) -> None:
        """Say what is trained; nothing runs yet.

        Args:
            answers: are read when training starts.
            out: gets the models' folders.
            start: the model that goes on learning.
            threads: of the processor; None takes all.
        """
        self.answers = answers
        self.out = out
        self.start_model = start
        self.threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._round = 0

    @property
    def is_running(self) -> bool:
        """Whether a process is at work."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin a round; one that was killed goes on.

        Raises:
            ValueError: one is at work, or there are too few answers with words.
        """
        if self.is_running:
            raise ValueError(
                "train: expected the last training to have ended, it is still at work"
            )
        lacking = MIN_ANSWERS - self.answers.with_words
        if lacking > 0:
            raise ValueError(
                f"train: expected at least {MIN_ANSWERS} photos with words, got "
                f"{self.answers.with_words}; answer {lacking} more"
            )
        self._round = 1
        while (self._folder / "config.json").is_file():
            self._round += 1
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "regiontalk", "train", str(self.answers.path)]
        command += ["--out", str(self._folder), "--start", self.start_model]
        if self.threads is not None:
            command += ["--threads", str(self.threads)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def progress(self) -> Progress | None:
        """How the last round stands; None before the first."""
        if self._process is None:
            return None
        code = self._process.poll()
        state = "running" if code is None else "failed" if code else "done"
        gain: dict[str, tuple[float | None, float | None]] = {}
        if state == "done":
            text = (self._folder / RUN_FOLDER / GAIN).read_text(encoding="utf-8")
            gain = {
                name: (before, after)
                for name, (before, after) in json.loads(text).items()
            }
        return Progress(self._round, state, self._last_line(), gain, self._folder)

    def stop(self) -> None:
        """End the process, where one is at work; its checkpoints stay."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    @property
    def _folder(self) -> Path:
        return self.out / f"round_{self._round}"

    @property
    def _output(self) -> Path:
        return self.out / f"round_{self._round}.txt"

    def _last_line(self) -> str:
        lines = (
            self._output.read_bytes()[-TAIL:]
            .decode(errors="replace")
            .strip()
            .splitlines()
        )
        return lines[-1] if lines else ""
