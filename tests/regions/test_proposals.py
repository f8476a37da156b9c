"""What boxes teach the proposer, and what their absence does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou

from regiontalk.regions.proposals import anchor_boxes, pairwise_iou, proposal_loss

ANCHORS = anchor_boxes(64)
TRUTH = torch.tensor(
    [
        [[4.0, 6, 30, 40], [20, 20, 60, 62]],
        [[1.0, 1, 9, 9], [0, 0, 0, 0]],
        [[0.0, 0, 0, 0]] * 2,
    ]
)
# the third photo has no box
MASK = torch.tensor([[True, True], [True, False], [False, False]])


def predictions(photos: int) -> tuple[Tensor, Tensor]:
    """Logits (B, A) and boxes (B, A, 4) of a head that has learnt nothing."""
    source = torch.Generator().manual_seed(2)
    logits = torch.randn(photos, len(ANCHORS), generator=source)
    boxes = ANCHORS + torch.randn(photos, len(ANCHORS), 4, generator=source)
    return logits.requires_grad_(), boxes.requires_grad_()


def slow_loss(
    logits: Tensor, boxes: Tensor, truth: Tensor, mask: Tensor
) -> dict[str, float]:
    """The docstring of `proposal_loss`, anchor by anchor."""
    objectness, distance, positives = 0.0, 0.0, 0
    for photo in range(len(truth)):
        own = truth[photo][mask[photo]]
        if not len(own):
            continue
        overlap = pairwise_iou(ANCHORS, own)
        owners = {int(overlap[:, box].argmax()): box for box in range(len(own))}
        for anchor, row in enumerate(overlap):
            owner = owners.get(anchor, int(row.argmax()) if row.max() >= 0.5 else None)
            if owner is None and row.max() >= 0.4:
                continue
            wanted = 0.0
            if owner is not None:
                positives += 1
                pair = boxes[photo, anchor][None], own[owner][None]
                wanted = float(pairwise_iou(*pair))
                distance += 1 - float(generalized_box_iou(*pair))
            share = float(logits[photo, anchor].sigmoid())
            entropy = -(
                wanted * torch.tensor(share).log()
                + (1 - wanted) * torch.tensor(1 - share).log()
            )
            objectness += float(entropy) * (share - wanted) ** 2
    return {
        "objectness": objectness / max(1, positives),
        "box": distance / max(1, positives),
    }


@pytest.mark.parametrize(
    "photos",
    [
        pytest.param([0], id="one photo"),
        pytest.param([0, 1], id="padded"),
        pytest.param([0, 1, 2], id="one without a box"),
        pytest.param([2], id="none has a box"),
    ],
)
def test_against_plain_loops(photos: list[int]) -> None:
    logits, boxes = predictions(len(photos))
    found = proposal_loss(logits, boxes, ANCHORS, TRUTH[photos], MASK[photos])
    wanted = slow_loss(logits.detach(), boxes.detach(), TRUTH[photos], MASK[photos])
    assert {
        name: float(value.detach()) for name, value in found.items()
    } == pytest.approx(wanted, rel=1e-4)


def test_a_photo_in_which_nobody_marked_a_box_teaches_nothing() -> None:
    logits, boxes = predictions(3)
    losses = proposal_loss(logits, boxes, ANCHORS, TRUTH, MASK)
    total: Any = losses["objectness"] + losses["box"]
    total.backward()
    assert logits.grad is not None and boxes.grad is not None
    assert (
        (logits.grad[:2] != 0).any(1).all()
        and not logits.grad[2].any()
        and not boxes.grad[2].any()
    )
