"""Which engine runs a model folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from regiontalk.runtime.graphs import has_graphs
from regiontalk.runtime.onnx_engine import OnnxPredictor, find_providers
from regiontalk.runtime.predictor import Predictor

Engine = Literal["auto", "onnx", "torch"]
ENGINES = ("auto", "onnx", "torch")


def load_predictor(
    folder: Path,
    *,
    engine: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> Predictor:
    """A model folder on one of the two engines.

    Args:
        folder: of the model.
        engine: "onnx" needs the folder's graphs, "torch" needs torch; "auto" takes ONNX Runtime
            where it has the graphs and the device, else torch where it is installed.
        device: "cpu", or an accelerator that the engine reaches.
        threads: that ONNX Runtime computes with; None takes as many as there are cores.

    Raises:
        ValueError: no such engine or device, or the folder cannot be used with it; says what to do.
        ImportError: torch was asked for and is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(
            f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}"
        )
    has_torch = find_spec("torch") is not None
    if engine == "torch" and not has_torch:
        raise ImportError("engine torch needs torch: pip install 'regiontalk[train]'")
    if (
        engine == "onnx"
        or not has_torch
        or (engine == "auto" and _suits_onnx(folder, device))
    ):
        return OnnxPredictor(folder, device=device, threads=threads)
    from regiontalk.model.region_model import RegionModel
    from regiontalk.runtime.torch_engine import TorchPredictor

    return TorchPredictor(RegionModel.from_folder(folder), device)


def _suits_onnx(folder: Path, device: str) -> bool:
    """Whether ONNX Runtime has all that it needs."""
    if not has_graphs(folder):
        return False
    try:
        find_providers(device)
    except ValueError:
        return False
    return True
