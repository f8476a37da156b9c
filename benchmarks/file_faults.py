"""Damaged text files and model folders, each given to the command that reads it.

    python benchmarks/file_faults.py --count 2000
    python benchmarks/file_faults.py --count 100 --keep out/faults

Files of every kind that a command reads (data sets, results, predictions, recipes,
sidecars, exports of annotation tools, accepted texts, the files of a model) are cut,
flipped and spliced as bytes, or get values of other types where they are JSON. The
command must end with 0, 1 or 2 and, where it ends with 2, with one line that says why;
a traceback is a fault.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fault_runner import Case, arguments, finish, mutated, run_cases
from PIL import Image
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.export.cvat import files as cvat_files
from regiontalk.export.labelstudio import tasks
from regiontalk.export.xmp import Texts, packet
from regiontalk.model.hub import BUNDLED
from regiontalk.records import ImageResult, RegionCaption

SLOW_EVERY = 20  # cases; one of them loads the whole model
RESULT = ImageResult(
    "a.jpg",
    (64, 48),
    "mini",
    RegionCaption((0, 0, 64, 48), "a dog runs", 0.8),
    (
        RegionCaption((2, 1, 40, 30), "a ball", 0.7),
        RegionCaption((0, 0, 64, 40), "a dog", 0.9),
    ),
)
RECIPE = """name = "tiny"
[extractor]
size = 96
[joint]
batch = 8
[joint.optimiser]
steps = 6
learning_rate = 3e-3
"""
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "a", "\ud800", "\0", [], {},
    [[]], [None], {"a": 1}, "x" * 5000, [0] * 5000, -0.5,
)  # fmt: skip


def main() -> None:
    """Damage files, run their commands, print the figures."""
    options = arguments(__doc__, 2_000)
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        kinds = prepare(Path())
        check = checker(kinds)
        for name, (
            _,
            content,
            _,
        ) in kinds.items():  # what is imported now is not by every worker
            if not name.startswith("use of"):
                check(name, content)
        chance = random.Random(options.seed)
        made = cases(options.count, kinds, chance)
        outcome = run_cases(made, check, options.seconds, options.keep)
    finish(outcome)


Kind = tuple[str, bytes, tuple[str, ...]]  # the file, its content, the command


def prepare(folder: Path) -> dict[str, Kind]:
    """Write what the commands need beside the damaged file; the kinds of files by name."""
    (folder / "data").mkdir()
    for name in ("a.jpg", "data/a.jpg", "data/b.jpg"):
        Image.new("RGB", (64, 48), (200, 30, 90)).save(folder / name)
    shutil.copytree(BUNDLED / "mini", folder / "model")
    (folder / "references.json").write_text('{"1": ["a dog runs"], "2": ["a cat"]}')
    (folder / "result.json").write_text(json.dumps(RESULT.to_dict()))
    return {
        **_data_kinds(),
        **_result_kinds(),
        **_import_kinds(),
        **_model_kinds(folder / "model"),
    }


def _data_kinds() -> dict[str, Kind]:
    """Files that training reads."""
    rows = [
        {
            "photo": "a.jpg",
            "captions": ["a dog runs", "a dog"],
            "width": 64,
            "height": 48,
        },
        {"photo": "b.jpg", "boxes": [{"box": [1, 2, 30, 40], "phrase": "a blue cup"}]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    table = (
        'photo,caption,box,phrase\na.jpg,"a dog, red",,\nb.jpg,two,"1,2,30,40",a cup\n'
    )
    check = ("data", "check", "data")
    train = ("train", "joint", "r.toml", "--data", "empty", "--out", "o")
    return {
        "JSON Lines": ("data/train.jsonl", lines.encode(), check),
        "CSV": ("data/train.csv", table.encode(), check),
        "recipe": ("r.toml", RECIPE.encode(), train),
    }


def _result_kinds() -> dict[str, Kind]:
    """Results and texts that others bring, and metadata that stands there before."""
    result = json.dumps(RESULT.to_dict()).encode()
    predictions = [
        {"image_id": 1, "caption": "a dog"},
        {"image_id": 2, "caption": "a cat"},
    ]
    predicted = json.dumps(predictions).encode()
    export = ("export", "coco", "--results", "r.jsonl", "--out", "c.json")
    references = ("--references", "references.json")
    evaluate = ("evaluate", "captions", *references, "--predictions", "p.json")
    to_xmp = ("export", "xmp", "--results", "result.json", "--out", ".")
    texts = b'{"photo": "a.jpg", "alt": "My dog"}\n'
    return {
        "results": ("r.jsonl", result, export),
        "predictions": ("p.json", predicted, evaluate),
        "XMP": ("a.jpg.xmp", packet(RESULT, Texts("a dog"), mwg=True), to_xmp),
        "texts": ("t.jsonl", texts, (*to_xmp, "--texts", "t.jsonl")),
    }


def _import_kinds() -> dict[str, Kind]:
    """What annotation tools write."""
    annotated = [
        {
            "id": 1,
            "data": task["data"],
            "annotations": [{"result": task["predictions"][0]["result"]}],
        }
        for task in tasks([RESULT])
    ]
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "caption": "a dog"}
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }
    cvat = cvat_files([RESULT], Path("boxes.xml"))[Path("boxes.xml")]
    contents = {
        "Label Studio": ("ls.json", json.dumps(annotated)),
        "COCO": ("coco.json", json.dumps(coco)),
        "CVAT": ("cvat.xml", cvat),
    }
    return {
        kind: (
            name,
            text.encode(),
            ("import", name, "--photos", ".", "--out", "out/train.jsonl"),
        )
        for kind, (name, text) in contents.items()
    }


def _model_kinds(model: Path) -> dict[str, Kind]:
    """The files of a model's folder, which are looked at, or used."""
    kinds: dict[str, Kind] = {}
    for name in ("config.json", "vocabulary.json", "README.md"):
        content = (model / name).read_bytes()
        kinds[f"model {name}"] = (f"model/{name}", content, ("info", "model"))
    caption = (
        "caption",
        "a.jpg",
        "--model",
        "model",
        "--regions",
        "1",
        "--threads",
        "1",
    )
    for path in sorted(model.iterdir()):
        if path.suffix in (".onnx", ".safetensors", ".json") and path.stem != "memory":
            kinds[f"use of {path.name}"] = (
                f"model/{path.name}",
                path.read_bytes(),
                caption,
            )
    return kinds


