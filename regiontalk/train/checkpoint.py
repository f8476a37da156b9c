"""Checkpoints: weights, optimiser state and step in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from regiontalk.files import atomic_write, discard_unfinished

_NAME = "checkpoint.safetensors"
_LONGEST = 60  # letters of a value in a message
# Settings that are hashes, and what they are of.
_HASHES = {
    "photos": "other photos, captions or boxes",
    "read": "other photos, captions or things in them",
    "begin": "other first weights: another --start, --weights or vocabulary, or an "
    "earlier stage that changed",
    "before": "the round before has changed",
    "features.extractor": "the extractor has changed",
    "pairs.aligner": "the aligner has changed",
    "vectors.file": "other word vectors",
}


@dataclass(frozen=True)
class Checkpoint:
    """Where a stage is kept, and what makes it one of this run.

    Attributes:
        folder: of the stage.
        config: how the stage is optimised.
        settings: all else that shapes the stage, as JSON.
        usual: defaults of ``config`` and of ``settings`` under these names, as JSON of the same
            form: what an older checkpoint does not name was at its default.
    """

    folder: Path
    config: Mapping[str, Any]
    settings: str = ""
    usual: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(
    checkpoint: Checkpoint,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    """Write all that `load_checkpoint` needs to go on exactly.

    The old file stays until the new one is whole.

    Args:
        checkpoint: where it stands, and the settings that are written with it.
        module: its weights and statistics are kept.
        optimiser: its moments are kept.
        step: steps done.
    """
    folder = checkpoint.folder
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"model.{key}": value.contiguous() for key, value in module.state_dict().items()
    }
    for number, entry in optimiser.state_dict()["state"].items():
        tensors |= {
            f"optimiser.{number}.{key}": torch.as_tensor(value).contiguous()
            for key, value in entry.items()
        }
    metadata = {"step": str(step), **_wanted(checkpoint)}
    atomic_write(
        folder / _NAME, lambda path: save_file(tensors, path, metadata=metadata)
    )


def _wanted(checkpoint: Checkpoint) -> dict[str, str]:
    """The settings of a run as its file has them."""
    return {
        "config": json.dumps(checkpoint.config),
        "settings": checkpoint.settings,
    }


def load_checkpoint(
    checkpoint: Checkpoint,
    module: nn.Module,
    optimiser: torch.optim.Optimizer | None = None,
) -> int:
    """Restore module and optimiser; the number of steps already done, 0 without a file.

    Args:
        checkpoint: where it stands, and the settings that it must not contradict.
        module: takes the weights and statistics.
        optimiser: takes the moments; None where the module is not trained on.

    Raises:
        ValueError: the checkpoint was written with other settings, or is damaged.
    """
    path = checkpoint.folder / _NAME
    if not path.exists():
        return 0
    discard_unfinished(path)
    metadata, tensors = _read(path)
    _refuse_other_settings(path, metadata, _wanted(checkpoint), checkpoint.usual)
    try:
        module.load_state_dict(_under("model.", tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(
            f"{path}: expected the weights of this model; {first}; delete it to start again"
        ) from error
    if optimiser is not None:
        _load_moments(optimiser, _under("optimiser.", tensors))
    return int(metadata["step"])


def _load_moments(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimiser the state that was saved, under "number.name"."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _refuse_other_settings(
    path: Path,
    written: Mapping[str, str],
    wanted: Mapping[str, str],
    usual: Mapping[str, str],
) -> None:
    """Refuse a checkpoint whose metadata contradict the settings that are wanted."""
    differences: list[str] = []
    for key, prefix in (("config", "optimiser."), ("settings", "")):
        differing = differing_settings(
            written.get(key, ""), wanted[key], usual.get(key, "")
        )
        for name, before, now in differing:
            text = _described(prefix + name, before, now)
            if not any(f".{earlier}" in text for earlier in differences):
                differences.append(text)
    if differences:
        raise ValueError(
            f"{path}: written with other settings ({', '.join(differences)}); "
            "give another --out folder, or delete it to start again"
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }


def steps_done(folder: Path) -> int:
    """The steps that the checkpoint of a folder has behind it, 0 without one.

    Its weights are not read.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    path = folder / _NAME
    return int(_read(path, whole=False)[0]["step"]) if path.exists() else 0


def _read(path: Path, whole: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a checkpoint says of itself, and its tensors where they are wanted."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {
                key: file.get_tensor(key) for key in (file.keys() if whole else ())
            }
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected a checkpoint, got a damaged file ({error}); delete it to start again"
        ) from error


def written_settings(folder: Path) -> str:
    """The settings of a folder's checkpoint, as JSON; empty without one."""
    path = folder / _NAME
    return _read(path, whole=False)[0].get("settings", "") if path.exists() else ""


def set_aside(folder: Path) -> Path:
    """Take a folder's checkpoint out of the way, so that its stage starts again.

    Returns where it is kept.
    """
    old = folder / f"previous.{_NAME}"
    os.replace(folder / _NAME, old)
    return old


def differing_settings(
    written: str, wanted: str, usual: str
) -> list[tuple[str, Any, Any]]:
    """The settings that differ: a dotted name, the value written and the value wanted.

    A setting that is not written was usual, and where nothing is usual, as is wanted.

    >>> differing_settings('{"steps": 10, "a": {"b": 1}}', '{"steps": 20, "a": {"b": 1}}', "")
    [('steps', 10, 20)]
    """
    if not written or not wanted:
        return []
    return list(
        _differing(
            json.loads(written), json.loads(wanted), json.loads(usual or "{}"), ""
        )
    )


def _differing(
    written: Any, wanted: Any, usual: Any, name: str
) -> Iterator[tuple[str, Any, Any]]:
    """`differing_settings` of values of JSON."""
    if isinstance(written, dict) and isinstance(wanted, dict):
        usual = usual if isinstance(usual, dict) else {}
        for key, value in wanted.items():
            before = written.get(key, usual.get(key, value))
            yield from _differing(
                before, value, usual.get(key), f"{name}.{key}".lstrip(".")
            )
    elif written != wanted:
        yield name, written, wanted


def _described(name: str, before: Any, now: Any) -> str:
    """A difference in words; hashes say what they are of."""
    return _HASHES.get(name) or f"{name} {_brief(before)} -> {_brief(now)}"


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
