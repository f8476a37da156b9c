"""Which folder a model's name means."""

from __future__ import annotations

from pathlib import Path

import pytest

from regiontalk.model.hub import BUNDLED, resolve_model


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        pytest.param(None, BUNDLED / "mini", id="bundled"),
        pytest.param(
            [], BUNDLED / "mini", id="an empty folder of that name hides nothing"
        ),
        pytest.param(["notes.txt"], BUNDLED / "mini", id="nor one that is no model"),
        pytest.param(
            ["config.json"], Path("mini"), id="a model folder of that name is meant"
        ),
    ],
)
def test_mini(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str] | None,
    wanted: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    if files is not None:
        Path("mini").mkdir()
        for name in files:
            (Path("mini") / name).write_text("{}")
    assert resolve_model("mini") == wanted


def test_a_folder_that_is_no_model_is_given_back(tmp_path: Path) -> None:
    """Whoever opens it says which files are missing."""
    assert (
        resolve_model(tmp_path) == tmp_path and resolve_model(str(tmp_path)) == tmp_path
    )
