"""The curves of a stage as TensorBoard events, written beside the log by tensorboardX (MIT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = "events"  # in a run's folder; ``tensorboard --logdir`` reads it
INSTALL = "no TensorBoard events: pip install 'regiontalk[train]' brings tensorboardX"
FLUSH_SECONDS = 5


class EventWriter:
    """Writes the rows of a stage's log as scalars: ``loss/NAME`` of training and ``dev/FIGURE``."""

    def __init__(
        self,
        folder: Path,
        rows: Sequence[Mapping[str, Any]],
        log: Callable[[str], None],
    ) -> None:
        """Begin anew with the rows that the log already has, so that both always agree.

        Args:
            folder: of the stage's events; those of a killed run are replaced.
            rows: what the log has of this stage: ``step``, and figures under ``loss`` and ``dev``.
            log: takes one line where tensorboardX is not installed; then nothing is written.
        """
        self._writer: Any = None
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            log(INSTALL)
            return
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        if self._writer is None:
            return
        for group in ("loss", "dev"):
            for name, value in row[group].items():
                self._writer.add_scalar(
                    f"{group}/{name}".replace(" ", "_"), value, row["step"]
                )

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
