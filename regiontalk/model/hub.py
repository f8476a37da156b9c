"""Where a model folder is: bundled with the package, on this disk, or on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

BUNDLED = Path(__file__).parents[1] / "models"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_model(name: str | Path) -> Path:
    """The folder of a bundled name, of a path, or of ``owner/name`` on the Hub.

    A folder that exists is never looked for elsewhere, and nothing that looks like a path (a
    leading dot, slash or tilde, more than one slash, a folder that is here) is ever asked of the
    network. Only a folder that is no model does not hide a bundled one of its name.

    Raises:
        ValueError: no such model; the message lists the bundled names.
    """
    path, bundled = Path(name), BUNDLED / str(name)
    is_bundled = _is_model(bundled)
    if path.is_dir() and (_is_model(path) or not is_bundled):
        return path
    if is_bundled:
        return bundled
    text = str(name)
    if (
        isinstance(name, Path)
        or _looks_like_a_path(text)
        or not _HUB_NAME.fullmatch(text)
    ):
        names = ", ".join(
            sorted(file.parent.name for file in BUNDLED.glob("*/config.json"))
        )
        raise ValueError(
            f"model: expected a bundled name ({names or 'none'}), a model folder or "
            f"owner/name, got {text!r}"
        )
    return _download(text)


def own_folder(name: str, verb: str) -> Path:
    """The folder of a model that a command will change.

    Raises:
        ValueError: no such model, or the package's own.
    """
    folder = resolve_model(name)
    if folder.parent == BUNDLED:
        raise ValueError(
            f"{verb}: expected a model folder of your own, got the package's {name!r}, which "
            "would change; copy it first: regiontalk info says where it lies"
        )
    return folder


def _is_model(folder: Path) -> bool:
    """Whether a folder holds a model."""
    return (folder / "config.json").is_file()


def _looks_like_a_path(text: str) -> bool:
    """Whether a name is of this disk, its last part perhaps misspelt."""
    if text.startswith((".", "/", "~")):
        return True
    return "/" in text and Path(text).parent.is_dir()


def _download(name: str) -> Path:
    """A snapshot of a Hub repository: the files of a model and its graphs, nothing else."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    patterns = ["*.json", "*.safetensors", "*.onnx", "README.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"model: no repository {name!r} on the Hub; check the name, or give a folder"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"model: {name!r} is not here and the Hub cannot be reached; give a model folder"
        ) from error
