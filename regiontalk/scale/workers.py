"""The processes that compute: one model each, the same on all machines."""

from __future__ import annotations

import hashlib
import socket
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiontalk.scale.ray_session import ray_data

if TYPE_CHECKING:
    from ray.data import Dataset

    from regiontalk.captioner import RegionCaptioner

MODEL_FILES = ("config.json", "vocabulary.json", "model.safetensors")
# of a batch whose worker died; then one of its photos is likely what kills it
RETRIES = 4


@dataclass(frozen=True)
class Workers:
    """What captions: so many processes with the same model.

    Attributes:
        model: a bundled name, a folder that every machine has, or owner/name on the Hub.
        fingerprint: of its files; a worker whose model has another one ends the job.
        count: processes.
        threads: CPU cores of each.
        device: where each computes; for "cuda" each takes one GPU.
    """

    model: str
    fingerprint: str
    count: int = 1
    threads: int = 1
    device: str = "cpu"

    @classmethod
    def of(
        cls, model: str | Path, *, count: int = 1, threads: int = 1, device: str = "cpu"
    ) -> Workers:
        """Workers with the model that this process finds by that name.

        Raises:
            ValueError: no such model, or a count below 1.
        """
        for name, value in (("workers", count), ("threads", threads)):
            if value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        from regiontalk.model.hub import BUNDLED, resolve_model

        folder = resolve_model(model)
        is_here = folder.parent != BUNDLED and Path(model).exists()
        name = str(folder.absolute()) if is_here else str(model)
        return cls(name, model_fingerprint(folder), count, threads, device)

    def load(self, max_pixels: int) -> RegionCaptioner:
        """The model, on the machine of a worker.

        Raises:
            ValueError: the machine lacks the model, or has another one of its name.
        """
        from regiontalk.captioner import RegionCaptioner
        from regiontalk.model.hub import resolve_model

        try:
            fingerprint = model_fingerprint(resolve_model(self.model))
        except (ValueError, OSError) as error:
            raise ValueError(
                f"worker on {socket.gethostname()}: lacks the model ({error}); every "
                "machine needs it at the same place"
            ) from None
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"worker on {socket.gethostname()}: its model {self.model!r} has the "
                f"fingerprint {fingerprint[:12]}, expected {self.fingerprint[:12]}; "
                "copy the same model to every machine"
            )
        return RegionCaptioner.from_pretrained(
            self.model, device=self.device, max_pixels=max_pixels, threads=self.threads
        )

    def map(
        self, dataset: Dataset, worker: type, arguments: Mapping[str, Any]
    ) -> Dataset:
        """A dataset whose blocks pass through workers, each made of a class with the arguments."""
        # the one way to bound retries goes away with Ray 2.64
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            result: Dataset = dataset.map_batches(
                worker,
                batch_size=None,
                batch_format="pyarrow",
                fn_constructor_kwargs=dict(arguments),
                compute=ray_data().ActorPoolStrategy(size=self.count),
                num_cpus=self.threads,
                num_gpus=1 if self.device.startswith("cuda") else None,
                ray_remote_args_fn=_retries,
            )
        return result


def _retries() -> dict[str, int]:
    return {"max_task_retries": RETRIES}


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over the files that decide what a model says.

    Raises:
        ValueError: one of them is not there.
    """
    digest = hashlib.sha256()
    for name in MODEL_FILES:
        path = folder / name
        if not path.is_file():
            raise ValueError(
                f"{path}: expected a file of the model, got none; copy the whole folder"
            )
        digest.update(path.read_bytes())
    return digest.hexdigest()


def first_cause(error: BaseException) -> str:
    """The last line of the innermost error, which names the cause."""
    while error.__cause__ is not None or getattr(error, "cause", None) is not None:
        error = error.__cause__ or error.cause  # type: ignore[attr-defined]
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else type(error).__name__
