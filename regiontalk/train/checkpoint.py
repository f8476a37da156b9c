"""Checkpoints: weights, optimiser state and step in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_NAME = "checkpoint.safetensors"


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    config: Mapping[str, Any],
    settings: str = "",
) -> None:
    """Write all that `load_checkpoint` needs to go on exactly; the old file stays until the new one is whole.

    Args:
        folder: where the checkpoint stands.
        module: its weights and statistics are kept.
        optimiser: its moments are kept.
        step: steps done.
        config: how the stage is optimised.
        settings: all else that shapes the stage, as JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{key}": value.contiguous() for key, value in module.state_dict().items()}
    for number, entry in optimiser.state_dict()["state"].items():
        tensors |= {
            f"optimiser.{number}.{key}": torch.as_tensor(value).contiguous()
            for key, value in entry.items()
        }
    fresh = folder / (_NAME + ".new")
    save_file(
        tensors,
        fresh,
        metadata={"step": str(step), "config": json.dumps(config), "settings": settings},
    )
    os.replace(fresh, folder / _NAME)


def load_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    config: Mapping[str, Any],
    settings: str = "",
    usual: Mapping[str, str] | None = None,
) -> int:
    """Restore module and optimiser; the number of steps already done, 0 without a checkpoint.

    Args:
        folder: where the checkpoint stands.
        module: takes the weights and statistics.
        optimiser: takes the moments.
        config: how the stage is optimised.
        settings: all else that shapes the stage, as JSON.
        usual: defaults of ``config`` and of ``settings`` under these names, as JSON of the same
            form: what an older checkpoint does not name was at its default.

    Raises:
        ValueError: the checkpoint was written with other settings, or is damaged.
    """
    path = folder / _NAME
    if not path.exists():
        return 0
    metadata, tensors = _read(path)
    wanted = {"config": json.dumps(config), "settings": settings}
    if not all(
        _agree(metadata.get(name, ""), text, (usual or {}).get(name, ""))
        for name, text in wanted.items()
    ):
        raise ValueError(
            f"{path}: written with other settings; give another --out folder or delete it"
        )
    model = {
        key.removeprefix("model."): value
        for key, value in tensors.items()
        if key.startswith("model.")
    }
    try:
        module.load_state_dict(model)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(
            f"{path}: expected the weights of this model; {first}; delete it to start again"
        ) from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
    return int(metadata["step"])


def steps_done(folder: Path) -> int:
    """The steps that the checkpoint of a folder has behind it, 0 without one; its weights are not read.

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


def _agree(written: str, wanted: str, usual: str) -> bool:
    """Whether no setting differs; one that is not written was usual, and where nothing is usual, as is wanted."""
    if not written or not wanted:
        return True
    return _same(json.loads(written), json.loads(wanted), json.loads(usual or "{}"))


def _same(written: Any, wanted: Any, usual: Any) -> bool:
    """`_agree` of values of JSON."""
    if isinstance(written, dict) and isinstance(wanted, dict):
        usual = usual if isinstance(usual, dict) else {}
        return all(
            _same(written.get(key, usual.get(key, value)), value, usual.get(key))
            for key, value in wanted.items()
        )
    return bool(written == wanted)
