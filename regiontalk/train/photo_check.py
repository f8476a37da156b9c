"""Fitting the check that tells photos from other pictures.

Logistic regression on whole-photo vectors. Photos of the training split stand against
pictures drawn by code (`datasets.not_photos`). Two classes weigh the same whatever
their numbers; a ridge keeps 1,400 weights in bounds.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from regiontalk.datasets.not_photos import HELD_OUT, KINDS, draw_image
from regiontalk.model.region_model import RegionModel
from regiontalk.train.loop import Log

BATCH = 16


class PhotoCheckConfig(BaseModel):
    """What the check is fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photos: int = Field(3000, ge=1, description="training photos")
    pictures: int = Field(
        80, ge=1, description="drawn pictures of each kind that is not held out"
    )
    ridge: float = Field(
        0.02,
        gt=0,
        description="of the weights on standardised features, for a mean loss",
    )
    seed: int = Field(0, description="of the first drawn picture")


def fit_photo_check(
    photo_vectors: Tensor, other_vectors: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Weights and bias that tell photos (M, F) from other pictures (K, F).

    Args:
        photo_vectors: whole-photo vectors of photos.
        other_vectors: of other pictures.
        ridge: see `PhotoCheckConfig`.

    Returns:
        weight (F,) and bias (), for features as they are; sigmoid(weight . f + bias) is the
        probability of a photo where both are equally likely beforehand.

    Raises:
        ValueError: one of the two has no row.
    """
    if not len(photo_vectors) or not len(other_vectors):
        raise ValueError(
            "photo check: expected vectors of photos and of other pictures, got "
            f"{len(photo_vectors)} and {len(other_vectors)}"
        )
    features = torch.cat([photo_vectors, other_vectors]).double()
    center, spread = features.mean(0), features.std(0).clamp(min=1e-6)
    is_photo = torch.cat(
        [torch.ones(len(photo_vectors)), torch.zeros(len(other_vectors))]
    ).double()
    class_sizes = torch.where(
        is_photo > 0, float(len(photo_vectors)), float(len(other_vectors))
    )
    row_weights = len(features) / 2 / class_sizes
    weight, bias = _fit_logistic(
        (features - center) / spread, is_photo, row_weights, ridge
    )
    plain_weight = weight / spread
    return plain_weight.float(), (bias - (plain_weight * center).sum()).float()


def _fit_logistic(
    features: Tensor, targets: Tensor, row_weights: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Weight (F,) and bias () of a ridged logistic regression, by L-BFGS.

    Args:
        features: (R, F) float64, standardised.
        targets: (R,) 0 or 1.
        row_weights: (R,).
        ridge: of the weights, for a mean loss.
    """
    weight = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=200, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimizer.zero_grad()
        logits = features @ weight + bias
        entropy = functional.binary_cross_entropy_with_logits(
            logits, targets, row_weights
        )
        total = entropy + ridge * weight.square().sum() / 2
        torch.autograd.backward([total])
        return float(total.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


@torch.inference_mode()
def drawn_vectors(model: RegionModel, pictures: int, seed: int) -> Tensor:
    """Whole-photo vectors (K, F) of drawn pictures of the kinds that are not held out."""
    names = [
        (kind, seed + number)
        for kind in KINDS
        if kind not in HELD_OUT
        for number in range(pictures)
    ]
    device = next(model.parameters()).device
    rows = []
    for first in range(0, len(names), BATCH):
        images = [
            draw_image(kind, number) for kind, number in names[first : first + BATCH]
        ]
        arrays = np.stack([model.preprocessing.to_pixels(image) for image in images])
        pixels = (
            torch.from_numpy(arrays)
            .to(device)
            .contiguous(memory_format=torch.channels_last)
        )
        # as the photos' vectors were made
        with torch.autocast(device.type, dtype=torch.bfloat16):
            maps = model.extractor(pixels)
        rows.append(model.photo_vectors(maps).float().cpu())
    return torch.cat(rows)


def train_photo_check(
    model: RegionModel, photo_vectors: Tensor, config: PhotoCheckConfig, log: Log
) -> None:
    """Fit the model's check in place.

    Args:
        model: with a check, in evaluation mode.
        photo_vectors: (M, F) of training photos.
        config: how.
        log: takes one line.

    Raises:
        ValueError: the model has no check.
    """
    if model.photo_check is None:
        raise ValueError(
            "photo check: expected a model that has one, got none; its config says so"
        )
    others = drawn_vectors(model, config.pictures, config.seed)
    weight, bias = fit_photo_check(photo_vectors, others, config.ridge)
    with torch.no_grad():
        model.photo_check.weight.copy_(weight[None])
        model.photo_check.bias.copy_(bias[None])
    photo_accuracy = float(((photo_vectors @ weight + bias) > 0).float().mean())
    other_accuracy = float(((others @ weight + bias) < 0).float().mean())
    log(
        f"photo check: {len(photo_vectors)} photos against {len(others)} drawn pictures, "
        f"{photo_accuracy:.1%} and {other_accuracy:.1%} told right on these"
    )
