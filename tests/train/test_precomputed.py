"""Features that somebody else computed: trained on, used, refused.

Here a tiny extractor of our own is somebody.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.datasets.splits import read_split
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example
from regiontalk.regions.config import PrecomputedConfig
from regiontalk.regions.precomputed import precomputed_features, read_precomputed
from regiontalk.regions.sources import PrecomputedRegions
from regiontalk.runtime.predictor import PhotoFeatures
from regiontalk.train.align import Texts, alignment_loss
from regiontalk.train.precomputed import GivenFeatures
from regiontalk.train.recipe import FeaturesConfig

RECIPE = """
name = "given"
min_count = 1
[extractor]
size = 64
[aligner]
size = 8
word_size = 8
hidden = 8
[generator]
hidden = 4
word_size = 4
[features]
regions = 4
[align]
batch = 4
spans = 1
noise = 0.1
standardise = true
[align.optimiser]
steps = 4
checkpoint_every = 2
"""


def write_features(
    folder: Path, captioner: RegionCaptioner, examples: list[Example]
) -> None:
    """Two to five regions a photo and the whole photo, as the bottom-up sets come."""
    folder.mkdir(exist_ok=True)
    model = captioner.predictor
    for row, example in enumerate(examples):
        photo = captioner.open(example.photo)
        maps = captioner.encode([photo])
        boxes, _ = model.propose(maps, 2 + row % 4)
        with torch.inference_mode():
            vectors = model.region_features(maps, boxes)[0]
        original = model.preprocessing.to_original(boxes[0], photo.size_wh)
        wide, high = photo.size_wh
        np.savez(
            folder / f"{example.photo.stem}.npz",
            features=vectors,
            boxes=original,
            image_w=wide,
            image_h=high,
        )


@pytest.fixture(scope="module")
def computed(
    toy_folder: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Features of all photos of the toy data but the third of train and the second of dev."""
    folder = tmp_path_factory.mktemp("computed") / "features"
    captioner = RegionCaptioner.from_pretrained(tiny_folder)
    train, dev = (read_split(toy_folder, split)[0] for split in ("train", "dev"))
    write_features(folder, captioner, [*train[:2], *train[3:], dev[0], *dev[2:]])
    return folder


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "given.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(
    config: Path,
    computed: Path,
    toy_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run's folder."""
    out = tmp_path_factory.mktemp("given") / "out"
    result = run(
        "train",
        "align",
        config,
        "--data",
        toy_folder,
        "--features",
        computed,
        "--out",
        out,
    )
    assert result.exit_code == 0, (result.output, result.exception)
    return out


def test_training_says_what_it_reads(trained: Path) -> None:
    log = (trained / "log.txt").read_text()
    assert "1 of 12 photos have no features, left out (" in log
    assert "more than 4 regions, up to 5: the best by score are read" in log
    assert "boxes are random" not in log and "decoding" not in log
    assert json.loads((trained / "model/config.json").read_text())["precomputed"] == {
        "features": 16,
        "regions": 4,
    }
    card = (trained / "model/README.md").read_text()
    assert (
        "11 photos" in card
        and "given, 16 numbers a region" in card
        and "backbone" not in card
    )
    rows = np.load(trained / "features_given.npy", mmap_mode="r")
    assert rows["vectors"].shape == (11, 5, 16) and sorted(
        set(rows["found"].tolist())
    ) == [
        2,
        3,
        4,
        5,
    ]


def test_a_finished_run_is_only_loaded(
    trained: Path, config: Path, computed: Path, toy_folder: Path
) -> None:
    first = (trained / "model/model.safetensors").read_bytes()
    again = run(
        "train",
        "align",
        config,
        "--data",
        toy_folder,
        "--features",
        computed,
        "--out",
        trained,
    )
    assert (
        again.exit_code == 0
        and (trained / "model/model.safetensors").read_bytes() == first
    )


