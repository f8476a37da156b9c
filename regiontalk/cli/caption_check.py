"""``regiontalk teach-check``: the head that tells whether a caption is true of its region."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from regiontalk.cli.options import Threads

ModelFolder = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder.", show_default=False)
]
Data = Annotated[
    list[Path],
    typer.Option(
        "--data",
        metavar="DIR",
        help="Training photos with names on boxes; may be repeated.",
    ),
]
ClassWordsFile = Annotated[
    Path,
    typer.Option(
        "--class-words", metavar="FILE", help="JSON: the words that name each class."
    ),
]
Names = Annotated[
    list[Path] | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="More boxes and classes on these photos, COCO results; again: more.",
    ),
]
Photos = Annotated[
    int, typer.Option("--photos", metavar="N", min=1, help="Photos to learn from.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of order and weights.")]


def teach_check(
    model: ModelFolder,
    data: Data,
    class_words: ClassWordsFile,
    names: Names = None,
    photos: Photos = 2000,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Teach a model to tell its right captions from its wrong ones, in place.

    It captions the proposals of training photos and learns where the words were wrong. Fit the
    confidences anew afterwards: regiontalk evaluate calibrate --write.
    """
    from regiontalk.cli.progress import Meter
    from regiontalk.evaluate.names import read_class_words
    from regiontalk.model.hub import own_folder
    from regiontalk.train.caption_check import choose_examples, teach_caption_check
    from regiontalk.train.inputs import name_boxes, read_folders
    from regiontalk.train.recipe import SourcesConfig

    model_folder = own_folder(model, "teach-check")
    words = read_class_words(class_words, ())
    log = partial(typer.echo, err=True)
    examples = read_folders(data, log)
    for path in names or ():
        examples = name_boxes(examples, path, SourcesConfig().min_score, log)
    chosen = choose_examples(examples, photos, seed)
    with Meter(len(chosen)) as meter:
        teach_caption_check(
            model_folder,
            chosen,
            words,
            seed=seed,
            threads=threads,
            log=log,
            done=meter.advance,
        )
