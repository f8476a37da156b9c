"""The model card that a run leaves: what was trained, on what, and how to load it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regiontalk.objects.captioner import ObjectsConfig
from regiontalk.regions.config import ExtractorConfig, PrecomputedConfig
from regiontalk.train.align import AlignConfig
from regiontalk.train.recipe import Recipe, stages_of

_USE = """```python
from regiontalk import RegionCaptioner
captioner = RegionCaptioner.from_pretrained("this folder")
print(captioner.caption("photo.jpg"))
```"""


def model_card(
    recipe: Recipe,
    *,
    extractor: ExtractorConfig,
    data: str,
    photos: int,
    start: str | None = None,
) -> str:
    """A README.md in the form of the Hugging Face Hub.

    Args:
        recipe: the run.
        extractor: the one that ran, which may be the start model's.
        data: name of the data folder.
        photos: training photos.
        start: the model whose extractor was taken over.
    """
    # of a start model's path only the name: the rest is of the machine that trained
    origin = "" if start is None else f", with the extractor of `{Path(start).name}`"
    sections = {
        "extractor": extractor,
        "aligner": recipe.aligner,
        "generator": recipe.generator,
    }
    sections |= {
        "vectors": recipe.vectors,
        **{name: getattr(recipe, name) for name in stages_of(recipe)},
    }
    lines = [
        f"- {name}: `{section.model_dump_json(exclude_defaults=True)}`"
        for name, section in sections.items()
    ]
    parts = "\n".join([f"- backbone: `{extractor.backbone}`{origin}", *lines])
    does = (
        "Captions photos and their regions, aligns sentences with regions, and "
        "finds phrases in photos."
    )
    measure = "regiontalk evaluate all --model this_folder --data DIR"
    return _card(recipe.name, does, _USE, parts, _unmeasured(measure), data, photos)


def own_card(
    recipe: Recipe,
    *,
    data: str,
    photos: int,
    start: str,
    figures: Sequence[str],
    dev: int,
) -> str:
    """The same for a model that went on learning from somebody's own photos.

    Args:
        recipe: the plan.
        data: name of the data folder.
        photos: training photos.
        start: the model that it began as.
        figures: lines of before and after.
        dev: photos that these were measured on.
    """
    lines = [
        f"- {name}: `{getattr(recipe, name).model_dump_json(exclude_defaults=True)}`"
        for name in stages_of(recipe)
    ]
    parts = "\n".join([f"- started as the whole model `{Path(start).name}`", *lines])
    does = (
        "Captions photos and their regions, aligns sentences with regions, and "
        "finds phrases in photos."
    )
    measured = "\n".join(f"- {line}" for line in figures)
    figures_text = (
        f"On {dev} photos of the same folder that it has not learnt from:\n\n{measured}"
    )
    return _card(recipe.name, does, _USE, parts, figures_text, data, photos)


def aligner_card(
    recipe: Recipe, *, given: PrecomputedConfig, data: str, photos: int
) -> str:
    """The same for a model that only aligns, on features that somebody else computed.

    Args:
        recipe: the run.
        given: the features.
        data: name of the data folder.
        photos: training photos that had features.
    """
    does = (
        "Aligns sentences with regions and finds phrases in photos, on region "
        "features that somebody else computed."
    )
    use = '```\nregiontalk locate photo.jpg "red shirt" --model this_folder --features PATH\n```'
    most = f"up to {given.regions} regions a photo"
    sections = {
        "aligner": recipe.aligner,
        "vectors": recipe.vectors,
        "align": recipe.align or AlignConfig(),
    }
    lines = [
        f"- {name}: `{section.model_dump_json(exclude_defaults=True)}`"
        for name, section in sections.items()
    ]
    parts = "\n".join(
        [f"- region features: given, {given.features} numbers a region, {most}", *lines]
    )
    measure = (
        "regiontalk evaluate retrieval --model this_folder --data DIR --features PATH"
    )
    return _card(recipe.name, does, use, parts, _unmeasured(measure), data, photos)


def objects_card(config: ObjectsConfig, *, data: str, photos: int, source: str) -> str:
    """The same for a model that makes sentences of objects.

    Args:
        config: the model.
        data: name of the data folder.
        photos: training photos.
        source: the detector whose finds it was taught on.
    """
    does = (
        "Writes one sentence about the things that a detector found in a photo; it "
        f"reads {config.reads}."
    )
    use = (
        "```\nregiontalk objects photo.jpg --model this_folder --detector DETECTOR\n```"
    )
    # only the kind of the detector: its file is a path of the machine that trained
    parts = (
        f"- things found by: {source.partition(':')[0]}\n- model: "
        f"`{config.model_dump_json(exclude_defaults=True)}`"
    )
    measure = (
        "python benchmarks/objects_to_sentence.py --model this_folder --detector "
        "DETECTOR --data DIR"
    )
    return _card(config.name, does, use, parts, _unmeasured(measure), data, photos)


def _unmeasured(command: str) -> str:
    return f"None were measured when this card was written; `{command}` measures them."


def _card(
    name: str, does: str, use: str, parts: str, figures: str, data: str, photos: int
) -> str:
    return f"""---
library_name: regiontalk
pipeline_tag: image-to-text
---
# {name}

{does}

{use}

## Data
{photos} photos of the training split of `{data}`, with their sentences.

## Recipe
{parts}

## Figures
{figures}

## Licence
The weights are as free as the photos they come from: ask the owner of `{data}`.
"""
