"""The short form of benchmarks/serve_load.py.

Clients beside those that say nothing, dawdle or break off.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_no_error_but_503(
    tiny_folder: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import serve_load  # type: ignore[import-not-found]

    photos = [picture, picture]
    with serve_load.running(str(tiny_folder), 1, 8) as address:
        serve_load.load(address, photos, 1, 0.2, 1)
        with serve_load.nuisance(address, idle=50, slow=5, aborted=2) as broken:
            tally: Any = serve_load.load(address, photos, 8, 3.0, 1)
    run = serve_load.summary(8, 3.0, tally)
    sys.modules.pop("serve_load")
    assert run["errors"] == 0 and tally.statuses["200"] >= 8, run
    assert sum(broken) >= 2
    assert run["growth MB"] < 50
