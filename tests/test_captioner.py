"""The facade with a real small model.

Records in pixels of the original, one photo or many, folded or not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regiontalk.captioner import ALIGN_REGIONS, LOCATE_REGIONS, RegionCaptioner
from regiontalk.images.open import open_photo
from regiontalk.model.region_model import RegionModel
from regiontalk.records import ImageResult
from regiontalk.regions.dedupe import merged
from regiontalk.regions.sources import Grid, PrecomputedRegions
from regiontalk.runtime.torch_engine import TorchPredictor

SIZES = [(200, 100), (90, 120), (64, 64)]


def picture(size_wh: tuple[int, int], seed: int = 0) -> Image.Image:
    """Soft coloured clouds."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size_wh, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def captioner(tiny_folder: Path) -> RegionCaptioner:
    return RegionCaptioner.from_pretrained(tiny_folder)


def same(first: ImageResult, second: ImageResult) -> None:
    """All but the photo's name, numbers up to rounding."""
    assert (first.size_wh, first.model) == (second.size_wh, second.model)
    ours, theirs = ([result.caption, *result.regions] for result in (first, second))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None and other is not None
        assert one.text == other.text
        np.testing.assert_allclose(one.box, other.box, atol=1e-2)
        np.testing.assert_allclose(
            (one.confidence, one.score), (other.confidence, other.score), atol=1e-4
        )


@pytest.mark.parametrize("size", SIZES)
def test_caption(captioner: RegionCaptioner, size: tuple[int, int]) -> None:
    result = captioner.caption(picture(size), regions=4, threshold=0.0, merge=False)
    assert result.size_wh == size and result.model == "tiny" and result.matches == ()
    assert (
        result.caption is not None
        and result.caption.box == (0, 0, *size)
        and result.caption.score == 1
    )
    assert result.caption.text is not None and len(result.regions) == 4
    scores = [region.score for region in result.regions]
    assert scores == sorted(scores, reverse=True) and all(
        region.text for region in result.regions
    )
    assert ImageResult.from_dict(result.to_dict()).to_dict() == result.to_dict()


def test_photos_differ(captioner: RegionCaptioner) -> None:
    """Otherwise the comparisons of this file would say nothing."""
    first, second = captioner.caption_many(
        [picture((64, 64), seed) for seed in (0, 1)], threshold=0.0
    )
    assert first.regions != second.regions
    assert (
        len({region.text for result in (first, second) for region in result.regions})
        > 1
    )


def test_boxes_are_the_proposals_in_original_pixels(
    captioner: RegionCaptioner, tmp_path: Path
) -> None:
    """A JPEG that is decoded at 1/8: x * 1600 / 64 and y * 1200 / 64."""
    picture((1600, 1200)).save(tmp_path / "large.jpg", quality=95)
    result = captioner.caption(tmp_path / "large.jpg", regions=5, merge=False)
    photo = open_photo(tmp_path / "large.jpg", at_least=64)
    assert photo.image.size == (200, 150) and result.size_wh == (1600, 1200)
    boxes, scores = captioner.predictor.propose(captioner.encode([photo]), 5)
    for region, (x1, y1, x2, y2), score in zip(
        result.regions, boxes[0, 1:].tolist(), scores[0, 1:], strict=True
    ):
        np.testing.assert_allclose(
            region.box, (x1 * 25, y1 * 18.75, x2 * 25, y2 * 18.75), atol=0.05
        )
        assert region.score == pytest.approx(float(score))


