"""The weights of a torch module on disk.

``model.safetensors`` (fp16), written whole and read strictly.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regiontalk.files import atomic_write, write_text
from regiontalk.text.vocabulary import Vocabulary


def save_folder(
    folder: Path,
    module: nn.Module,
    config: BaseModel,
    vocabulary: Vocabulary,
    card: str,
) -> None:
    """Write the four files of any model, ``config.json`` last.

    Graphs of the weights that stood there before go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for graph in folder.glob("*.onnx"):
        graph.unlink()
    tensors = {key: _half(value) for key, value in module.state_dict().items()}
    atomic_write(
        folder / "model.safetensors", lambda path: _save_tensors(tensors, path)
    )
    atomic_write(folder / "vocabulary.json", vocabulary.save)
    write_text(folder / "README.md", card)
    write_text(folder / "config.json", config.model_dump_json(indent=2) + "\n")


def _half(value: Tensor) -> Tensor:
    """Floating tensors as fp16 on the CPU.

    A value that fp16 cannot hold is an error, not an infinity.
    """
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value
    largest = value.abs().max()
    if largest > torch.finfo(torch.float16).max:
        raise ValueError(
            f"weights: expected values that fp16 can hold, got {float(largest):g}"
        )
    return value.half()


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file; where it cannot be written an OSError, as from any other file."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def skip_init() -> TorchFunctionMode:
    """A context in which new weights get no values, because a file fills them next.

    The meta device would do the same, but its arithmetic imports torch's compiler, which takes
    seconds.
    """
    return _SkipInit()


class _SkipInit(TorchFunctionMode):
    """Passes over the functions of `torch.nn.init`."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_strictly(model: nn.Module, path: Path) -> None:
    """Put a file's tensors in the place of a model's own.

    The first name or shape that differs is an error.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file ({error})") from error
    wanted = model.state_dict()
    different_names = sorted(wanted.keys() ^ tensors.keys())
    if different_names:
        raise ValueError(
            f"{path}: expected the tensors that config.json describes, "
            f"first difference: {different_names[0]}"
        )
    for key, value in wanted.items():
        _check_alike(f"{path}: {key}", value, tensors[key])
    state = {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
    }
    model.load_state_dict(state, assign=True)


def _check_alike(where: str, wanted: Tensor, tensor: Tensor) -> None:
    """Refuse a tensor of another shape or kind than the model's."""
    if tensor.shape != wanted.shape:
        raise ValueError(
            f"{where}: expected shape {tuple(wanted.shape)}, got {tuple(tensor.shape)}"
        )
    if tensor.is_floating_point() != wanted.is_floating_point():
        kind = "fractions" if wanted.is_floating_point() else "integers"
        raise ValueError(f"{where}: expected {kind}, got {tensor.dtype}")


def fingerprint(module: nn.Module, without: str | None = None) -> str:
    """A hash of every weight (SHA-256, in hexadecimal).

    By it what a module made is never taken for another's.

    Args:
        module: whose weights.
        without: tensors with this in their name are passed over.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        is_left_out = without is not None and without in name
        if is_left_out:
            continue
        digest.update(name.encode())
        values = value.detach().cpu().contiguous().numpy()
        digest.update(values.tobytes())
    return digest.hexdigest()
