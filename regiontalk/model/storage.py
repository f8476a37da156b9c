"""A model's folder on disk: ``config.json``, ``model.safetensors`` (fp16), ``vocabulary.json`` and a card.

Loading is strict; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regiontalk.files import write_whole
from regiontalk.text.vocabulary import Vocabulary

FILES = ("config.json", "model.safetensors", "vocabulary.json", "README.md")


Config = TypeVar("Config", bound=BaseModel)


def save_folder(
    folder: Path, module: nn.Module, config: BaseModel, vocabulary: Vocabulary, card: str
) -> None:
    """Write the four files of any model, ``config.json`` last."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: _half(value) for key, value in module.state_dict().items()}
    write_whole(folder / "model.safetensors", lambda path: _save_tensors(tensors, path))
    write_whole(folder / "vocabulary.json", vocabulary.save)
    write_whole(folder / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    write_whole(
        folder / "config.json",
        lambda path: path.write_text(config.model_dump_json(indent=2) + "\n"),
    )


def open_folder(folder: Path, record: type[Config]) -> tuple[Config, Vocabulary]:
    """The settings and the words of a model folder.

    Raises:
        ValueError: a file is missing, or its settings are not those of such a model.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: not a complete model folder; missing {', '.join(missing)}")
    try:
        config = record.model_validate_json((folder / "config.json").read_bytes())
    except ValidationError as error:
        found = describe_errors(error, record)
        # another kind of model has other settings throughout: its kind says it all
        kind = next((text for text in found.split("; ") if text.startswith("kind: ")), None)
        raise ValueError(f"{folder / 'config.json'}: {kind or found}") from error
    return config, Vocabulary.load(folder / "vocabulary.json")


def describe_errors(error: ValidationError, record: type[BaseModel]) -> str:
    """All of pydantic's findings in one line: ``key: what was expected, got what``.

    >>> from regiontalk.model.config import Calibration
    >>> try:
    ...     Calibration.model_validate({"bias": "much", "per_letter": 1})
    ... except ValidationError as error:
    ...     print(describe_errors(error, Calibration).partition("; ")[2])
    per_letter: unknown key; expected one of bias, per_word, per_match, per_box

    Args:
        error: what validation raised.
        record: the class that was validated, for the names of its keys.
    """
    lines = []
    for item in error.errors():
        where, text = [str(part) for part in item["loc"]], item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = f"unknown key; expected one of {', '.join(_keys(record, where[:-1]))}"
        elif where and isinstance(item["input"], str | int | float | None):
            text += f", got {item['input']!r}"
        lines.append(": ".join([*([".".join(where)] if where else []), text]))
    return "; ".join(lines)


def _keys(record: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys of the record that stands at ``path`` inside another; the field may be optional."""
    for name in path:
        annotation = record.model_fields[name].annotation
        kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        record = next(kind for kind in kinds if issubclass(kind, BaseModel))
    return list(record.model_fields)


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
