"""Word vectors from sentences, and runs that begin with a file of them."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.text.vocabulary import UNKNOWN
from regiontalk.train.recipe import stages_of
from regiontalk.train.vector_files import read_word_vectors
from regiontalk.train.word_vectors import (
    association,
    make_vectors,
    neighbours,
    read_text,
)

PAIRS = [(animal, verb) for animal in ("dog", "puppy") for verb in ("barks", "growls")]
PAIRS += [(animal, verb) for animal in ("cat", "kitten") for verb in ("meows", "purrs")]
SENTENCES = [f"the {animal} {verb} loudly" for animal, verb in PAIRS] * 5


def test_neighbours_by_hand() -> None:
    # "4 5 6" and "5 ? 4" with a window of 2: 4-5 at distance 1 and again at 2, 4-6 at 2, 5-6 at 1;
    # ? is nobody's
    counts = neighbours([[4, 5, 6], [5, UNKNOWN, 4]], 7, window=2).to_dense()
    assert counts[4, 5] == counts[5, 4] == 1 + 1 / 2
    assert counts[4, 6] == counts[6, 4] == 1 / 2 and counts[5, 6] == counts[6, 5] == 1
    assert float(counts.sum()) == 2 * (1.5 + 0.5 + 1)


def test_association_and_its_slow_twin() -> None:
    chance = torch.Generator().manual_seed(0)
    table = torch.rand(5, 5, generator=chance) * (
        torch.rand(5, 5, generator=chance) < 0.6
    )
    table = table + table.T
    got = association(table.to_sparse()).to_dense()
    smoothed = [float(row.sum()) ** 0.75 for row in table]
    for a in range(5):
        for b in range(5):
            expected = 0.0
            if table[a, b] > 0:
                expected = max(
                    0.0,
                    math.log(
                        float(table[a, b] / table[a].sum())
                        / (smoothed[b] / sum(smoothed))
                    ),
                )
            assert float(got[a, b]) == pytest.approx(expected, abs=1e-5)


def test_words_of_one_use_are_near() -> None:
    words, vectors = make_vectors(SENTENCES, 6)
    assert set(words) == {
        "the",
        "loudly",
        *(word for pair in PAIRS for word in pair),
    } and vectors.shape == (10, 6)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = {
        word: unit[words.index("dog")] @ unit[words.index(word)]
        for word in ("puppy", "cat", "kitten")
    }
    assert near["puppy"] > 0.9 and max(near["cat"], near["kitten"]) < 0.5
    assert np.std(vectors) == pytest.approx(1, abs=0.02)


def test_too_few_words() -> None:
    with pytest.raises(
        ValueError,
        match=r"expected at least 11 words seen 5 times .* got 10; give more",
    ):
        make_vectors(SENTENCES, 11)


@pytest.mark.parametrize("zipped", [False, True], ids=["text", "gzip"])
def test_read_text(tmp_path: Path, zipped: bool) -> None:
    text = "A dog .\n1.jpg#0\tA cat\n[/EN#1/people A man] on [/EN#2/other/vehicles a bike] .\n"
    (tmp_path / "t").write_bytes(
        gzip.compress(text.encode()) if zipped else text.encode()
    )
    assert list(read_text(tmp_path / "t")) == ["A dog .", "A cat", "A man on a bike ."]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xfe", id="not text"),
        pytest.param(gzip.compress(b"a" * 99)[:20], id="half a gzip"),
    ],
)
def test_bad_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match="expected sentences, one a line"):
        list(read_text(tmp_path / "t"))


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_the_verb(tmp_path: Path, toy_folder: Path) -> None:
    (tmp_path / "sentences.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
    out = tmp_path / "new" / "v.txt.gz"
    result = run(
        "vectors",
        tmp_path / "sentences.txt",
        "--out",
        out,
        "--size",
        6,
        "--data",
        toy_folder,
    )
    assert result.exit_code == 0 and result.stdout.strip() == str(out), result.output
    assert not read_word_vectors(out, ["dog", "purrs", "circle"], 6).missing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["vectors", "gone.txt", "--out", "v.txt"], "gone.txt", id="no text"
        ),
        pytest.param(
            ["vectors", "gone.txt", "--out", "folder"],
            "expected a file .txt or .txt.gz",
            id="no file name",
        ),
        pytest.param(
            ["all", "toy.toml", "--out", "x"],
            "--data: expected the folder",
            id="no data",
        ),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split()), (
        result.output
    )


def file_of(folder: Path, size: int) -> Path:
    """Vectors of two of the words that toy sentences are made of."""
    path = folder / "v.txt"
    path.write_text(
        "".join(
            f"{word} {' '.join(['0.5'] * size)}\n" for word in ("circle", "square")
        ),
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize(
    ("use", "moved"),
    [
        pytest.param("fixed", False, id="fixed"),
        pytest.param("trained", True, id="trained"),
    ],
)
def test_a_run_begins_with_a_file(
    start_run: Any, tiny: dict[str, Any], tmp_path: Path, use: str, moved: bool
) -> None:
    lines: list[str] = []
    values = {key: tiny[key] for key in tiny if key not in ("joint", "generate")}
    run = start_run(values | {"vectors": {"aligner": use}})
    run.log = lines.append
    model = run.build(None, None, vectors=file_of(tmp_path, 8))
    (line,) = [
        line
        for line in lines
        if line.startswith(f"word vectors of the aligner, {use}: 2 of ")
    ]
    assert "; missing: " in line
    before = model.aligner.words.embed.weight.detach().clone()
    assert before[model.vocabulary.encode("circle")[0]].tolist() == [0.5] * 8
    for name in stages_of(run.recipe):
        run.stage(name, model)
    assert torch.equal(before, model.aligner.words.embed.weight) != moved
    assert '"vectors"' in run.settings("align", model)


@pytest.mark.parametrize(
    ("vectors", "size", "message"),
    [
        pytest.param(
            {"aligner": "fixed"},
            None,
            "vectors.aligner = fixed and no file cannot meet",
            id="no file",
        ),
        pytest.param({}, 8, "all random cannot meet", id="nobody wants them"),
        pytest.param(
            {"aligner": "fixed"},
            7,
            "aligner.word_size = 8: .*line 1: .*got 7",
            id="another dimension",
        ),
    ],
)
def test_files_that_cannot_meet(
    start_run: Any,
    tiny: dict[str, Any],
    tmp_path: Path,
    vectors: dict[str, str],
    size: int | None,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        start_run(tiny | {"vectors": vectors}).build(
            None, None, vectors=size and file_of(tmp_path, size)
        )
