"""The caption table against the published scores of coco-caption and nlg-eval, and its manners."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from regiontalk.metrics.captions import CaptionScores, score_captions
from regiontalk.metrics.meteor.score import meteor_statistics
from regiontalk.metrics.meteor.tables import installed_folder, read_tables

FIXTURES = Path("data") / "eval_fixtures"


def values(scores: CaptionScores, *names: str) -> list[float]:
    found = [scores.figures[name] for name in names]
    return [figure.value for figure in found if figure is not None]


BLEUS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def fake(shared: Path) -> tuple[dict[str, str], dict[str, list[str]], dict[str, Any]]:
    folder = shared / FIXTURES / "captionmetrics_fakecap1000"
    predictions = {
        name: captions[0] for name, captions in read(folder / "res.json").items()
    }
    return predictions, read(folder / "gts.json"), read(folder / "expected_scores.json")


def magic(shared: Path) -> tuple[dict[str, str], dict[str, list[str]], dict[str, Any]]:
    folder = shared / FIXTURES / "magic_karpathy_test"
    rows = read(folder / "mscoco_magic_result.json")
    predictions = {row["image_name"]: row["prediction"] for row in rows}
    references = {row["image_name"]: row["captions"] for row in rows}
    return predictions, references, read(folder / "expected_scores_mscoco.json")


def test_tokenised_fixture_to_nine_places(shared: Path) -> None:
    predictions, references, wanted = fake(shared)
    scores = score_captions(predictions, references, tokenized=True, resamples=20)
    assert values(scores, *BLEUS) == pytest.approx(wanted["Bleu"], abs=1e-9)
    assert values(scores, "ROUGE-L", "CIDEr-D") == pytest.approx(
        [wanted["ROUGE_L"], wanted["CIDEr"]], abs=1e-9
    )
    assert scores.counts == wanted["bleu_counts"]


def test_raw_fixture_to_the_printed_digits(shared: Path) -> None:
    predictions, references, wanted = magic(shared)
    scores = score_captions(predictions, references, resamples=20)
    assert [round(value, 3) for value in values(scores, *BLEUS)] == wanted["Bleu"]
    assert [round(value, 3) for value in values(scores, "ROUGE-L", "CIDEr-D")] == [
        wanted["ROUGE_L"],
        wanted["CIDEr"],
    ]
    # whole numbers: the tokeniser is right word for word
    assert scores.counts == wanted["bleu_counts"]
    assert scores.captions == 4982


def test_nlgeval_to_five_places(shared: Path) -> None:
    folder = shared / FIXTURES / "nlgeval"
    said, first, second = (
        (folder / name).read_text().splitlines()[:2]
        for name in ("hyp.txt", "ref1.txt", "ref2.txt")
    )
    wanted = read(folder / "expected_scores.json")
    references = {
        row: list(pair) for row, pair in enumerate(zip(first, second, strict=True))
    }
    scores = score_captions(
        dict(enumerate(said)), references, tokenized=True, resamples=5
    )
    names = [f"Bleu_{order}" for order in range(1, 5)] + ["ROUGE_L", "CIDEr"]
    assert values(scores, *BLEUS, "ROUGE-L", "CIDEr-D") == pytest.approx(
        [wanted[name] for name in names], abs=5e-6
    )
    pair = wanted["single_pair"]
    scores = score_captions(
        {0: pair["hyp"]}, {0: pair["refs"]}, tokenized=True, resamples=5
    )
    assert values(scores, *BLEUS, "ROUGE-L", "CIDEr-D") == pytest.approx(
        [pair[name] for name in names], abs=5e-6
    )


@pytest.mark.parametrize(
    ("make", "tokenized"), [(fake, True), (magic, False)], ids=["tokenised", "raw"]
)
def test_meteor_without_java(shared: Path, make: Any, tokenized: bool) -> None:
    folder = installed_folder()
    if folder is None:
        pytest.skip("pycocoevalcap is not installed: its tables are needed")
    predictions, references, wanted = make(shared)
    ours = partial(meteor_statistics, tables=read_tables(folder))
    scores = score_captions(
        predictions, references, meteor=ours, tokenized=tokenized, resamples=20
    )
    assert values(scores, "METEOR") == pytest.approx([wanted["METEOR"]], abs=0.001)
    assert (
        "METEOR" not in scores.reasons and "METEOR (exact, stem)" not in scores.figures
    )


def test_what_cannot_run_says_why() -> None:
    scores = score_captions(
        {1: "a dog", 2: "a cat"}, {1: ["a dog"], 2: ["the cat"]}, resamples=5
    )
    document = scores.to_dict()
    assert (
        document["figures"]["METEOR"] is None
        and "pip install pycocoevalcap" in document["reasons"]["METEOR"]
    )
    assert (
        document["figures"]["SPICE"] is None and "Java" in document["reasons"]["SPICE"]
    )
    assert document["figures"]["METEOR (exact, stem)"]["value"] > 0.3
    assert json.loads(json.dumps(document)) == document


def test_intervals_hold_the_figures() -> None:
    predictions = {row: "a dog runs" if row % 2 else "a cat" for row in range(20)}
    references = {row: ["a dog runs fast"] for row in range(20)}
    scores = score_captions(predictions, references, training=["A cat!"], resamples=200)
    for name in (*BLEUS, "ROUGE-L", "CIDEr-D"):
        figure = scores.figures[name]
        assert figure is not None and figure.low <= figure.value <= figure.high
    assert scores.diversity.in_training == 0.5


def test_problems_are_said() -> None:
    scores = score_captions(
        [(1, "a dog"), (1, "x"), (3, "!")],
        {1: ["a dog"], 2: ["b"], 3: ["c"]},
        resamples=5,
    )
    assert [problem.kind for problem in scores.problems] == [
        "missing prediction",
        "duplicate prediction",
        "prediction of punctuation only",
    ]


def test_errors() -> None:
    with pytest.raises(ValueError, match="of one data set and type"):
        score_captions({"a": "x"}, {"b": ["x"]})
