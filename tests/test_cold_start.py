"""Starting quickly: what a caption with the bundled kind of model must not import, because it takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from regiontalk.align.model import AlignerConfig
from regiontalk.generate.model import GeneratorConfig
from regiontalk.model.config import DecodingConfig, ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.extractor import ExtractorConfig
from regiontalk.text.vocabulary import Vocabulary

NAME = "mobilenet_edgetpu_100"
SLOW = ("timm", "torchvision", "torch._dynamo", "sympy", "huggingface_hub")
PROGRAM = """
import sys
from regiontalk.cli.main import app
app(sys.argv[1:], standalone_mode=False)
print(" ".join(name for name in {slow} if name in sys.modules), file=sys.stderr)
"""


def test_a_caption_imports_nothing_slow(tmp_path: Path) -> None:
    config = ModelConfig(
        name="light",
        extractor=ExtractorConfig(backbone=NAME, size=64, features=16, proposal_width=8),
        aligner=AlignerConfig(size=6, word_size=5, hidden=4, cell="gru", normalise=True),
        generator=GeneratorConfig(cell="lstm", hidden=8, word_size=5, picture="state", attention=4),
        decoding=DecodingConfig(max_words=3, threshold=0.0),
    )
    model = RegionModel(config=config, vocabulary=Vocabulary(["a", "dog"])).folded()
    model.save_pretrained(tmp_path / "model", "# light\n")
    Image.new("RGB", (90, 60), "green").save(tmp_path / "photo.png")
    arguments = [
        "caption",
        "photo.png",
        "--model",
        "model",
        "--regions",
        "2",
        "--json",
        "--draw",
        "drawn",
    ]
    program = [sys.executable, "-c", PROGRAM.format(slow=SLOW), *arguments]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr.splitlines()[-1] == "", run.stderr
    assert json.loads(run.stdout)["model"] == "light"
