"""The graphs of a model folder: their names, their files, and which weights they belong to."""

from __future__ import annotations

import hashlib
from pathlib import Path

# metadata of a graph: the hash of its model.safetensors
WEIGHTS_KEY = "regiontalk_weights"


def graph_file(folder: Path, graph: str) -> Path:
    """The file of one graph, beside the weights that it refers to."""
    return folder / f"{graph}.onnx"


def has_graphs(folder: Path) -> bool:
    """Whether a model folder can be used without torch."""
    return graph_file(folder, "embed_regions").is_file()


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
