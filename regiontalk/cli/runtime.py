"""``regiontalk export-runtime`` and ``round-backbone``: the forms in which a model is used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
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


Data = Annotated[
    list[Path],
    typer.Option(
        "--data", metavar="DIR", help="Training photos to round by; may be repeated."
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="Of the choice of photos.")
]


def round_backbone(model: ModelFolder, data: Data, seed: Seed = 0) -> None:
    """Put a model's backbone in whole numbers, in place: it computes twice as fast.

    Up to 1,000 photos show what passes through its layers; no words are read. It learns
    no more afterwards.
    """
    from regiontalk.model.hub import own_folder
    from regiontalk.train.inputs import read_folders
    from regiontalk.train.round_backbone import round_in_folder

    log = partial(typer.echo, err=True)
    folder = own_folder(model, "round-backbone")
    round_in_folder(folder, read_folders(data, log), seed=seed, log=log)
