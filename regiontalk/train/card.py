"""The model card that a run leaves: what was trained, on what, and how to load it."""

from __future__ import annotations

from regiontalk.train.recipe import Recipe, stages_of


def model_card(recipe: Recipe, *, data: str, photos: int) -> str:
    """A README.md in the form of the Hugging Face Hub.

    Args:
        recipe: the run.
        data: name of the data folder.
        photos: training photos.
    """
    parts = "\n".join(
        f"- {name}: `{getattr(recipe, name).model_dump_json(exclude_defaults=True)}`"
        for name in ("extractor", "aligner", "generator", *stages_of(recipe))
    )
    return f"""---
library_name: regiontalk
pipeline_tag: image-to-text
---
# {recipe.name}

Captions photos and their regions, aligns sentences with regions, and finds phrases in photos.

```python
from regiontalk import RegionCaptioner
captioner = RegionCaptioner.from_pretrained("this folder")
print(captioner.caption("photo.jpg"))
```

## Data
{photos} photos of the training split of `{data}`, with their sentences.

## Recipe
{parts}

## Figures
None were measured when this card was written; `regiontalk evaluate all --model this_folder --data DIR` measures them.

## Licence
The weights are as free as the photos they come from: ask the owner of `{data}`.
"""
