"""The check that tells photos from other pictures."""

from __future__ import annotations

import pytest
import torch

from regiontalk.train.photo_check import fit_photo_check


def test_two_clouds_are_told_apart() -> None:
    torch.manual_seed(0)
    photos, others = torch.randn(200, 5) + 3, torch.randn(40, 5)
    weight, bias = fit_photo_check(photos, others, ridge=0.01)
    assert ((photos @ weight + bias) > 0).float().mean() > 0.97
    assert ((others @ weight + bias) < 0).float().mean() > 0.97


def test_alike_clouds_are_a_coin() -> None:
    # both classes weigh the same, so 100 against 10 of the same vector is even
    weight, bias = fit_photo_check(torch.ones(100, 3), torch.ones(10, 3), ridge=0.1)
    assert float(torch.ones(3) @ weight + bias) == pytest.approx(0, abs=1e-4)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3 and 0"):
        fit_photo_check(torch.ones(3, 2), torch.ones(0, 2), ridge=0.1)
