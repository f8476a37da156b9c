"""Rows of photos, good and bad, and their way through both formats of files."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from regiontalk.scale.caption import CaptionSettings, caption_rows
from regiontalk.scale.rows import Row, decode, encode


def png(color: tuple[int, int, int]) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), color).save(buffer, "PNG")
    return buffer.getvalue()


def record(key: str, data: bytes | None, error: str | None = None) -> Row:
    return {
        "key": key,
        "data": data,
        "sha256": None if data is None else "00",
        "error": error,
    }


PHOTOS = [
    record("red", png((9, 0, 0))),
    record("cut", png((1, 1, 1))[:20]),
    record("dark", png((0, 0, 0))),
    record("green", png((0, 9, 0))),
    record("gone", None, "gone: cannot be read (no such file)"),
]


@pytest.mark.parametrize("together", [1, 2, 8])
def test_a_bad_photo_is_a_row(colors: Any, together: int) -> None:
    rows = caption_rows(colors, PHOTOS, CaptionSettings(regions=1, together=together))
    assert [row["photo"] for row in rows] == ["red", "cut", "dark", "green", "gone"]
    texts = [row["caption"] and row["caption"]["text"] for row in rows]
    assert texts == ["color (9, 0, 0)", None, None, "color (0, 9, 0)", None]
    errors = [row["error"] for row in rows]
    assert errors[0] is None and errors[3] is None
    assert errors[1].startswith("cut: ") and "picture of" not in errors[1]
    assert errors[2] == "dark: too dark"
    assert errors[4] == "gone: cannot be read (no such file)"
    assert [row["sha256"] for row in rows] == ["00"] * 4 + [None]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_there_and_back(colors: Any, form: str) -> None:
    rows = caption_rows(colors, PHOTOS, CaptionSettings(regions=2))
    data = encode(rows, form, CaptionSettings().schema())
    back = decode(data, form)
    names = back[0].keys()
    assert back == [{name: row[name] for name in names} for row in rows]
    assert {"photo", "sha256", "error", "caption", "regions"} <= set(names)
    few = decode(data, form, ["photo", "sha256"])
    assert few == [{"photo": row["photo"], "sha256": row["sha256"]} for row in rows]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"regions": -1}, "regions: expected 0 or more, got -1", id="regions"
        ),
        pytest.param(
            {"together": 0}, "together: expected 1 or more photos, got 0", id="together"
        ),
    ],
)
def test_settings_out_of_range(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CaptionSettings(**values)
