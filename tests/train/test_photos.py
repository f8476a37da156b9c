from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example
from regiontalk.train import photos
from regiontalk.train.photos import (
    AugmentConfig,
    PictureStore,
    augment,
    draw_changes,
    pad_boxes,
)
from regiontalk.train.sentences import network_boxes

SIZE = 40


def painted(boxes: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) that are 200 inside the first box of each and 0 outside."""
    pixels = torch.zeros(len(boxes), 3, SIZE, SIZE)
    for row, (x1, y1, x2, y2) in enumerate(boxes[:, 0].long().tolist()):
        pixels[row, :, y1:y2, x1:x2] = 200
    return pixels


def draws(
    monkeypatch: pytest.MonkeyPatch,
    side: tuple[float, float],
    start: tuple[float, float],
    flip: float,
) -> None:
    """The crop as it is wanted instead of by chance.

    Side and start as shares of the picture, and the coin.
    """
    answers = iter(
        [
            torch.tensor([side]),  # with min_crop = 0 the side is what was drawn
            torch.tensor(
                [
                    [
                        at / (1 - long) if long < 1 else 0.0
                        for at, long in zip(start, side, strict=True)
                    ]
                ]
            ),
            torch.tensor([flip]),
            torch.full((3, 1, 1, 1, 1), 0.5),  # no change of colour
        ]
    )
    monkeypatch.setattr(photos.torch, "rand", lambda *shape: next(answers))


@pytest.mark.parametrize(
    ("side", "start", "flip", "box", "moved", "kept"),
    [
        pytest.param(
            (1, 1), (0, 0), 1, (4, 8, 12, 24), (4, 8, 12, 24), True, id="nothing"
        ),
        # mirrored: x1 = 40 - 12, x2 = 40 - 4
        pytest.param(
            (1, 1), (0, 0), 0, (4, 8, 12, 24), (28, 8, 36, 24), True, id="mirror"
        ),
        # left half: x * 2; the height stays
        pytest.param(
            (0.5, 1), (0, 0), 1, (4, 8, 12, 24), (8, 8, 24, 24), True, id="left half"
        ),
        # crop from pixel 10 (a quarter) with side 20: x = (x - 10) * 2
        pytest.param(
            (0.5, 0.5),
            (0.25, 0.25),
            1,
            (14, 12, 20, 24),
            (8, 4, 20, 28),
            True,
            id="middle",
        ),
        # the same, mirrored: x1 = 40 - 20, x2 = 40 - 8
        pytest.param(
            (0.5, 0.5),
            (0.25, 0.25),
            0,
            (14, 12, 20, 24),
            (20, 4, 32, 28),
            True,
            id="middle, mirrored",
        ),
        # (4 - 10) * 2 = -12 is cut at 0; (20 - 10) * 2 = 20: 20 of 32 wide are left, 62 %
        pytest.param(
            (0.5, 0.5),
            (0.25, 0.25),
            1,
            (4, 12, 20, 24),
            (0, 4, 20, 28),
            True,
            id="cut, enough is left",
        ),
        # (14 - 10) * 2 = 8 of (14 - 2) * 2 = 24 wide: 33 % is under 40 %
        pytest.param(
            (0.5, 0.5),
            (0.25, 0.25),
            1,
            (2, 12, 14, 24),
            (0, 4, 8, 28),
            False,
            id="cut, too little is left",
        ),
        pytest.param(
            (0.5, 0.5), (0, 0), 1, (25, 25, 35, 35), (40, 40, 40, 40), False, id="gone"
        ),
        # 1 pixel wide becomes 2: under 4 pixels it is no place
        pytest.param(
            (0.5, 1), (0, 0), 1, (4, 8, 5, 24), (8, 8, 10, 24), False, id="too thin"
        ),
    ],
)
def test_boxes_move_with_the_picture(
    monkeypatch: pytest.MonkeyPatch,
    side: Any,
    start: Any,
    flip: float,
    box: Any,
    moved: Any,
    kept: bool,
) -> None:
    boxes = torch.tensor([[box]], dtype=torch.float32)
    draws(monkeypatch, side, start, flip)
    pixels, found, mask = augment(
        painted(boxes),
        boxes,
        torch.ones(1, 1, dtype=torch.bool),
        AugmentConfig(min_crop=1e-9, colour=0),
    )
    assert found[0, 0].tolist() == pytest.approx(moved, abs=1e-3)
    assert mask.tolist() == [[kept]]
    if kept:  # the paint is where the box says, but for a pixel of blur on its edge
        x1, y1, x2, y2 = (round(value) for value in moved)
        assert (pixels[0, :, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] > 199).all()
        outside = pixels[0].clone()
        outside[:, max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = 0
        assert (outside < 1).all()


def slow_boxes(
    box: Any, side: Any, start: Any, mirrored: bool, size: int
) -> tuple[list[float], bool]:
    """One box by plain arithmetic: move, mirror, cut, and decide."""
    x1, x2 = ((value / size - start[0]) / side[0] * size for value in (box[0], box[2]))
    y1, y2 = ((value / size - start[1]) / side[1] * size for value in (box[1], box[3]))
    if mirrored:
        x1, x2 = size - x2, size - x1
    cut = [min(max(value, 0.0), size) for value in (x1, y1, x2, y2)]
    left = (cut[2] - cut[0]) * (cut[3] - cut[1])
    wide, high = cut[2] - cut[0], cut[3] - cut[1]
    return cut, left >= 0.4 * (x2 - x1) * (y2 - y1) and min(wide, high) >= 4


@pytest.mark.parametrize("seed", range(3))
def test_augment_and_its_slow_twin(seed: int) -> None:
    batch, count = 6, 4
    torch.manual_seed(100 + seed)
    low = torch.rand(batch, count, 2) * 25
    boxes = torch.cat([low, low + 2 + torch.rand(batch, count, 2) * 13], -1)
    given = torch.rand(batch, count) < 0.7
    pixels = torch.rand(batch, 3, SIZE, SIZE) * 255
    torch.manual_seed(seed)
    side = 0.5 + 0.5 * torch.rand(batch, 2)
    start = torch.rand(batch, 2) * (1 - side)
    coin = torch.rand(batch)
    torch.manual_seed(seed)
    out, found, mask = augment(
        pixels, boxes, given, AugmentConfig(min_crop=0.5, flip=0.3, colour=0.2)
    )
    for row in range(batch):
        for place in range(count):
            box, kept = slow_boxes(
                boxes[row, place].tolist(),
                side[row].tolist(),
                start[row].tolist(),
                bool(coin[row] < 0.3),
                SIZE,
            )
            assert found[row, place].tolist() == pytest.approx(box, abs=1e-3)
            assert bool(mask[row, place]) == (kept and bool(given[row, place]))
    assert out.shape == pixels.shape and out.min() >= 0 and out.max() <= 255


@pytest.mark.parametrize(
    ("flip", "mirrored"),
    [
        pytest.param(0.0, [False] * 8, id="never"),
        pytest.param(1.0, [True] * 8, id="always"),
    ],
)
def test_share_of_mirrored_pictures(flip: float, mirrored: list[bool]) -> None:
    boxes = torch.tensor([[[2.0, 10, 12, 20]]]).repeat(8, 1, 1)
    config = AugmentConfig(min_crop=1.0, flip=flip, colour=0.0)
    out, found, _ = augment(
        painted(boxes), boxes, torch.ones(8, 1, dtype=torch.bool), config
    )
    assert (found[:, 0, 0] == 28).tolist() == mirrored
    whole = painted(boxes)
    torch.testing.assert_close(out, whole.flip(3) if flip else whole, atol=0.01, rtol=0)


def test_colour_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # draws 1, 0.5, 0 with most = 0.5: brightness x 1.5, contrast x 1, saturation x 0.5
    drawn = torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1, 1, 1)
    monkeypatch.setattr(
        photos.torch,
        "rand",
        lambda *shape: drawn if len(shape) == 5 else torch.ones(shape),
    )
    pixels = torch.tensor([30.0, 60.0, 90.0]).view(1, 3, 1, 1)
    # brighter: 45, 90, 135; its grey is 90; half way to grey: 67.5, 90, 112.5
    factors = draw_changes(1, AugmentConfig(min_crop=1.0, colour=0.5)).colour
    recoloured = photos._recolour(pixels, factors)
    assert recoloured.flatten().tolist() == pytest.approx([67.5, 90.0, 112.5])


@pytest.mark.parametrize(
    ("boxes", "shape", "mask"),
    [
        pytest.param(
            [2, 1], (2, 2, 4), [[True, True], [True, False]], id="two and one"
        ),
        pytest.param([0, 0], (2, 1, 4), [[False], [False]], id="none at all"),
        pytest.param([], (0, 1, 4), [], id="no picture"),
    ],
)
def test_pad_boxes(
    boxes: list[int], shape: tuple[int, ...], mask: list[list[bool]]
) -> None:
    rows = [np.full((count, 4), count, dtype=np.float32) for count in boxes]
    padded, found = pad_boxes(rows)
    assert tuple(padded.shape) == shape and found.tolist() == mask
    assert all((padded[row, :count] == count).all() for row, count in enumerate(boxes))


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize(
    ("stored", "annotated"),
    [
        pytest.param((60, 20), (60, 20), id="wide"),
        pytest.param((20, 60), (40, 120), id="tall, annotated at twice the size"),
        pytest.param((40, 40), (80, 40), id="stored squashed"),
    ],
)
def test_boxes_stand_where_the_pixels_do(
    tmp_path: Path, fit: str, stored: Any, annotated: Any
) -> None:
    """A box round a coloured square covers that square in the network picture.

    Letterboxed or squashed.
    """
    values = np.zeros((stored[1], stored[0], 3), dtype=np.uint8)
    values[5:15, 8:18] = 255
    Image.fromarray(values).save(tmp_path / "photo.png")
    scale = np.array([annotated[0] / stored[0], annotated[1] / stored[1]] * 2)
    box = (np.array([[8, 5, 18, 15]]) * scale).astype(np.float32)
    example = Example(tmp_path / "photo.png", ("x",), box, size_wh=annotated)
    preprocessing = Preprocessing(size=60, fit=fit)
    white = PictureStore([example], preprocessing).pixels[0].float().mean(0) > 200
    rows, columns = white.nonzero().unbind(1)
    (found,) = network_boxes(example, preprocessing).tolist()
    seen = [
        int(columns.min()),
        int(rows.min()),
        int(columns.max()) + 1,
        int(rows.max()) + 1,
    ]
    assert found == pytest.approx(seen, abs=1.5)


def test_store_reads_as_in_use_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    values = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    Image.fromarray(values).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    examples = [Example(tmp_path / name, ("x",)) for name in ("good.png", "bad.png")]
    preprocessing = Preprocessing(size=32)
    store = PictureStore(examples, preprocessing)
    assert len(store.broken) == 1 and "bad.png" in store.broken[0]
    assert (store.pixels[1] == 127).all()
    wanted = torch.from_numpy(preprocessing.to_pixels(Image.fromarray(values)))
    # stored as whole numbers: at most half a grey value away, 0.5 / 255 / 0.225
    torch.testing.assert_close(store.batch([0])[0], wanted, atol=0.0088, rtol=0)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        pytest.param({"min_crop": 0}, "min_crop", id="no crop at all"),
        pytest.param({"flip": 1.5}, "flip", id="more than all"),
        pytest.param({"zoom": 2}, "zoom", id="unknown key"),
    ],
)
def test_augment_config_refuses(values: dict[str, float], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        AugmentConfig(**values)


@pytest.mark.parametrize(
    ("degrees", "box", "moved"),
    [
        # a quarter turn would need 90; at 45 degrees a square of side 10 about the centre is
        # enclosed by side 10 sqrt 2
        pytest.param(
            45.0, (15, 15, 25, 25), (12.93, 12.93, 27.07, 27.07), id="about the centre"
        ),
        pytest.param(0.0, (4, 8, 12, 24), (4, 8, 12, 24), id="not turned"),
    ],
)
def test_turned_boxes_by_hand(
    monkeypatch: pytest.MonkeyPatch, degrees: float, box: Any, moved: Any
) -> None:
    # the largest angle, no crop
    monkeypatch.setattr(photos.torch, "rand", lambda *shape: torch.ones(shape))
    boxes = torch.tensor([[box]], dtype=torch.float32)
    _, found, mask = augment(
        painted(boxes),
        boxes,
        torch.ones(1, 1, dtype=torch.bool),
        AugmentConfig(min_crop=1, flip=0, colour=0, turn=degrees),
    )
    assert found[0, 0].tolist() == pytest.approx(moved, abs=0.01) and mask.all()


@pytest.mark.parametrize("seed", range(4))
def test_paint_stays_inside_turned_boxes(seed: int) -> None:
    torch.manual_seed(seed)
    boxes = torch.tensor([[[14.0, 12, 24, 28]]]).repeat(6, 1, 1)
    config = AugmentConfig(min_crop=0.7, colour=0, turn=30)
    pixels, found, mask = augment(
        painted(boxes), boxes, torch.ones(6, 1, dtype=torch.bool), config
    )
    for picture, (box,), (kept,) in zip(pixels, found, mask, strict=True):
        if not kept:
            continue
        inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
        x1, y1, x2, y2 = (int(value) for value in box.round())
        inside[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = True
        assert not (picture[0][~inside] > 30).any()
        # and the box is no larger than the paint needs
        rows, columns = (picture[0] > 100).nonzero().unbind(1)
        assert min(abs(int(columns.min()) - x1), abs(int(rows.min()) - y1)) <= 2


def test_what_is_off_draws_nothing() -> None:
    """The same seed gives the same pictures, whether the settings exist or not."""
    pixels, boxes = (
        torch.rand(3, 3, SIZE, SIZE) * 255,
        torch.tensor([[[4.0, 8, 12, 24]]]).repeat(3, 1, 1),
    )
    mask = torch.ones(3, 1, dtype=torch.bool)
    torch.manual_seed(0)
    side, start, coin = torch.rand(3, 2), torch.rand(3, 2), torch.rand(3)
    colours = torch.rand(3, 3, 1, 1, 1)
    after = torch.rand(1)
    torch.manual_seed(0)
    augment(pixels, boxes, mask, AugmentConfig(turn=0, hue=0))
    assert torch.equal(torch.rand(1), after) and all(
        len(drawn) == 3 for drawn in (side, start, coin, colours)
    )


@pytest.mark.parametrize(
    ("share", "turned"),
    [
        pytest.param(
            1 / 3, [90.0, 30.0, 60.0], id="a third: each channel becomes the next"
        ),
        pytest.param(0.0, [30.0, 60.0, 90.0], id="none"),
    ],
)
def test_hue_by_hand(
    monkeypatch: pytest.MonkeyPatch, share: float, turned: list[float]
) -> None:
    monkeypatch.setattr(photos.torch, "rand", lambda *shape: torch.ones(shape))
    pixels = torch.tensor([30.0, 60.0, 90.0]).view(1, 3, 1, 1)
    angle = torch.full((1, 1, 1), 2 * math.pi * share)
    if share:
        drawn = draw_changes(1, AugmentConfig(hue=share)).hue
        assert drawn is not None and torch.equal(drawn, angle)
    assert photos._turn_hue(pixels, angle).flatten().tolist() == pytest.approx(
        turned, abs=1e-3
    )
    grey = torch.full((1, 3, 2, 2), 77.0)
    torch.testing.assert_close(photos._turn_hue(grey, torch.full((1, 1, 1), 1.2)), grey)
