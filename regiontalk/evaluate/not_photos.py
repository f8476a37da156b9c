"""Images that are no photos: how many get no words, and what the check costs on photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.not_photos import HELD_OUT, KINDS, draw_image
from regiontalk.evaluate.result import Figure, Result
from regiontalk.images.open import ImageError, open_image
from regiontalk.metrics.bootstrap import bootstrap_sums
from regiontalk.records import Example, ImageResult

EACH = 18  # images of a kind: 19 kinds make 342
FIRST_SEED = 1_000_000  # far from those that a check is fitted on
PHOTOS_TOGETHER = 8


def evaluate_not_photos(
    captioner: RegionCaptioner, examples: Sequence[Example], *, resamples: int = 1000
) -> Result:
    """The share of drawn images without a confident word, with and without the check.

    An image has a confident word where its sentence is one that the model is sure of, or a region
    has words. On the photos of the data set the row says how many regions with words the check
    takes away.

    Args:
        captioner: as a user has it.
        examples: photos.
        resamples: bootstrap draws of images.
    """
    silent: dict[str, list[bool]] = {}
    unchecked: list[bool] = []
    for kind in KINDS:
        images = [draw_image(kind, FIRST_SEED + number) for number in range(EACH)]
        silent[kind] = _are_silent(captioner, images)
        unchecked += _are_silent(captioner, images, check_photo=False)
    figures = _silence(silent, unchecked, resamples)
    counts = {"pictures": len(unchecked)}
    photos = list(_readable(examples))
    if photos:
        checked = sum(map(count_words, _caption(captioner, photos)))
        words = sum(map(count_words, _caption(captioner, photos, check_photo=False)))
        figures["photos"] = {
            "words lost to the check": (words - checked) / max(1, words)
        }
        counts |= {"photos": len(photos), "words on photos without the check": words}
    notes = tuple(
        f"{kind}: {sum(values)} of {len(values)} without a confident word"
        for kind, values in silent.items()
        if not all(values)
    )
    return Result("not-photos", figures, counts, notes)


def _silence(
    silent: Mapping[str, list[bool]], unchecked: list[bool], resamples: int
) -> dict[str, dict[str, Figure]]:
    """The rows of drawn images.

    Which of each kind are without a word, and which of all are without the check.
    """
    learned_kinds = [kind for kind in KINDS if kind not in HELD_OUT]
    held_out = list(chain.from_iterable(silent[kind] for kind in HELD_OUT))
    learned = list(chain.from_iterable(silent[kind] for kind in learned_kinds))
    groups = {
        "kinds never learned from": held_out,
        "other kinds": learned,
        "all kinds": [*held_out, *learned],
        "all kinds, without the check": unchecked,
    }
    rows: dict[str, dict[str, Figure]] = {}
    for name, values in groups.items():
        (share,) = bootstrap_sums(
            np.array(values, dtype=np.float64), resamples=resamples
        )
        rows[name] = {"without a confident word": share}
    return rows


def _are_silent(
    captioner: RegionCaptioner,
    images: Sequence[Image.Image],
    *,
    check_photo: bool = True,
) -> list[bool]:
    """Which images get no confident word."""
    results = _caption(captioner, images, check_photo=check_photo)
    return [not has_confident_words(result) for result in results]


def has_confident_words(result: ImageResult) -> bool:
    """Whether anything is stated of an image as if it were certain."""
    caption = result.caption
    is_sure = caption is not None and bool(caption.text) and caption.sure
    return is_sure or any(region.text for region in result.regions)


def count_words(result: ImageResult) -> int:
    """Regions with words, and the photo's sentence where there is one."""
    spoken = sum(bool(region.text) for region in result.regions)
    return spoken + bool(result.caption is not None and result.caption.text)


def _readable(examples: Iterable[Example]) -> Iterator[Image.Image]:
    """The photos that can be opened."""
    for example in examples:
        try:
            yield open_image(example.photo)
        except ImageError:
            continue


def _caption(
    captioner: RegionCaptioner,
    images: Sequence[Image.Image],
    *,
    check_photo: bool = True,
) -> list[ImageResult]:
    """What a user sees of each image."""
    results: list[ImageResult] = []
    for first in range(0, len(images), PHOTOS_TOGETHER):
        chunk = images[first : first + PHOTOS_TOGETHER]
        results += captioner.caption_many(chunk, check_photo=check_photo)
    return results