def test_another_set_is_refused(
    trained: Path, config: Path, computed: Path, toy_folder: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    other = shutil.copytree(computed, tmp_path / "other")
    for path in other.iterdir():
        values = dict(np.load(path))
        np.savez(path, **(values | {"features": values["features"] * 2}))
    result = run(
        "train",
        "align",
        config,
        "--data",
        toy_folder,
        "--features",
        other,
        "--out",
        out,
    )
    assert result.exit_code == 2 and "written with other settings" in result.stderr


def test_evaluate_and_use(
    trained: Path, computed: Path, toy_folder: Path, tmp_path: Path
) -> None:
    model, figures = trained / "model", tmp_path / "figures.json"
    options = ("--model", model, "--features", computed)
    result = run("evaluate", "all", *options, "--data", toy_folder, "--json", figures)
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(figures.read_text())
    assert any("1 of 6 photos have no features" in line for line in document["data"])
    found = {one["protocol"]: one for one in document["results"]}
    assert (
        found["retrieval"]["counts"]["photos"] == 5
        and found["retrieval"]["counts"]["regions a photo"] == 5
    )
    assert (
        found["phrases"]["counts"]["boxes that compete"] == 5
        and found["proposals"]["figures"]
    )
    assert "expected one that writes captions" in found["captions"]["notes"][0]
    assert "expected their own boxes" in found["alignment"]["notes"][0]
    example = read_split(toy_folder, "dev")[0][0]
    for verb in ("align", "locate"):
        result = run(verb, example.photo, example.captions[0], *options, "--json")
        assert result.exit_code == 0 and json.loads(result.stdout)["matches"], (
            result.output
        )


def test_the_vectors_are_the_given_ones(
    trained: Path, computed: Path, toy_folder: Path, tiny_folder: Path
) -> None:
    """The features of our own extractor, handed in as somebody else's.

    They say what that extractor says.
    """
    photo = read_split(toy_folder, "dev")[0][2].photo  # of two regions
    own = RegionCaptioner.from_pretrained(tiny_folder)
    given = RegionCaptioner.from_pretrained(
        trained / "model", source=PrecomputedRegions(computed)
    )
    count = len(np.load(computed / f"{photo.stem}.npz")["boxes"])
    maps, theirs = (
        captioner.encode([captioner.open(photo)]) for captioner in (own, given)
    )
    boxes, _ = own.predictor.propose(maps, count - 1)
    places, quality = given.predictor.propose(theirs, count - 1)
    np.testing.assert_allclose(places, boxes, rtol=0, atol=1e-3)
    vectors = given.predictor.region_features(theirs, places)
    np.testing.assert_allclose(
        vectors, own.predictor.region_features(maps, boxes), atol=1e-5
    )
    assert (quality > 0).all()


@pytest.mark.parametrize(
    ("verb", "extra", "message"),
    [
        pytest.param(
            "evaluate retrieval", "", "expected features of length 16", id="evaluate"
        ),
        pytest.param("locate", "", "name them with --features PATH", id="locate"),
        pytest.param(
            "caption", "", "expected features of length 16", id="a plain photo"
        ),
        pytest.param(
            "caption",
            "--source features:FEATURES",
            "expected one that writes captions",
            id="no words",
        ),
        pytest.param(
            "locate",
            "--features LONG",
            "expected features of length 16, got 17; name one set",
            id="length",
        ),
        pytest.param(
            "evaluate retrieval",
            "--features LONG",
            "length 16, got 17",
            id="length in evaluate",
        ),
        pytest.param(
            "locate",
            "--features nowhere",
            "nowhere: expected a folder or a file",
            id="no such path",
        ),
        pytest.param(
            "align",
            "--model TINY --features FEATURES",
            "which looks at photos itself",
            id="another model",
        ),
        pytest.param(
            "train",
            "--features nowhere",
            "nowhere: expected a folder or a file",
            id="train, no such path",
        ),
        pytest.param(
            "train",
            "--features MIXED",
            "expected features of length 16, got 17",
            id="two lengths",
        ),
        pytest.param(
            "train",
            "--features BARE",
            "_boxes.npy: expected the boxes of",
            id="no boxes",
        ),
        pytest.param(
            "train",
            "--features EMPTY",
            "expected features named after the photos (",
            id="of other photos",
        ),
        pytest.param(
            "train",
            "--features WILD",
            "expected numbers within 65504, got larger or not",
            id="not finite",
        ),
        pytest.param(
            "train",
            "--features FEATURES --start TINY",
            "expected the stage align without",
            id="two sources",
        ),
        pytest.param(
            "train all",
            "--features FEATURES",
            "expected the stage align without",
            id="another stage",
        ),
        pytest.param(
            "train",
            "--start MODEL",
            "got one that reads given features",
            id="nothing to start from",
        ),
    ],
)
def test_refused(
    trained: Path,
    config: Path,
    computed: Path,
    toy_folder: Path,
    tiny_folder: Path,
    tmp_path: Path,
    verb: str,
    extra: str,
    message: str,
) -> None:
    train, dev = (read_split(toy_folder, split)[0] for split in ("train", "dev"))
    box = {"boxes": [[0, 0, 9, 9]]}
    for name in ("LONG", "MIXED", "BARE", "EMPTY", "WILD"):
        (tmp_path / name).mkdir()
    shutil.copy(computed / f"{train[0].photo.stem}.npz", tmp_path / "MIXED")
    np.savez(
        tmp_path / "MIXED" / f"{train[1].photo.stem}.npz",
        features=np.ones((1, 17)),
        **box,
    )
    np.savez(
        tmp_path / "LONG" / f"{dev[0].photo.stem}.npz", features=np.ones((1, 17)), **box
    )
    np.savez(
        tmp_path / "WILD" / f"{train[0].photo.stem}.npz",
        features=np.full((1, 16), np.nan),
        **box,
    )
    np.save(tmp_path / "BARE" / f"{train[0].photo.stem}.npy", np.ones((1, 16)))
    places = {"FEATURES": computed, "TINY": tiny_folder, "MODEL": trained / "model"}
    names = {
        word: places.get(word, tmp_path / word if word.isupper() else word)
        for word in extra.split()
    }
    options = [str(names[word]) for word in extra.split()]
    options = [
        option.replace("features:FEATURES", f"features:{computed}")
        for option in options
    ]
    if verb.startswith("train"):
        stage = verb.split()[1:] or ["align"]
        arguments = [
            "train",
            *stage,
            config,
            "--data",
            toy_folder,
            "--out",
            tmp_path / "out",
            *options,
        ]
    else:
        model = [] if "--model" in options else ["--model", trained / "model"]
        data = ["--data", toy_folder] if verb.startswith("evaluate") else [dev[0].photo]
        words = ["a red square"] if verb in ("align", "locate") else []
        arguments = [*verb.split(), *data, *words, *model, *options]
    result = run(*arguments)
    lines = [
        line for line in result.stderr.splitlines() if line.startswith("regiontalk: ")
    ]
    assert result.exit_code == 2 and len(lines) == 1 and message in lines[0], (
        result.output,
        result.exception,
    )


def test_views_are_refused(computed: Path, toy_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="views: expected 1, got 2"):
        GivenFeatures(
            PrecomputedRegions(computed),
            [],
            FeaturesConfig(views=2),
            tmp_path / "file",
            print,
        )


def test_two_photos_of_one_name(
    computed: Path, toy_folder: Path, tmp_path: Path
) -> None:
    photo = read_split(toy_folder, "train")[0][0].photo
    pair = [Example(photo), Example(tmp_path / photo.name)]
    with pytest.raises(
        ValueError, match="expected two names, by which features are found"
    ):
        GivenFeatures(
            PrecomputedRegions(computed),
            pair,
            FeaturesConfig(),
            tmp_path / "file",
            print,
        )


@pytest.mark.parametrize("score", ["maxsim", "sum_positive", "mean_positive"])
@pytest.mark.parametrize("drop_whole", [0.0, 1.0])
def test_empty_places_count_for_nothing(
    computed: Path, toy_folder: Path, tmp_path: Path, score: Any, drop_whole: float
) -> None:
    """The loss of photos padded to 9 places.

    Against one that scores every photo on its own regions alone.
    """
    examples = read_split(toy_folder, "train")[0]
    given = GivenFeatures(
        PrecomputedRegions(computed),
        examples,
        FeaturesConfig(regions=8),
        tmp_path / "file",
        print,
    )
    features = given.freeze(Preprocessing(size=64))
    rows, texts = [0, 1, 2, 3], [[[4, 5]], [[6]], [[7, 8, 9]], [[5]]]
    torch.manual_seed(0)
    aligner = Aligner(
        features=16,
        vocabulary=12,
        config=AlignerConfig(size=6, word_size=4, hidden=4, score=score),
    )
    vectors, mask = features.read_vectors(rows), features.read_mask(rows)
    assert (
        mask.sum(1).tolist()
        == [1 + count for count in features.found[rows].tolist()]
        == [3, 4, 5, 6]
    )
    found = alignment_loss(
        aligner,
        aligner.embed_regions(vectors),
        Texts.read(aligner, texts),
        drop_whole,
        mask,
    )
    words, word_mask = aligner.encode_text([text for own in texts for text in own])
    scores = []
    for row in rows:
        own = torch.from_numpy(
            np.array(
                read_precomputed(
                    PrecomputedRegions(computed), given.examples[row].photo, None
                )[1]
            )
        )
        encoded = aligner.embed_regions(own.half().float()[None])
        shown = torch.ones(encoded.shape[:2], dtype=torch.bool)
        shown[:, 0] = not drop_whole
        scores.append(aligner.score(encoded, words, shown, word_mask))
    torch.testing.assert_close(found, aligner.loss(torch.cat(scores), torch.arange(4)))


def test_given_features(make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Three regions by score, in a photo of 100 x 50.

    For a model of 64 pixels that reads one, or four.
    """
    boxes = np.array([[0, 0, 50, 50], [50, 0, 100, 25], [0, 25, 25, 50]])
    features, scores = np.eye(3, dtype=np.float32), np.array([0.2, 0.9, 0.0])
    np.savez(tmp_path / "dog.npz", features=features, boxes=boxes, scores=scores)
    source = PrecomputedRegions(tmp_path)
    read = [read_precomputed(source, "dog.jpg", (100, 50), 3)]
    one = PhotoFeatures(
        *precomputed_features(
            read, Preprocessing(size=64), PrecomputedConfig(features=3, regions=1)
        )
    )
    # the best by score
    assert one.boxes_xyxy.tolist() == [[[0, 0, 64, 64], [32, 0, 64, 32]]]
    # the whole photo: the mean
    np.testing.assert_allclose(one.regions, [[[1 / 3] * 3, [0.0, 1, 0]]], rtol=1e-6)
    four = PhotoFeatures(
        *precomputed_features(
            read, Preprocessing(size=64), PrecomputedConfig(features=3, regions=4)
        )
    )
    assert four.boxes_xyxy[0, 2:].tolist() == [
        [0, 0, 32, 64],
        [0, 32, 16, 64],
        [0, 0, 0, 0],
    ]
    # 0 is no region
    np.testing.assert_allclose(four.objectness, [[1, 0.9, 0.2, 1e-6, 0]], rtol=1e-6)
    assert four.regions[0, 4].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "name", "holds"),
    [
        pytest.param("", "a", True, id="npz of the folder"),
        pytest.param("", "b", True, id="npy of the folder"),
        pytest.param("", "c", False, id="nothing of that name"),
        pytest.param("a.npz", "a", True, id="its file"),
        pytest.param("a.npz", "b", False, id="another photo's file"),
        pytest.param("set.npy", "1", True, id="row of a set"),
        pytest.param("set.npy", "2", False, id="no such row"),
        pytest.param("set.npy", "set", False, id="no row number"),
    ],
)
def test_holds(tmp_path: Path, path: str, name: str, holds: bool) -> None:
    np.savez(tmp_path / "a.npz", features=np.ones((1, 2)), boxes=np.ones((1, 4)))
    np.save(tmp_path / "b.npy", np.ones((1, 2)))
    np.save(tmp_path / "set.npy", np.ones((2, 1, 2)))
    assert PrecomputedRegions(tmp_path / path).holds(name) == holds