def test_exif_turn(captioner: RegionCaptioner, tmp_path: Path) -> None:
    """Held upright, stored lying: everything is said of the upright photo."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture((120, 80)).save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as stored:
        upright = Image.fromarray(np.asarray(stored)).transpose(
            Image.Transpose.ROTATE_270
        )
    result = captioner.caption(tmp_path / "turned.jpg", regions=3, threshold=0.0)
    assert result.size_wh == (80, 120)
    same(result, captioner.caption(upright, regions=3, threshold=0.0))
    assert captioner.describe(tmp_path / "turned.jpg", [[0, 90, 80, 120]]).regions[
        0
    ].box == (
        0,
        90,
        80,
        120,
    )


BOXES = [
    [5, 5, 60, 70],
    [0, 0, 200, 100],
    [150.5, 20.25, 199.75, 99.5],
    [5, 5, 60, 70],
    [10, 10, 10.25, 10.5],
]


@pytest.mark.parametrize("count", range(len(BOXES) + 1))
def test_describe_gives_exactly_the_boxes_in_order(
    captioner: RegionCaptioner, count: int
) -> None:
    result = captioner.describe(picture((200, 100)), BOXES[:count], threshold=0.0)
    assert [list(region.box) for region in result.regions] == BOXES[:count]
    assert all(region.text and region.score == 1 for region in result.regions)
    assert result.caption is not None and result.caption.box == (0, 0, 200, 100)


def test_describe_says_what_caption_says(captioner: RegionCaptioner) -> None:
    found = captioner.caption(picture((200, 100)), regions=6, threshold=0.0)
    told = captioner.describe(
        picture((200, 100)), [region.box for region in found.regions], threshold=0.0
    )
    assert [region.text for region in told.regions] == [
        region.text for region in found.regions
    ]
    same_confidence = [region.confidence for region in told.regions]
    np.testing.assert_allclose(
        same_confidence, [region.confidence for region in found.regions], atol=1e-3
    )
    assert (
        told.caption is not None
        and found.caption is not None
        and told.caption.text == found.caption.text
    )


def test_a_batch_is_its_photos(captioner: RegionCaptioner) -> None:
    photos = [picture(size, seed) for seed, size in enumerate(SIZES)]
    together = captioner.caption_many(photos, regions=5, threshold=0.0)
    for photo, result in zip(photos, together, strict=True):
        same(result, captioner.caption(photo, regions=5, threshold=0.0))
    assert captioner.caption_many([]) == []


@pytest.mark.parametrize(("photos", "boxes"), [(1, 256), (2, 1), (8, 7)])
def test_how_many_are_computed_together_changes_nothing(
    captioner: RegionCaptioner, monkeypatch: pytest.MonkeyPatch, photos: int, boxes: int
) -> None:
    given = [picture(size, seed) for seed, size in enumerate(SIZES)]
    whole = captioner.caption_many(given, regions=5, threshold=0.0)
    monkeypatch.setattr("regiontalk.captioner.PHOTOS_TOGETHER", photos)
    monkeypatch.setattr("regiontalk.captioner.BOXES_TOGETHER", boxes)
    for one, other in zip(
        captioner.caption_many(given, regions=5, threshold=0.0), whole, strict=True
    ):
        same(one, other)


def decoded(
    captioner: RegionCaptioner, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, int]]:
    """Photos and boxes of each batch that is decoded from now on."""
    batches: list[tuple[int, int]] = []
    start = captioner.predictor.start

    def spy(features: Any, boxes_xyxy: Any, *more: Any, **settings: Any) -> Any:
        batches.append((boxes_xyxy.shape[0], boxes_xyxy.shape[1]))
        return start(features, boxes_xyxy, *more, **settings)

    monkeypatch.setattr(captioner.predictor, "start", spy)
    return batches


def test_a_fine_grid_decodes_in_parts(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = RegionCaptioner.from_pretrained(
        tiny_folder, source=Grid(rows=20, columns=20)
    )
    batches = decoded(captioner, monkeypatch)
    results = captioner.caption_many([picture((64, 64))] * 9, regions=400, beams=1)
    assert [len(result.regions) for result in results] == [400] * 9
    assert max(photos * boxes for photos, boxes in batches) <= 256
    assert {photos for photos, _ in batches} == {8, 1} and sum(
        photos * boxes for photos, boxes in batches
    ) == 9 * 401


def test_empty_places_are_not_decoded(
    captioner: RegionCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = decoded(captioner, monkeypatch)
    found = captioner.caption(picture((64, 64)), regions=200, merge=False)
    assert batches == [(1, 1), (1, len(found.regions))] and len(found.regions) < 200


@pytest.mark.parametrize(
    ("threshold", "silent"),
    [
        pytest.param(1.0, True, id="all silent"),
        pytest.param(0.0, False, id="all speak"),
    ],
)
def test_threshold(captioner: RegionCaptioner, threshold: float, silent: bool) -> None:
    result = captioner.caption(
        picture((64, 64)), regions=4, threshold=threshold, merge=False
    )
    assert [region.text is None for region in result.regions] == [silent] * 4
    assert result.caption is not None and (result.caption.text is None) == silent


def test_the_photo_speaks_unless_a_threshold_is_given(
    make_tiny: Callable[..., RegionModel],
) -> None:
    model = make_tiny()
    model.config = model.config.model_copy(
        update={"decoding": model.config.decoding.model_copy(update={"threshold": 1.0})}
    )
    captioner, photo = (
        RegionCaptioner(predictor=TorchPredictor(model)),
        picture((64, 64)),
    )
    usual = captioner.caption(photo, regions=4)
    assert (
        usual.caption is not None
        and usual.caption.text
        and not any(region.text for region in usual.regions)
    )
    just, over = usual.caption.confidence, usual.caption.confidence + 1e-3
    spoken = [
        captioner.caption(photo, regions=0, threshold=least).caption
        for least in (just - 1e-6, over)
    ]
    assert [one is not None and one.text is not None for one in spoken] == [True, False]


def test_threshold_between(captioner: RegionCaptioner) -> None:
    spoken = captioner.caption(
        picture((64, 64)), regions=6, threshold=0.0, merge=False
    ).regions
    middle = sorted(region.confidence for region in spoken)[3]
    texts = [region.text if region.confidence >= middle else None for region in spoken]
    found = captioner.caption(
        picture((64, 64)), regions=6, threshold=middle, merge=False
    ).regions
    assert [region.text for region in found] == texts


@pytest.mark.parametrize("regions", [0, 1, 300])
def test_number_of_regions(captioner: RegionCaptioner, regions: int) -> None:
    """More than there are gives what there is, each once."""
    result = captioner.caption(picture((64, 64)), regions=regions, merge=False)
    assert (
        len(result.regions) == regions
        if regions < 300
        else 5 < len(result.regions) < 300
    )
    assert len({region.box for region in result.regions}) == len(result.regions)


def test_one_thing_is_said_once(captioner: RegionCaptioner) -> None:
    """What `merged` leaves of all boxes; boxes that the user gave all stay."""
    photo = picture((200, 100))
    every = captioner.caption(photo, regions=12, threshold=0.0, merge=False)
    found = captioner.caption(photo, regions=12, threshold=0.0)
    assert list(found.regions) == merged(every.regions) and 0 < len(
        found.regions
    ) < len(every.regions)
    boxes = [region.box for region in every.regions]
    assert len(captioner.describe(photo, boxes, threshold=0.0).regions) == 12
    silent = captioner.caption(photo, regions=12, threshold=1.0).regions
    assert [region.box for region in silent] == boxes, (
        "a box without words names nothing"
    )


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_locate(captioner: RegionCaptioner, k: int) -> None:
    """Against the definition: the sum over words of v . s on one region.

    Best first, no box twice.
    """
    photo = picture((200, 100))
    matches = captioner.locate(photo, "A red dog!", k=k).matches
    model = captioner.predictor
    maps = captioner.encode([open_photo(photo)])
    boxes, _ = model.propose(maps, LOCATE_REGIONS)
    with torch.no_grad():
        vectors = model.embed_regions(model.region_features(maps, boxes))[0]
        words = model.encode_text([model.vocabulary.encode("a red dog")])[0][0]
    scores = {
        tuple((box * [200, 100, 200, 100] / 64).round(2)): sum(
            float(s @ v) for s in words
        )
        for box, v in zip(boxes[0], vectors, strict=True)
    }
    assert len(matches) == min(k, len(scores)) and {
        match.phrase for match in matches
    } == {"A red dog!"}
    np.testing.assert_allclose(
        [match.score for match in matches], sorted(scores.values())[::-1][:k], atol=1e-5
    )
    assert len({match.box for match in matches}) == len(matches)


@pytest.mark.parametrize("beta", [0.0, 0.01, 100.0])
def test_align(captioner: RegionCaptioner, beta: float) -> None:
    """Each known word on its best region (eq. 8).

    A huge beta puts all on the region with the best sum.
    """
    photo = picture((200, 100))
    matches = captioner.align(photo, "The zebra sits, on a boat", beta=beta).matches
    assert [match.phrase for match in matches] == ["the", "sits", "on", "a", "boat"], (
        "no box for what it does not know"
    )
    model = captioner.predictor
    maps = captioner.encode([open_photo(photo)])
    boxes, _ = model.propose(maps, ALIGN_REGIONS)
    with torch.no_grad():
        vectors = model.embed_regions(model.region_features(maps, boxes))[0]
        words = model.encode_text(
            [model.vocabulary.encode("the zebra sits on a boat")]
        )[0][0][[0, 2, 3, 4, 5]]
    products = [[float(s @ v) for v in vectors] for s in words]
    places = boxes[0] * [200, 100, 200, 100] / 64
    labels = [
        int(
            np.argmin([np.abs(np.subtract(match.box, place)).max() for place in places])
        )
        for match in matches
    ]
    np.testing.assert_allclose(
        [match.score for match in matches],
        [row[label] for row, label in zip(products, labels, strict=True)],
        atol=1e-5,
    )
    if beta == 0:
        assert labels == [int(np.argmax(row)) for row in products]
    if beta == 100:
        assert labels == [int(np.argmax(np.sum(products, axis=0)))] * 5


def test_align_and_locate_leave_no_caption(captioner: RegionCaptioner) -> None:
    for result in (
        captioner.align(picture((64, 64)), "a dog"),
        captioner.locate(picture((64, 64)), "a dog"),
    ):
        assert result.caption is None and result.regions == () and result.matches


@pytest.mark.parametrize(
    ("regions", "kept"),
    [
        pytest.param(6, 6, id="all"),
        pytest.param(9, 6, id="no more"),
        pytest.param(2, 2, id="two"),
    ],
)
def test_grid_source(tiny_folder: Path, regions: int, kept: int) -> None:
    captioner = RegionCaptioner.from_pretrained(
        tiny_folder, source=Grid(rows=2, columns=3)
    )
    cells = [(x, y, x + 30, y + 40) for y in (0, 40) for x in (0, 30, 60)]
    result = captioner.caption(picture((90, 80)), regions=regions, threshold=0.0)
    np.testing.assert_allclose(
        [region.box for region in result.regions], cells[:kept], atol=1e-3
    )
    assert all(region.text and region.score == 0.5 for region in result.regions)


def test_a_source_sees_the_photo_as_it_is(tiny_folder: Path, tmp_path: Path) -> None:
    """A large JPEG, which would be decoded small.

    Given boxes and the file's name refer to the original.
    """
    picture((1600, 1200)).save(tmp_path / "large.jpg")
    box = [800, 600, 1600, 1200]
    np.savez(
        tmp_path / "large.npz",
        features=np.zeros((1, 3), np.float32),
        boxes=np.array([box], np.float32),
    )
    for source in (PrecomputedRegions(tmp_path),):
        captioner = RegionCaptioner.from_pretrained(tiny_folder, source=source)
        result = captioner.caption(tmp_path / "large.jpg", regions=3)
        assert [list(region.box) for region in result.regions] == [box]


@pytest.mark.parametrize(
    "size",
    [pytest.param((300, 20), id="a strip"), pytest.param((1, 1), id="one pixel")],
)
@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_odd_photos(
    make_tiny: Callable[..., RegionModel], fit: str, size: tuple[int, int]
) -> None:
    """Proposals in the padding and slivers under a pixel show nothing and are passed over.

    All records hold.
    """
    captioner = RegionCaptioner(predictor=TorchPredictor(make_tiny(fit=fit)))
    photo = picture(size)
    result = captioner.caption(photo, regions=30)
    assert result.caption is not None and result.caption.box == (0, 0, *size)
    for found in (
        result,
        captioner.align(photo, "a dog runs"),
        captioner.locate(photo, "a dog", k=99),
    ):
        places = [
            *(item.box for item in found.regions),
            *(item.box for item in found.matches),
        ]
        boxes = np.array(places).reshape(-1, 4)
        assert (boxes[:, 2:] - boxes[:, :2] > 0.999).all()
        assert ImageResult.from_dict(found.to_dict()).to_dict() == found.to_dict()


@pytest.mark.parametrize(
    ("extractor", "left"),
    [
        pytest.param({}, 0, id="TensorFlow's padding"),
        pytest.param(
            {"backbone": "test_resnet", "same_padding": False},
            1,
            id="a stem whose norm follows no convolution",
        ),
        pytest.param(
            {"neck": False, "features": 304},
            1,
            id="no neck, whose norm follows no convolution",
        ),
    ],
)
def test_folded_equals_unfolded(
    make_tiny: Callable[..., RegionModel],
    extractor: dict[str, Any],
    left: int,
) -> None:
    """With batch norms whose statistics and weights are not those of a first day."""
    plain, folded = make_tiny(**extractor), make_tiny(**extractor).folded()
    norms = [
        sum("BatchNorm" in type(part).__name__ for part in model.modules())
        for model in (plain, folded)
    ]
    assert folded.config.folded and norms[0] > 5 and norms[1] == left
    assert sum(value.numel() for value in folded.parameters()) < sum(
        value.numel() for value in plain.parameters()
    )
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for ours, theirs in zip(
            folded.extractor(pixels), plain.extractor(pixels), strict=True
        ):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    first, second = (
        RegionCaptioner(predictor=TorchPredictor(plain)),
        RegionCaptioner(predictor=TorchPredictor(folded)),
    )
    same(
        first.caption(picture((90, 80)), regions=3),
        second.caption(picture((90, 80)), regions=3),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda it, photo: it.caption(photo, regions=-1),
            "regions: expected 0 or more, got -1",
            id="regions",
        ),
        pytest.param(
            lambda it, photo: it.caption(photo, threshold=1.5),
            "threshold: expected 0..1, got 1.5",
            id="high",
        ),
        pytest.param(lambda it, photo: it.caption(b""), "0 bytes", id="no photo"),
        pytest.param(
            lambda it, photo: it.describe(photo, [[0, 0, 65, 9]]),
            "outside the photo, which is 64x64",
            id="box",
        ),
        pytest.param(
            lambda it, photo: it.describe(photo, [1, 2, 3, 4]),
            r"expected shape \(N, 4\)",
            id="flat box",
        ),
        pytest.param(
            lambda it, photo: it.align(photo, " "),
            "expected at least one word",
            id="no sentence",
        ),
        pytest.param(
            lambda it, photo: it.align(photo, "quark"),
            "none of its words is known",
            id="unknown words",
        ),
        pytest.param(
            lambda it, photo: it.align(photo, "a dog", beta=-1),
            "beta",
            id="negative beta",
        ),
        pytest.param(
            lambda it, photo: it.locate(photo, "a dog", k=0),
            "k: expected 1 or more, got 0",
            id="k",
        ),
        pytest.param(
            lambda it, photo: RegionCaptioner(
                predictor=TorchPredictor(it.predictor.model, "abacus")
            ),
            "device: expected cpu, or",
            id="device",
        ),
    ],
)
def test_refused(
    captioner: RegionCaptioner, call: Callable[[Any, Any], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(captioner, picture((64, 64)))


def test_the_callers_photo_is_left_alone(captioner: RegionCaptioner) -> None:
    photo = picture((64, 64))
    before = photo.tobytes()
    captioner.caption(photo)
    assert photo.tobytes() == before and "filename" not in vars(photo)


@pytest.mark.parametrize(
    ("weight", "candidates"), [(0.0, None), (0.5, None), (1000.0, None), (1000.0, 3)]
)
def test_a_photo_gets_the_sentence_that_fits_its_regions(
    captioner: RegionCaptioner,
    monkeypatch: pytest.MonkeyPatch,
    weight: float,
    candidates: int | None,
) -> None:
    """Of the sentences found the one with the best sum of rank and weighted alignment (eq. 8)."""
    predictor, config = captioner.predictor, captioner.config
    features = captioner.encode([captioner.open(picture(size)) for size in SIZES])
    whole = predictor.whole_photos(len(SIZES))
    update = {
        "photo_beams": 4,
        "photo_candidates": candidates,
        "photo_alignment": weight,
        "neutral_margin": 0.0,
    }
    decoding = config.decoding.model_copy(update=update)
    monkeypatch.setattr(
        predictor, "config", config.model_copy(update={"decoding": decoding})
    )
    count = candidates or 4
    found = predictor.write(
        predictor.start(features, whole), 4, decoding.photo_min_words, keep=count
    )
    assert all(len(sentences) == count for sentences in found)
    asked: list[int] = []

    def likes_the_last(
        regions: Any, words: Any, region_mask: Any, word_mask: Any
    ) -> Any:
        assert (
            len(regions) == 1
            and regions.shape[1] == region_mask.shape[1] == 1 + ALIGN_REGIONS
        )
        asked.append(len(words))
        return np.arange(len(words), dtype=np.float32)[None]

    monkeypatch.setattr(predictor, "score", likes_the_last)
    chosen = captioner.write(features, whole, of_photos=True)
    for sentence, sentences in zip(chosen, found, strict=True):
        ranks = [one.score + weight * number for number, one in enumerate(sentences)]
        assert sentence == sentences[int(np.argmax(ranks))]
    assert asked == ([count] * 3 if weight else [])
    assert captioner.write(features, whole, 1, of_photos=True), "fewer beams than that"


def test_where_all_candidates_repeat_themselves_more_are_taken(
    captioner: RegionCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, config = captioner.predictor, captioner.config
    update = {"photo_beams": 4, "photo_candidates": 2, "photo_repetition": 1000.0}
    decoding = config.decoding.model_copy(update={**update, "neutral_margin": 0.0})
    monkeypatch.setattr(
        predictor, "config", config.model_copy(update={"decoding": decoding})
    )
    features = captioner.encode([captioner.open(picture(size)) for size in SIZES])
    whole = predictor.whole_photos(len(SIZES))
    least = decoding.photo_min_words
    every = predictor.write(predictor.start(features, whole), 4, least, keep=None)
    repeating = {one.words for sentences in every for one in sentences[:2]}
    monkeypatch.setattr(
        captioner, "_repeats", lambda caption: caption.words in repeating
    )
    chosen = captioner.write(features, whole, of_photos=True)
    for sentence, sentences in zip(chosen, every, strict=True):
        others = {one.words for one in sentences} - repeating
        assert others and sentence.words in others
    searches: list[int | None] = []
    write = predictor.write

    def spy(state: Any, *, keep: int | None, **settings: Any) -> Any:
        searches.append(keep)
        return write(state, keep=keep, **settings)

    monkeypatch.setattr(predictor, "write", spy)
    monkeypatch.setattr(captioner, "_repeats", lambda caption: True)
    captioner.write(features, whole, 2, of_photos=True)
    assert searches == [2], "where two beams found two there are no more"


@pytest.mark.parametrize(
    ("photo_margin", "of_photos", "margin"),
    [
        pytest.param(None, True, 1.0, id="photos as regions"),
        pytest.param(2.0, True, 2.0, id="photos"),
        pytest.param(0.0, True, None, id="photos never"),
        pytest.param(2.0, False, 1.0, id="regions"),
    ],
)
def test_whole_photos_have_a_margin_of_their_own(
    captioner: RegionCaptioner,
    monkeypatch: pytest.MonkeyPatch,
    photo_margin: float | None,
    of_photos: bool,
    margin: float | None,
) -> None:
    config = captioner.config
    update = {"neutral_margin": 1.0, "photo_neutral_margin": photo_margin}
    decoding = config.decoding.model_copy(update=update)
    monkeypatch.setattr(
        captioner.predictor, "config", config.model_copy(update={"decoding": decoding})
    )
    margins: list[float] = []

    def note_margin(captions: Any, state: Any, margin: float) -> Any:
        margins.append(margin)
        return captions

    monkeypatch.setattr(captioner, "_neutral", note_margin)
    features = captioner.encode([captioner.open(picture(SIZES[0]))])
    whole = captioner.predictor.whole_photos(1)
    captioner.write(features, whole, of_photos=of_photos)
    assert margins == ([] if margin is None else [margin])
