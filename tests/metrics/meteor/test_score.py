"""METEOR: normalisation, matches, alignment and score by hand; tables.

The jar as judge where it is.
"""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from regiontalk.metrics.meteor.align import (
    EXACT,
    PARAPHRASE,
    STEM,
    SYNONYM,
    Lexicon,
    align,
    find_matches,
)
from regiontalk.metrics.meteor.jar import jar_statistics
from regiontalk.metrics.meteor.normal import normalize
from regiontalk.metrics.meteor.score import (
    SIZE,
    build_lexicon,
    corpus_meteor,
    meteor_statistics,
)
from regiontalk.metrics.meteor.tables import MeteorTables, installed_folder, read_tables

BARE = Lexicon({}, {}, {}, 0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("is n't", "is n 't", id="negation"),
        pytest.param("it 's", "it ' s", id="possessive"),
        pytest.param(
            "black-and-white t-shirt", "black and white t shirt", id="hyphens-part"
        ),
        pytest.param("-lrb- red -rrb-", "-lrb- red -rrb-", id="bracket-names-hold"),
        pytest.param("black/white at&t", "black / white at & t", id="signs-part"),
        pytest.param("12:45 95,000 3.5 .99", "12 : 45 95,000 3.5 .99", id="numbers"),
        pytest.param("st. bernard in u.s.", "st. bernard in u.s.", id="stops-hold"),
        pytest.param("on main st.", "on main st .", id="stop-at-the-end-parts"),
        pytest.param("no. 5", "no . 5", id="stop-before-a-number-parts"),
        pytest.param("", "", id="empty"),
    ],
)
def test_normalize(text: str, wanted: str) -> None:
    assert normalize(text) == wanted.split()


def test_stages_propose() -> None:
    lexicon = Lexicon(
        stems={"rides": "ride", "riding": "ride"},
        synsets={"big": frozenset([1, 2]), "large": frozenset([2])},
        paraphrases={"next to": frozenset(["near"]), "near": frozenset(["next to"])},
        longest=2,
    )
    found = find_matches(
        "a big rides next to".split(), "riding near a large".split(), lexicon
    )
    stages = [
        (match.start, match.length, match.other, match.other_length, match.stage)
        for row in found
        for match in row
    ]
    assert stages == [
        (0, 1, 2, 1, EXACT),
        (1, 1, 3, 1, SYNONYM),
        (2, 1, 0, 1, STEM),
        (3, 2, 1, 1, PARAPHRASE),
    ]


def brute(candidate: list[str], reference: list[str]) -> tuple[int, int]:
    """Most words matched and then fewest chunks over every way to match equal words."""
    choices = [
        [None, *(j for j, other in enumerate(reference) if other == word)]
        for word in candidate
    ]
    best = (0, 0)
    for way in product(*choices):
        taken = [(i, j) for i, j in enumerate(way) if j is not None]
        if len({j for _, j in taken}) < len(taken):
            continue
        chunks = sum((i - 1, j - 1) not in taken for i, j in taken)
        best = max(best, (len(taken), -chunks))
    return best[0], -best[1]


@pytest.mark.parametrize("seed", range(8))
def test_alignment_of_equal_words_against_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    candidate, reference = (
        random.choice(list("abc"), size=6).tolist() for _ in range(2)
    )
    matches, chunks = align(candidate, reference, BARE)
    assert (len(matches), chunks) == brute(candidate, reference)


def test_score_by_hand(shared: Path) -> None:
    # "this is a good test" against "this is a test" with function words this, is, a (delta = .75,
    # so 1/4 against 3/4): matched: this is a | test, 2 chunks of 4 words. P = (.75 * 1 + .25 * 3) /
    # (.75 * 2 + .25 * 3) = 1.5 / 2.25 = 2/3, R = 1.5 / 1.5 = 1. F = P R / (.85 P + .15 R) = (2/3) /
    # (.5667 + .15) = .930233. Penalty .6 * (2 / 4)^.2 = .522330; .930233 * .477670 = .444344.
    tables = MeteorTables(function_words=frozenset(["this", "is", "a", "also"]))
    rows = meteor_statistics(
        ["this is a good test".split()], [["this is a test".split()]], tables
    )
    assert rows[0].tolist() == [5, 4, 3, 3, 1, 1, 3, 3, *[0] * 12, 2, 4, 4]
    wanted = json.loads(
        (shared / "data/eval_fixtures/nlgeval/expected_scores.json").read_text()
    )["single_pair"]
    assert corpus_meteor(rows[0]) == pytest.approx(wanted["METEOR"], abs=1e-6)


