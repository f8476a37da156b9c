"""``regiontalk export-runtime``: the graphs by which a model is used without torch."""

from __future__ import annotations

from typing import Annotated

import typer

ModelFolder = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder.", show_default=False)
]


Int8 = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Before that, store the decoder in int8, which writes twice as fast.",
    ),
]


def export_runtime(model: ModelFolder, int8: Int8 = False) -> None:
    """Write the ONNX graphs of a model folder beside its weights, for use without torch.

    They refer to the weights where they are, so the folder grows by little. A training
    run ends with this.
    """
    from regiontalk.model.hub import resolve_model
    from regiontalk.runtime import export

    folder = resolve_model(model)
    if int8:
        export.store_in_int8(folder)
    for path in export.export_runtime(folder):
        typer.echo(path)
