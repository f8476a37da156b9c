"""``regiontalk export-runtime``: the graphs by which a model is used without torch."""

from __future__ import annotations

from typing import Annotated

import typer

ModelFolder = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder.", show_default=False)
]


def export_runtime(model: ModelFolder) -> None:
    """Write the ONNX graphs of a model folder beside its weights, for use without torch.

    They refer to the weights where they are, so the folder grows by little. A training run ends with
    this.
    """
    from regiontalk.model.hub import resolve_model
    from regiontalk.runtime import export

    for path in export.export_runtime(resolve_model(model)):
        typer.echo(path)
