"""SPICE by its jar, and all that can go wrong.

A program in java's place checks what it is asked.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from regiontalk.metrics.captions import score_captions
from regiontalk.metrics.java import java_version, run_java
from regiontalk.metrics.spice_jar import missing_libraries, spice_scores

CANDIDATES = [["a", "dog"], [], ["un", "café"]]
REFERENCES = [[["the", "dog"], ["a", "dog"]], [["a", "cat"]], [["coffee"]]]
# The stand-in gives row n the score n / 10 and, like json-simple, no order that could be relied on.
ANSWER = """
asked = json.loads(open(arguments[3], encoding="ascii").read())
rows = [
    {"image_id": one["image_id"], "scores": {"All": {"f": one["image_id"] / 10}}}
    for one in asked[::-1]
]
open(arguments[5], "w").write(json.dumps(rows))
"""


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    """A jar whose manifest names two libraries, which are there."""
    (tmp_path / "spice" / "lib").mkdir(parents=True)
    for name in ("one.jar", "models.jar"):
        (tmp_path / "spice" / "lib" / name).touch()
    with zipfile.ZipFile(tmp_path / "spice" / "spice-1.0.jar", "w") as file:
        file.writestr(
            "META-INF/MANIFEST.MF",
            "Main-Class: a.B\r\nClass-Path: lib/one.jar lib/mod\r\n els.jar\r\n\r\n",
        )
    return tmp_path / "spice" / "spice-1.0.jar"


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a program that runs the given Python in java's place."""

    def make(body: str, version: str = "1.8.0_392") -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        program = tmp_path / "bin" / "java"
        lines = [
            f"#!{sys.executable}",
            "import json, sys, time",
            "arguments = sys.argv[1:]",
        ]
        lines += [
            "if arguments == ['-version']:",
            f"    sys.exit(print('openjdk version \"{version}\"', file=sys.stderr))",
        ]
        program.write_text("\n".join([*lines, body]))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        return program

    return make


def test_what_the_jar_is_asked(
    jar: Path, java: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java(
        f"open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps([arguments, "
        f"open(arguments[3]).read()]))\n{ANSWER}"
    )
    monkeypatch.chdir(jar.parent)
    assert spice_scores(CANDIDATES, REFERENCES, Path(jar.name)).tolist() == [
        0.0,
        0.0,
        0.2,
    ]  # the empty one is not sent
    arguments, asked = json.loads((tmp_path / "seen").read_text())
    assert arguments == [
        "-Xmx8G",
        "-jar",
        str(jar),
        "input.json",
        "-out",
        "output.json",
        "-silent",
    ]
    assert json.loads(asked) == [
        {"image_id": 0, "test": "a dog", "refs": ["the dog", "a dog"]},
        {"image_id": 2, "test": "un café", "refs": ["coffee"]},
    ]
    assert sorted(path.name for path in jar.parent.iterdir()) == [
        "lib",
        "spice-1.0.jar",
    ]
    assert spice_scores([[]], [[["a"]]], jar).tolist() == [0.0]


def test_the_mean_with_its_interval(jar: Path, java: Any) -> None:
    java(ANSWER)
    said, truth = {1: "a", 2: "b", 3: "c"}, {1: ["a"], 2: ["b"], 3: ["c"]}
    scores = score_captions(
        said,
        truth,
        spice=lambda own, groups: spice_scores(own, groups, jar),
        resamples=200,
    )
    found = scores.figures["SPICE"]
    assert found is not None and found.value == pytest.approx((0 + 0.1 + 0.2) / 3)
    assert found.low < found.value < found.high and "SPICE" not in scores.reasons
    java("sys.exit(1)")
    scores = score_captions(
        said,
        truth,
        spice=lambda own, groups: spice_scores(own, groups, jar),
        resamples=2,
    )
    assert (
        scores.figures["SPICE"] is None
        and "java ended with 1" in scores.reasons["SPICE"]
    )
    assert scores.figures["BLEU-1"] is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            r"sys.exit('Exception: no room\n\tat a.B(B.java:64)\n\t... 3 more')",
            "java ended with 1, saying 'Exception: no room'",
            id="the jar fails",
        ),
        pytest.param("", "expected scores with All.f", id="no output"),
        pytest.param(
            "open('output.json', 'w').write('{')",
            "expected scores with All.f",
            id="no JSON",
        ),
        pytest.param(
            "open('output.json', 'w').write('7')",
            "expected scores with All.f",
            id="another form",
        ),
        pytest.param(
            ANSWER.replace('"All"', '"Object"'),
            "expected scores with All.f",
            id="no All",
        ),
        pytest.param(ANSWER.replace("/ 10", "* 0 - 1"), "All.f in 0..1", id="below 0"),
        pytest.param(
            ANSWER.replace('one["image_id"] / 10', 'float("nan")'),
            "All.f in 0..1",
            id="not a number",
        ),
        pytest.param(
            ANSWER.replace("[::-1]", "[1:]"),
            "expected 2 captions .* got 1",
            id="one is not answered",
        ),
        pytest.param(
            "time.sleep(30)", "expected an answer within 0.5 s", id="too slow"
        ),
    ],
)
def test_a_jar_that_fails(jar: Path, java: Any, body: str, message: str) -> None:
    java(body)
    with pytest.raises(ValueError, match=message):
        spice_scores(
            CANDIDATES, REFERENCES, jar, timeout_s=0.5 if "sleep" in body else 60
        )


def test_what_is_missing(
    jar: Path, java: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java(ANSWER, version="17.0.15")
    with pytest.raises(ValueError, match="expected Java 8 to 14, got 17"):
        spice_scores(CANDIDATES, REFERENCES, jar)
    assert missing_libraries(jar) == []
    (jar.parent / "lib" / "models.jar").unlink()
    with pytest.raises(
        ValueError, match=r"jar: lib/models\.jar missing beside spice-1\.0\.jar"
    ):
        spice_scores(CANDIDATES, REFERENCES, jar)
    with pytest.raises(ValueError, match=r"expected spice-1\.0\.jar, got .*gone\.jar"):
        spice_scores(CANDIDATES, REFERENCES, tmp_path / "gone.jar")
    (tmp_path / "text.jar").write_text("no jar")
    with pytest.raises(ValueError, match=r"expected spice-1\.0\.jar, got .*text\.jar"):
        missing_libraries(tmp_path / "text.jar")
    with pytest.raises(ValueError, match="one group a candidate"):
        spice_scores([["a"]], [], jar)
    (jar.parent / "lib" / "models.jar").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="expected java on the path"):
        spice_scores(CANDIDATES, REFERENCES, jar)


@pytest.mark.parametrize(
    ("version", "number"), [("1.8.0_392", 8), ("17.0.15", 17), ("21", 21)]
)
def test_versions_of_java(java: Any, version: str, number: int) -> None:
    java("", version)
    assert java_version("a judge") == number


def test_a_java_that_is_none(java: Any, tmp_path: Path) -> None:
    program = java("")
    program.write_text(f"#!{sys.executable}\n")
    with pytest.raises(
        ValueError, match="a judge: expected java -version to name its version"
    ):
        java_version("a judge")
    program.write_text("#!/nowhere\n")
    with pytest.raises(ValueError, match="a judge: expected an answer"):
        run_java([], judge="a judge", folder=tmp_path)
