"""Starting quickly: what a caption with the bundled model must not import.

Because it takes seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

SLOW = (
    "torch",
    "timm",
    "torchvision",
    "sympy",
    "huggingface_hub",
    "scipy",
    "matplotlib",
)
PROGRAM = """
import sys
from regiontalk.cli.main import app
app(sys.argv[1:], standalone_mode=False)
print(" ".join(name for name in {slow} if name in sys.modules), file=sys.stderr)
"""


def test_a_caption_imports_nothing_slow(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), "green").save(tmp_path / "photo.png")
    arguments = ["caption", "photo.png", "--regions", "2", "--json", "--draw", "drawn"]
    program = [sys.executable, "-c", PROGRAM.format(slow=SLOW), *arguments]
    run = subprocess.run(
        program, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.splitlines()[-1] == "", run.stderr
    assert json.loads(run.stdout)["model"] == "mini"
