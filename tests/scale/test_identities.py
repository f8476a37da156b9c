"""A set of photos in sorted arrays against Python's own set."""

from __future__ import annotations

import random

import numpy as np
import pytest

from regiontalk.scale.identities import (
    SIZE,
    Identities,
    digests,
    identity,
    is_in,
    is_new,
)


def test_an_identity_is_key_and_content() -> None:
    assert len(identity("a.jpg", "00")) == SIZE
    assert identity("a.jpg", "00") != identity("b.jpg", "00")
    assert identity("a.jpg", "00") != identity("a.jpg", "01")
    assert identity("a", "bc") != identity("ab", "c")


@pytest.mark.parametrize("seed", range(4))
def test_set_against_pythons_own(seed: int) -> None:
    chance = random.Random(seed)
    known, twin = Identities(), set()
    for _ in range(40):
        values = [
            identity(str(chance.randrange(300)), "") for _ in range(chance.randrange(9))
        ]
        expected, earlier = [], set(twin)
        for value in values:
            expected.append(value not in earlier)
            earlier.add(value)
        new = is_new(digests(values), known)
        assert new.tolist() == expected
        known.add(digests(values)[new])
        twin |= set(values)
        assert known.contains(digests(values)).all()
    assert len(known) == len(twin)
    assert known.to_array().tobytes() == digests(sorted(twin)).tobytes()


def test_bytes_of_zero_at_the_end_count() -> None:
    short, long = b"a" + bytes(SIZE - 1), b"a\1" + bytes(SIZE - 2)
    assert is_in(digests([short, long]), digests([long])).tolist() == [False, True]
    assert digests([short]).tobytes() == short


def test_nothing() -> None:
    nothing = digests([])
    assert is_in(nothing, nothing).tolist() == []
    assert is_in(digests([b"x" * SIZE]), nothing).tolist() == [False]
    assert Identities().to_array().shape == (0,)
    assert is_new(nothing, Identities()).dtype == np.bool_