@pytest.mark.parametrize(
    ("candidate", "reference", "wanted"),
    [
        pytest.param("a b", "a b", 1.0, id="the-same"),
        pytest.param("a b", "c d", 0.0, id="nothing"),
        pytest.param("", "c d", 0.0, id="empty"),
    ],
)
def test_ends_of_the_scale(candidate: str, reference: str, wanted: float) -> None:
    rows = meteor_statistics([candidate.split()], [[reference.split()]], MeteorTables())
    assert corpus_meteor(rows[0]) == wanted


def test_best_reference_counts() -> None:
    rows = meteor_statistics([["a", "dog"]], [[["cat"], ["a", "dog"]]], MeteorTables())
    assert rows[0, 1] == 2 and corpus_meteor(rows) == pytest.approx([1.0])


def test_base_forms() -> None:
    tables = MeteorTables(
        synsets={"dog": frozenset([1]), "go": frozenset([2])}, bases={"went": ("go",)}
    )
    lexicon = build_lexicon([["dogs", "went", "dog"]], tables)
    assert lexicon.synsets == {"dogs": {1}, "went": {2}, "dog": {1}}


def tiny_folder(folder: Path) -> Path:
    (folder / "data").mkdir()
    with zipfile.ZipFile(folder / "meteor-1.5.jar", "w") as jar:
        jar.writestr("function/english.words", "the\na\n")
        jar.writestr(
            "synonym/english.synsets", "big\n00000001 00000002\nlarge\n00000002\n"
        )
        jar.writestr("synonym/english.exceptions", "go\nwent gone\n")
    with gzip.open(folder / "data" / "paraphrase-en.gz", "wt") as file:
        file.write("0.5\nnext to\nnear\n0.1\nfar\nnear\n")
    return folder


def test_tables_from_a_folder(tmp_path: Path) -> None:
    tables = read_tables(tiny_folder(tmp_path))
    assert tables.function_words == {"the", "a"}
    assert tables.synsets == {"big": {1, 2}, "large": {2}}
    assert tables.bases == {"went": ("go",), "gone": ("go",)}
    assert tables.phrase_pairs({"next to", "near"}) == {
        "next to": {"near"},
        "near": {"next to"},
    }
    assert MeteorTables().phrase_pairs({"near"}) == {}


def test_all_stages_from_a_folder(tmp_path: Path) -> None:
    tables = read_tables(tiny_folder(tmp_path))
    rows = meteor_statistics(
        ["big dogs next to".split()], [["large dog near".split()]], tables
    )
    assert rows[0].tolist() == [
        4,
        3,
        0,
        0,
        *[0] * 4,
        1,
        1,
        0,
        0,
        1,
        1,
        0,
        0,
        2,
        1,
        0,
        0,
        1,
        4,
        3,
    ]


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="pip install pycocoevalcap"):
        read_tables(tmp_path)
    with pytest.raises(ValueError, match="one group a candidate"):
        meteor_statistics([["a"]], [], MeteorTables())
    with pytest.raises(ValueError, match=r"meteor-1\.5\.jar"):
        jar_statistics([["a"]], [[["a"]]], tmp_path)
    (tmp_path / "meteor-1.5.jar").touch()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="expected java on the path"):
        jar_statistics([["a"]], [[["a"]]], tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/echo")
    with pytest.raises(ValueError, match="expected 1 answers of 23 numbers"):
        jar_statistics([["a"]], [[["a"]]], tmp_path)


def test_without_the_stemmer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(
        "regiontalk.metrics.meteor.tables.importlib.import_module", refuse
    )
    with pytest.raises(ImportError, match=r"regiontalk\[eval\]"):
        meteor_statistics([["a"]], [[["a"]]], MeteorTables())


def test_the_jar_agrees() -> None:
    folder = installed_folder()
    if folder is None or shutil.which("java") is None:
        pytest.skip("needs pycocoevalcap and java")
    pairs = [
        ("a man riding a horse", "a person rides horses"),
        ("it is n't a t-shirt", "there is no shirt"),
    ]
    candidates, references = (
        [a.split() for a, _ in pairs],
        [[b.split()] for _, b in pairs],
    )
    ours = meteor_statistics(candidates, references, read_tables(folder))
    assert ours.shape == (2, SIZE)
    assert ours.tolist() == jar_statistics(candidates, references, folder).tolist()
