"""The weights of a torch module on disk: ``model.safetensors`` (fp16), written whole and read strictly."""

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

from regiontalk.files import atomic_write
from regiontalk.text.vocabulary import Vocabulary


def save_folder(
    folder: Path, module: nn.Module, config: BaseModel, vocabulary: Vocabulary, card: str
) -> None:
    """Write the four files of any model, ``config.json`` last; graphs of the weights that stood there before go."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph in folder.glob("*.onnx"):
        graph.unlink()
    tensors = {key: _half(value) for key, value in module.state_dict().items()}
    atomic_write(folder / "model.safetensors", lambda path: _save_tensors(tensors, path))
    atomic_write(folder / "vocabulary.json", vocabulary.save)
    atomic_write(folder / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    atomic_write(
        folder / "config.json",
        lambda path: path.write_text(config.model_dump_json(indent=2) + "\n"),
    )


def _half(value: Tensor) -> Tensor:
    """Floating tensors as fp16 on the CPU; a value that fp16 cannot hold is an error, not an infinity."""
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value
    if value.abs().max() > torch.finfo(torch.float16).max:
        raise ValueError(
            f"weights: expected values that fp16 can hold, got {float(value.abs().max()):g}"
        )
    return value.half()


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file; where it cannot be written an OSError, as from any other file."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


class Unfilled(TorchFunctionMode):
    """Gives new weights no values, because a file fills them next.

    The meta device would do the same, but its arithmetic imports torch's compiler, which takes
    seconds.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_strictly(model: nn.Module, path: Path) -> None:
    """Put a file's tensors in the place of a model's own; the first name or shape that differs is an error."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file ({error})") from error
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    floating = {key: value.is_floating_point() for key, value in model.state_dict().items()}
    if odd := sorted(set(wanted) ^ set(tensors)):
        raise ValueError(
            f"{path}: expected the tensors that config.json describes, first difference: {odd[0]}"
        )
    for key, shape in wanted.items():
        if tuple(tensors[key].shape) != shape:
            raise ValueError(
                f"{path}: {key}: expected shape {shape}, got {tuple(tensors[key].shape)}"
            )
        if tensors[key].is_floating_point() != floating[key]:
            raise ValueError(
                f"{path}: {key}: expected {'fractions' if floating[key] else 'integers'}, got {tensors[key].dtype}"
            )
    state = {
        key: value.float() if value.is_floating_point() else value for key, value in tensors.items()
    }
    model.load_state_dict(state, assign=True)


def fingerprint(module: nn.Module, without: str | None = None) -> str:
    """A hash of every weight (SHA-256, in hexadecimal), by which what a module made is never taken for another's.

    Args:
        module: whose weights.
        without: tensors with this in their name are passed over.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if without is not None and without in name:
            continue
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
