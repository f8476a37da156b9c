"""The public names: all there, few, and nothing heavy imported before one is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import regiontalk

HEAVY = ("torch", "torchvision", "timm", "PIL", "numpy", "huggingface_hub")


def test_every_public_name_is_there() -> None:
    assert regiontalk.__all__ == sorted(regiontalk.__all__) and len(regiontalk.__all__) <= 15
    for name in regiontalk.__all__:
        assert getattr(regiontalk, name).__name__ == name  # an object of that name, never a module
        assert name in dir(regiontalk)


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(AttributeError, match=r"RegionCaptionr.*offers Example"):
        _ = regiontalk.RegionCaptionr  # type: ignore[attr-defined]


RUN = "from regiontalk.cli.main import app; app({}, standalone_mode=False)"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import regiontalk; dir(regiontalk)", id="import"),
        pytest.param(RUN.format(["--help"]), id="help"),
        pytest.param(RUN.format(["caption", "--help"]), id="help of a verb"),
    ],
)
def test_nothing_heavy_is_imported_early(program: str) -> None:
    check = f"{program}\nimport sys\nsys.exit(' '.join(set(sys.modules) & {set(HEAVY)!r}) or 0)"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_name_stays_itself_whatever_was_imported_before() -> None:
    check = "import regiontalk.drawing.draw, regiontalk.images.open\nfrom regiontalk import draw\nassert callable(draw)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
