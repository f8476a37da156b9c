"""Objects to sentence.

The descriptions by hand, the model against its parts, the folder, nothing found.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from regiontalk.model.region_model import RegionModel
from regiontalk.objects.captioner import (
    DESCRIBING,
    ObjectCaptioner,
    ObjectsConfig,
    ObjectSpeaker,
    describe,
)
from regiontalk.regions.detectors import Detection
from regiontalk.text.vocabulary import START, Vocabulary

PHOTO = Image.new("RGB", (90, 60))
VOCABULARY = Vocabulary(
    ["a", "dog", "cat", "runs", *DESCRIBING], [9, 4, 3, 2, *[1] * len(DESCRIBING)]
)


def thing(label: str, *box: float) -> Detection:
    x1, y1, x2, y2 = box
    return Detection(label, (x1, y1, x2, y2), 0.9)


@pytest.mark.parametrize(
    ("things", "words"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([thing("dog", 0, 20, 20, 40)], ["dog left"], id="one"),
        pytest.param(
            [thing("dog", 0, 0, 90, 60)], ["large dog middle"], id="the whole photo"
        ),
        pytest.param(
            [thing("dog", 80, 0, 85, 5)],
            ["small dog right top"],
            id="small, in a corner",
        ),
        pytest.param(
            [thing("T-shirt", 35, 45, 55, 60)],
            ["tshirt middle bottom"],
            id="the token rule",
        ),
        pytest.param(
            [
                thing("cat", 0, 20, 10, 40),
                thing("dog", 30, 20, 60, 40),
                thing("cat", 10, 20, 20, 40),
            ],
            ["dog middle", "two cat left"],
            id="grouped, the largest thing first",
        ),
        # areas 100 and 500: x = (5 * 100 + 77.5 * 500) / 600 = 65.4 of 90
        pytest.param(
            [thing("cat", 0, 20, 10, 30), thing("cat", 65, 20, 90, 40)],
            ["two cat right"],
            id="their centre",
        ),
        pytest.param([thing("cat", 0, 20, 20, 40)] * 6, ["six cat left"], id="six"),
        pytest.param(
            [thing("cat", 0, 20, 20, 40)] * 7,
            ["many cat left"],
            id="more than can be counted",
        ),
    ],
)
def test_describe(things: Sequence[Detection], words: list[str]) -> None:
    assert describe(things, PHOTO.size) == [line.split() for line in words]


def test_the_largest_are_kept() -> None:
    things = [thing(f"thing{side}", 0, 0, side, side) for side in range(10, 50, 5)]
    assert [words[1] for words in describe(things, PHOTO.size, 2)] == [
        "thing45",
        "thing40",
    ]


@pytest.fixture
def model() -> ObjectSpeaker:
    torch.manual_seed(0)
    generator = {
        "cell": "gru",
        "hidden": 8,
        "word_size": 6,
        "image": "state",
        "attention": 5,
    }
    config = ObjectsConfig.model_validate(
        {
            "name": "small",
            "word_size": 6,
            "size": 7,
            "generator": generator,
            "decoding": {"max_words": 4},
        }
    )
    speaker = ObjectSpeaker(config=config, vocabulary=VOCABULARY).eval()
    with torch.no_grad():
        speaker.reader.output.weight.mul_(5)
        speaker.generator.output.weight.mul_(5)
    return speaker


@torch.no_grad()
def test_a_photo_does_not_depend_on_its_neighbours(model: ObjectSpeaker) -> None:
    described = [[["two", "dog", "left"], ["cat", "right"]], [], [["dog", "middle"]]]
    condition, annotations, mask = model.read(described)
    assert mask.sum(1).tolist() == [7, 1, 3], (
        "words, and an END for each description or for none"
    )
    words = torch.tensor([[START, 4, 5]]).expand(3, -1)
    logits, _ = model.generator(condition, annotations, words, mask)
    for row, own in enumerate(described):
        alone = model.read([own])
        torch.testing.assert_close(alone[0][0], alone[1][0].mean(0))
        expected, _ = model.generator(*alone[:2], words[:1])
        torch.testing.assert_close(logits[row], expected[0])
    assert not torch.allclose(logits[0], logits[2], atol=1e-3)


class Finder:
    """Finds what it is told, whatever the photo."""

    def __init__(self, things: Sequence[Detection], reads: Any = "labels") -> None:
        self.things, self.reads = list(things), reads

    def detect(self, image: Image.Image) -> list[Detection]:
        return self.things


@pytest.mark.parametrize(
    "things",
    [[], [thing("dog", 0, 20, 20, 40), thing("zebra", 30, 20, 60, 40)]],
    ids=len,
)
def test_caption(model: ObjectSpeaker, things: list[Detection]) -> None:
    found = ObjectCaptioner(model=model, detector=Finder(things)).caption(
        PHOTO, beams=2
    )
    assert (
        found.caption is not None
        and found.caption.box == (0, 0, 90, 60)
        and found.model == "small"
    )
    assert [(region.text, region.box, region.score) for region in found.regions] == [
        (one.label, one.box, 0.9) for one in things
    ]
    again = ObjectCaptioner(model=model, detector=Finder(things)).caption_many(
        [PHOTO, PHOTO], beams=2
    )
    for one in again:
        assert (
            one.caption is not None
            and one.caption.text == found.caption.text
            and one.regions == found.regions
        )
        assert one.caption.confidence == pytest.approx(
            found.caption.confidence, abs=1e-5
        )


def test_no_photos(model: ObjectSpeaker) -> None:
    assert ObjectCaptioner(model=model, detector=Finder([])).caption_many([]) == []


def test_what_is_saved_is_what_is_loaded(model: ObjectSpeaker, tmp_path: Path) -> None:
    model.half().float()  # what fp16 holds
    model.save_pretrained(tmp_path / "model", "# card")
    loaded = ObjectCaptioner.from_pretrained(tmp_path / "model", detector=Finder([]))
    assert loaded.model.config == model.config
    described = [[["two", "dog", "left"]], []]
    assert loaded.write(described) == ObjectCaptioner(
        model=model, detector=Finder([])
    ).write(described)


def test_other_models_are_refused(
    model: ObjectSpeaker, tmp_path: Path, tiny_folder: Path
) -> None:
    model.save_pretrained(tmp_path / "model", "# card")
    with pytest.raises(
        ValueError, match=r"kind: Input should be 'regiontalk', got 'objects'$"
    ):
        RegionModel.from_folder(tmp_path / "model")
    with pytest.raises(
        ValueError, match=r"kind: Input should be 'objects', got 'regiontalk'$"
    ):
        ObjectSpeaker.from_folder(tiny_folder)
    with pytest.raises(
        ValueError,
        match="expected one that gives labels, as 'small' was taught to read, got one that",
    ):
        ObjectCaptioner.from_pretrained(
            tmp_path / "model", detector=Finder([], "captions")
        )


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ({"attention": 0}, "objects and generator.attention = 0"),
        ({"attention": 4, "places": True}, "regions or places"),
    ],
    ids=["no attention", "places"],
)
def test_parts_that_cannot_meet(generator: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"cannot meet: .*{message}"):
        ObjectsConfig.model_validate({"generator": generator})
