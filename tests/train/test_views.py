"""Words on boxes in augmented views: the boxes move with their picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from regiontalk.model.region_model import RegionModel
from regiontalk.train.features import FrozenFeatures, freeze_features
from regiontalk.train.generate import GenerateTerms
from regiontalk.train.photos import AugmentConfig, jitter_boxes
from regiontalk.train.region_texts import BoxText, in_views, region_texts
from regiontalk.train.run import Run

from .conftest import Start


def box_of(values: list[float]) -> torch.Tensor:
    return torch.tensor(values)


def test_texts_follow_their_boxes_and_lost_ones_are_left_out() -> None:
    boxes = np.array(
        [
            [[1, 1, 5, 5], [2, 2, 9, 9]],  # two photos as they are
            [[3, 3, 7, 7], [0, 0, 0, 0]],
            [[0, 0, 4, 4], [0, 0, 0, 0]],  # their views; one box of the first is lost
            [[5, 3, 9, 7], [0, 0, 0, 0]],
        ],
        dtype=np.float32,
    )
    features = FrozenFeatures(
        2, boxes, np.zeros((4, 2, 3)), np.ones((4, 2)), taught_boxes=boxes
    )
    shared = box_of([1, 1, 5, 5])
    texts = [
        [
            BoxText(shared, [5]),
            BoxText(shared, [6]),
            BoxText(box_of([2, 2, 9, 9]), [7]),
        ],
        [BoxText(box_of([3, 3, 7, 7]), [8])],
    ]
    rows = in_views(texts, features)
    assert [[text.token_ids for text in row] for row in rows] == [
        [[5], [6], [7]],
        [[8]],
        [[5], [6]],
        [[8]],
    ]
    first, second = rows[2]
    assert first.box_xyxy is second.box_xyxy  # texts of one box are read once
    assert first.box_xyxy.tolist() == [0, 0, 4, 4]
    assert rows[3][0].box_xyxy.tolist() == [5, 3, 9, 7]


def boxed(tiny: dict[str, Any], **augment: float) -> dict[str, Any]:
    """A recipe whose generator reads region vectors and learns phrases on boxes, in three views."""
    return tiny | {
        "generator": {**tiny["generator"], "attention": 0},
        "features": {"regions": 4, "views": 3},
        "augment": augment,
        "generate": {**tiny["generate"], "pairs": 0, "phrases": 3},
    }


def frozen(run: Run) -> tuple[RegionModel, FrozenFeatures]:
    model = run.build(None, None).eval()
    return model, run.features(model, "generate")


def test_vectors_of_moved_boxes_are_those_of_their_places(
    start_run: Start, tiny: dict[str, Any]
) -> None:
    """A mirrored picture, uncropped: every box is where its mirror image is."""
    values = boxed(tiny, min_crop=1.0, flip=1.0, colour=0.0)
    run = start_run(values)
    model, features = frozen(run)
    size = model.config.extractor.size
    assert features.taught_boxes is not None and features.taught is not None
    photos = features.photos
    drawn, moved = features.taught_boxes[:photos], features.taught_boxes[photos:]
    # the first view's last block may begin among the photos as they are
    row = 2 * photos - 1
    mirrored = np.where(
        drawn.any(-1, keepdims=True),
        np.array([size, 0, size, 0]) + drawn[..., [2, 1, 0, 3]] * [-1, 1, -1, 1],
        0,
    )
    np.testing.assert_allclose(moved[row], mirrored[row % photos], atol=1e-3)
    texts, _ = region_texts(run.examples, model, phrases=True, names=False)
    in_row = in_views(texts, features)[photos + row]
    vectors = features.find_vectors([photos + row], in_row[0].box_xyxy[None, None])
    assert vectors.abs().sum() > 0


def test_a_run_learns_from_all_views(start_run: Start, tiny: dict[str, Any]) -> None:
    run = start_run(boxed(tiny, min_crop=0.7, jitter=0.1))
    model, features = frozen(run)
    config = run.recipe.generate
    assert config is not None
    terms = GenerateTerms.of_examples(model, config, run.examples, features)
    assert terms.views == 3
    rows = {
        row // features.photos for step in range(9) for row in terms._choose(step).rows
    }
    assert rows == {0, 1, 2}
    assert all("phrases" in terms(step) for step in range(9))


def test_jitter_by_hand() -> None:
    torch.manual_seed(0)
    boxes = torch.tensor([[[10.0, 20, 30, 60], [0, 0, 50, 50]]]).expand(200, 2, 4)
    moved = jitter_boxes(boxes, 0.1, 64)
    shift = (moved - boxes).abs().amax(0)
    assert (shift[0] <= torch.tensor([2.0, 4, 2, 4]) + 1e-4).all()
    assert (shift[0] > torch.tensor([1.5, 3, 1.5, 3])).all()
    assert moved.min() >= 0  # inside the picture
    assert jitter_boxes(boxes, 0.0, 64).equal(boxes)


def test_other_views_are_another_cache(start_run: Start, tiny: dict[str, Any]) -> None:
    run = start_run(boxed(tiny))
    model, path = run.build(None, None).eval(), run.out / "features"
    taught = run._taught_boxes(model, run.examples)
    computed: list[int] = []

    def freeze(**augment: float) -> None:
        def store() -> Any:
            computed.append(1)
            return run.store(model)

        freeze_features(
            model.extractor.eval(),
            run.examples,
            store,
            path,
            regions=4,
            views=2,
            taught=taught,
            changes=AugmentConfig(**augment),
        )

    freeze()
    first = len(computed)
    freeze()
    assert len(computed) == first
    freeze(jitter=0.1)
    assert len(computed) > first
