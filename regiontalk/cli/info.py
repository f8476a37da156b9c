"""``regiontalk info``: what a model is, without loading it."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from regiontalk.cli.options import Json
from regiontalk.model.card import licence

FILES = ("config.json", "model.safetensors", "vocabulary.json", "README.md")

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A bundled model, a model folder, or owner/name on the Hub.",
    ),
]


def info(model: ModelArgument = "mini", json: Json = False) -> None:
    """Print a model's settings, size, vocabulary and licence."""
    from regiontalk.model.hub import resolve_model

    values = read_info(resolve_model(model))
    typer.echo(
        json_module.dumps(values, indent=2) if json else "\n".join(lines(values))
    )


def read_info(folder: Path) -> dict[str, Any]:
    """What the files of a model folder say: config, parameters, bytes, words, licence.

    Raises:
        ValueError: a file is missing or damaged.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise ValueError(
            f"{folder}: not a complete model folder; missing {', '.join(missing)}"
        )
    try:
        config = json_module.loads((folder / "config.json").read_text(encoding="utf-8"))
        words = json_module.loads(
            (folder / "vocabulary.json").read_text(encoding="utf-8")
        )["words"]
        if not isinstance(config, dict) or not isinstance(words, list):
            raise TypeError("expected an object of settings and a list of words")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: config.json or vocabulary.json is damaged ({error})"
        ) from error
    return {
        "folder": str(folder),
        "config": config,
        "parameters": count_parameters(folder / "model.safetensors"),
        "bytes": sum((folder / name).stat().st_size for name in FILES),
        "words": len(words),
        "licence": licence((folder / "README.md").read_text(encoding="utf-8")),
    }


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, from its header alone.

    Raises:
        ValueError: the file is damaged.
    """
    from math import prod

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = file.keys()  # of `safe_open`, which is no mapping
            return sum(prod(file.get_slice(name).get_shape()) for name in names)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file ({error})") from error


def lines(values: Mapping[str, Any]) -> Iterator[str]:
    """The same to be read by people."""
    yield f"folder      {values['folder']}"
    yield f"parameters  {values['parameters']:,}"
    yield f"size        {values['bytes'] / 1e6:.1f} MB"
    yield f"words       {values['words']:,}"
    yield f"licence     {values['licence'] or 'the model card names none'}"
    yield from _settings(values["config"], "")


def _settings(values: Mapping[str, Any], above: str) -> Iterator[str]:
    """Each setting of a nested configuration as ``section.name = value``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{name}.")
        else:
            yield f"{above}{name} = {value}"