def cases(count: int, kinds: dict[str, Kind], chance: random.Random) -> Iterator[Case]:
    """The damaged files, each kind in turn; what loads the whole model comes seldom."""
    slow = [name for name in kinds if name.startswith("use of")]
    quick = [name for name in kinds if name not in slow]
    for number in range(count):
        is_slow = number % SLOW_EVERY == SLOW_EVERY - 1
        name = chance.choice(slow) if is_slow else quick[number % len(quick)]
        _, content, _ = kinds[name]
        if number < len(quick):
            yield f"{name}: whole", content
            continue
        damage, data = _damaged(content, chance)
        yield f"{name}: {damage}", data


def _damaged(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Damage to the bytes or, where the file is JSON, to its values."""
    if chance.random() < 0.5:
        try:
            lines = [json.loads(line) for line in content.splitlines()]
            changed = [_changed(line, chance) for line in lines]
            return "values", "\n".join(json.dumps(line) for line in changed).encode()
        except ValueError:
            pass
        try:
            return "values", json.dumps(_changed(json.loads(content), chance)).encode()
        except ValueError:
            pass
    if chance.random() < 0.1:
        return "encoding", content.decode("latin-1").encode(
            chance.choice(("utf-16", "utf-32"))
        )
    return mutated(content, chance)


def _changed(value: Any, chance: random.Random) -> Any:
    """A JSON value in which a few values are others, and a few keys are gone."""
    if chance.random() < 0.05:
        return chance.choice(ODD_VALUES)
    if isinstance(value, dict):
        if len(value) > 1000:
            return value
        items = value.items()
        return {
            key: _changed(inner, chance)
            for key, inner in items
            if chance.random() > 0.01
        }
    if isinstance(value, list) and len(value) <= 1000:
        return [_changed(inner, chance) for inner in value]
    return value


def checker(kinds: dict[str, Kind]) -> Callable[[str, bytes], str]:
    """What runs the command of a damaged file, with that file in its place."""
    runner = CliRunner()

    def check(name: str, data: bytes) -> str:
        path, content, command = kinds[name.partition(": ")[0]]
        Path(path).write_bytes(data)
        try:
            return _run(runner, command)
        finally:
            if path.startswith("model/"):
                Path(path).write_bytes(content)
            else:
                Path(path).unlink()

    return check


def _run(runner: CliRunner, command: Sequence[str]) -> str:
    """Run a command; raises where it ends as no command may."""
    result = runner.invoke(app, list(command))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    errors = [
        line for line in result.stderr.splitlines() if line.startswith("regiontalk: ")
    ]
    assert result.exit_code in (0, 1, 2), f"exit code {result.exit_code}"
    assert "Traceback" not in result.output, result.output[-300:]
    if result.exit_code == 2 and command[0] != "data":  # whose report says it all
        assert len(errors) == 1, f"{len(errors)} messages: {result.stderr[-300:]}"
    return ("taken", "taken in part", "refused")[result.exit_code]


if __name__ == "__main__":
    main()
