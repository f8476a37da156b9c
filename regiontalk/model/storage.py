"""A model's folder on disk.

``config.json``, ``model.safetensors`` (fp16), ``vocabulary.json`` and a card. Loading
is strict; nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from regiontalk.deprecation import WRITTEN_BY_US
from regiontalk.text.vocabulary import Vocabulary

FILES = ("config.json", "model.safetensors", "vocabulary.json", "README.md")


Config = TypeVar("Config", bound=BaseModel)


def open_folder(folder: Path, record: type[Config]) -> tuple[Config, Vocabulary]:
    """The settings and the words of a model folder.

    Raises:
        ValueError: a file is missing, or its settings are not those of such a model.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder}: not a complete model folder; missing {', '.join(missing)}"
        )
    try:
        text = (folder / "config.json").read_bytes()
        config = record.model_validate_json(text, context=WRITTEN_BY_US)
    except ValidationError as error:
        description = describe_errors(error, record)
        # another kind of model has other settings throughout: its kind says it all
        of_kind = [
            text for text in description.split("; ") if text.startswith("kind: ")
        ]
        reason = of_kind[0] if of_kind else description
        raise ValueError(f"{folder / 'config.json'}: {reason}") from error
    return config, Vocabulary.load(folder / "vocabulary.json")


def describe_errors(error: ValidationError, record: type[BaseModel]) -> str:
    """All of pydantic's findings in one line: ``key: what was expected, got what``.

    >>> from regiontalk.model.config import Calibration
    >>> try:
    ...     Calibration.model_validate({"bias": "much", "per_letter": 1})
    ... except ValidationError as error:
    ...     print(describe_errors(error, Calibration).partition("; ")[2])
    per_letter: unknown key; expected one of bias, per_word, per_match, per_box, per_check

    Args:
        error: what validation raised.
        record: the class that was validated, for the names of its keys.
    """
    lines = []
    for item in error.errors():
        path = [str(key) for key in item["loc"]]
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            known_keys = ", ".join(_keys(record, path[:-1]))
            text = f"unknown key; expected one of {known_keys}"
        elif path and isinstance(item["input"], str | int | float | None):
            text += f", got {item['input']!r}"
        lines.append(f"{'.'.join(path)}: {text}" if path else text)
    return "; ".join(lines)


def _keys(record: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys of the record that stands at ``path`` inside another; the field may be optional."""
    for name in path:
        annotation = record.model_fields[name].annotation
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                record = kind
                break
    return list(record.model_fields)
