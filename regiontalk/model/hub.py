"""Where a model folder is: bundled with the package, on this disk, or on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

BUNDLED = Path(__file__).parents[1] / "models"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def find_folder(name: str | Path) -> Path:
    """The folder of a bundled name, of a path, or of ``owner/name`` on the Hub.

    A folder that exists is never looked for elsewhere, and nothing that looks like a path (a
    leading dot, slash or tilde, more than one slash, a folder that is here) is ever asked of the
    network. Only a folder that is no model does not hide a bundled one of its name.

    Raises:
        ValueError: no such model; the message lists the bundled names.
    """
    bundled = (BUNDLED / str(name) / "config.json").is_file()
    if Path(name).is_dir() and (not bundled or (Path(name) / "config.json").is_file()):
        return Path(name)
    if bundled:
        return BUNDLED / str(name)
    text = str(name)
    beside = (
        "/" in text and Path(text).parent.is_dir()
    )  # a folder of this disk, its last part misspelt
    if (
        isinstance(name, Path)
        or beside
        or text.startswith((".", "/", "~"))
        or not _HUB_NAME.fullmatch(text)
    ):
        names = (
            ", ".join(sorted(path.parent.name for path in BUNDLED.glob("*/config.json"))) or "none"
        )
        raise ValueError(
            f"model: expected a bundled name ({names}), a model folder or owner/name, got {text!r}"
        )
    return _download(text)


def _download(name: str) -> Path:
    """A snapshot of a Hub repository: the files of a model and its graphs, nothing else."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(
            snapshot_download(
                name, allow_patterns=["*.json", "*.safetensors", "*.onnx", "README.md"]
            )
        )
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"model: no repository {name!r} on the Hub; check the name, or give a folder"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"model: {name!r} is not here and the Hub cannot be reached; give a model folder"
        ) from error
