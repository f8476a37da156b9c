"""Near-duplicates: copies are found, different photos are not, and no group is parted."""

from __future__ import annotations

import numpy as np
from PIL import Image

from regiontalk.datasets.duplicates import held_out, near_duplicates, sketch
from regiontalk.datasets.screens import draw_screen


def noise(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((120, 90), Image.Resampling.BICUBIC)


def test_copies_share_a_group_and_others_do_not() -> None:
    image = noise(1)
    smaller = image.resize((90, 70))
    brighter = Image.eval(image, lambda value: min(255, value + 4))
    pictures = [image, noise(2), smaller, noise(3), brighter]
    groups = near_duplicates(np.stack([sketch(one) for one in pictures]))
    assert groups.tolist() == [0, 1, 0, 3, 0]


def test_screens_are_not_taken_for_copies() -> None:
    sketches = np.stack([sketch(draw_screen(seed).image) for seed in range(40)])
    assert len(set(near_duplicates(sketches).tolist())) == 40


def test_groups_stay_whole() -> None:
    groups = [0, 1, 0, 3, 4, 0, 6, 6, 8, 9]
    for seed in range(20):
        rows = held_out(groups, 3, seed)
        assert 1 <= len(rows) <= 3 and rows == sorted(rows)
        inside = {groups[row] for row in rows}
        assert all(
            (group in inside) == (row in rows) for row, group in enumerate(groups)
        )
