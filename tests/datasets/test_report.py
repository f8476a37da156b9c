from pathlib import Path

import pytest

from regiontalk.datasets.report import NAMES_KEPT, DataReport, Trouble, report_on
from regiontalk.records import Example, Phrase


def test_totals_by_hand() -> None:
    first = Example(
        Path("a.jpg"),
        ("x", "y"),
        [[0, 0, 2, 2], [1, 1, 2, 2]],
        (Phrase("p", (0, 1)), Phrase("q")),
        (9, 9),
    )
    second = Example(Path("b.jpg"), ("z",))
    # 2 photos; 2 + 1 captions; 2 + 0 boxes; of the two phrases only p has a box.
    assert report_on("s", [first, second], {}) == DataReport("s", 2, 3, 2, 1, {})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], {}, id="kinds that did not occur are absent"),
        pytest.param(["a"], {"k": Trouble(1, ("a",))}, id="one"),
        pytest.param(
            list("abcdefg"),
            {"k": Trouble(7, tuple("abcde"))},
            id="many keep a few names",
        ),
    ],
)
def test_troubles(names: list[str], expected: dict[str, Trouble]) -> None:
    assert report_on("s", [], {"k": names}).troubles == expected


def test_lines_say_where_names_were_cut() -> None:
    lines = report_on(
        "s", [], {"k": [str(n) for n in range(NAMES_KEPT + 1)], "j": ["x"]}
    ).lines()
    assert lines[1:] == ["  6 k: 0, 1, 2, 3, 4, ...", "  1 j: x"]
