"""Pictures that are no photos."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.datasets.not_photos import HELD_OUT, KINDS, draw_image


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_same_picture_and_another_draws_another(kind: str) -> None:
    first, again, other = (np.asarray(draw_image(kind, seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_some_kinds_are_held_out() -> None:
    assert set(HELD_OUT) < set(KINDS) and len(HELD_OUT) >= 4
    with pytest.raises(ValueError, match="got 'photo'"):
        draw_image("photo", 0)
