"""Files as users have them, from public bug reports: a test for each, by the name of its report.

Each gives the real command a small input of the kind and looks at what it says and writes.
"""

from __future__ import annotations

import base64
import codecs
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin

from regiontalk import RegionCaptioner
from regiontalk.drawing import labels
from regiontalk.export.embed import find_packet, with_packet
from regiontalk.export.xmp import Texts, packet
from regiontalk.metrics.tokenizer import ptb_tokenize
from regiontalk.records import ImageResult
from regiontalk.serve.app import create_app

TINY = (Path(__file__).parents[1] / "data/tiny.toml").read_text()
RECIPE = (
    TINY.replace("min_count = 1", "min_count = {least_count}")
    + """threshold = 0.0
photo_min_words = 1
[joint]
batch = {batch}
regions = 4
[joint.optimiser]
steps = {steps}
checkpoint_every = 2
"""
)
PHRASES = """
[features]
regions = 4
[generate]
batch = 4
pairs = 0
phrases = 2
[generate.optimiser]
steps = 2
"""
PEOPLES_WORDS = "Aunt B. opens the library"
MWG_FACES = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/">
<xmp:Rating>5</xmp:Rating>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Aunt B. opens the library</rdf:li></rdf:Alt>
</dc:description>
<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>
<rdf:li rdf:parseType="Resource"><mwg-rs:Name>Aunt B.</mwg-rs:Name>
<mwg-rs:Type>Face</mwg-rs:Type></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def image(
    path: str, seed: int = 0, size_wh: tuple[int, int] = (64, 48), **more: Any
) -> str:
    """A photo of noise on disk; returns its path."""
    values = np.random.default_rng(seed).integers(
        0, 256, (*size_wh[::-1], 3), dtype=np.uint8
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **more)
    return path


def write_lines(path: str, *rows: Any) -> None:
    """JSON Lines on disk."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )


def own_data(
    folder: str, captions: Sequence[str], boxes: Sequence[Any] = (), photos: int = 4
) -> None:
    """A data set of photos with the same captions and boxes."""
    names = [f"{number}.png" for number in range(photos)]
    for number, name in enumerate(names):
        image(f"{folder}/{name}", number)
    rows = [
        {"photo": name, "captions": list(captions), "boxes": list(boxes)}
        for name in names
    ]
    write_lines(f"{folder}/train.jsonl", *rows)


def train(
    real: Any, data: str, out: str, *options: str, more: str = "", **numbers: int
) -> Any:
    """Train on a data set by a recipe of a few steps."""
    values = {"least_count": 5, "batch": 4, "steps": 2} | numbers
    Path("r.toml").write_text(RECIPE.format(**values) + more)
    return real("train", "all", "r.toml", "--data", data, "--out", out, *options)


def words_of(model: str) -> list[str]:
    """The vocabulary of a trained model."""
    return list(
        json.loads(Path(model, "vocabulary.json").read_text(encoding="utf-8"))["words"]
    )


def export(
    real: Any, format: str, *photos: str, out: str = ".", more: Sequence[str] = ()
) -> Any:
    """Export with the tiny model, whatever its confidence."""
    options = ["--out", out, "--model", "tiny", "--min-confidence", "0", *more]
    return real("export", format, *photos, *options)


def test_api_clients(tiny_folder: Path, tmp_path: Path) -> None:
    """The photo field by another name is explained.

    Data URLs, wrapped and web-safe base64 are read.
    """
    photo = Path(image(str(tmp_path / "a.png"))).read_bytes()
    text = base64.b64encode(photo).decode()
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    app = create_app(RegionCaptioner.from_pretrained(tiny_folder))
    with TestClient(app, base_url="http://127.0.0.1:8765") as client:
        answer = client.post("/v1/caption", files={"file": ("a.png", photo)})
        assert answer.status_code == 422 and "photo" in answer.json()["error"]
        assert (
            client.post("/v1/caption/", files={"photo": ("a.png", photo)}).status_code
            == 200
        )
        for value in (
            f"data:image/png;base64,{text}",
            wrapped,
            wrapped.replace("\n", "\r\n"),
            text.replace("+", "-").replace("/", "_"),
            text.rstrip("="),
        ):
            answer = client.post("/v1/caption", json={"photo": value})
            assert answer.status_code == 200, answer.text
        marked = codecs.BOM_UTF8 + json.dumps({"photo": text}).encode()
        answer = client.post(
            "/v1/caption", content=marked, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200, answer.text
        answer = client.post("/v1/caption", json={"image": text})
        assert answer.status_code == 422 and "photo" in answer.json()["error"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_bom_files(real: Any, encoding: str) -> None:
    """Recipes, accepted texts, results and annotations of Windows's programs are read."""
    own_data("data", ["a red dog"])
    assert train(real, "data", "o", least_count=1).exit_code == 0
    Path("r.toml").write_text(Path("r.toml").read_text(), encoding=encoding)
    assert real("train", "all", "r.toml", "--data", "data", "--out", "o").exit_code == 0
    Path("alt.jsonl").write_text(
        '\n{"photo": "good.jpg", "alt": "My dog"}\n\n', encoding=encoding
    )
    result = export(real, "xmp", "good.jpg", more=["--texts", "alt.jsonl"])
    assert result.exit_code == 0 and "My dog" in Path("good.jpg.xmp").read_text(), (
        result.output
    )
    line = real("caption", "good.jpg", "--model", "tiny", "--json").stdout
    Path("r.jsonl").write_text(line + "\n", encoding=encoding)
    assert (
        real("export", "csv", "--results", "r.jsonl", "--out", "x.csv").exit_code == 0
    )
    task = {"data": {"image": "good.jpg"}, "annotations": [{"result": [
        {"type": "textarea", "from_name": "caption", "value": {"text": ["a wall"]}}]}]}  # fmt: skip
    Path("ls.json").write_text(json.dumps([task]), encoding=encoding)
    result = real("import", "ls.json", "--photos", ".", "--out", "m.jsonl")
    assert result.exit_code == 0 and "a wall" in Path("m.jsonl").read_text(), (
        result.output
    )


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        pytest.param(
            [[0.1, 0.1, 0.5, 0.6]], "shares of the photo, 0 to 1", id="shares"
        ),
        pytest.param(
            [[0.3, 0.3, 0.4, 0.5], [0.7, 0.6, 0.4, 0.5]], "YOLO's centre", id="YOLO"
        ),
        pytest.param(
            [[5, 5, 20, 30], [40, 20, 20, 10]], "x, y, width, height", id="corner, size"
        ),
    ],
)
def test_box_conventions(real: Any, refused: Any, boxes: Any, message: str) -> None:
    own_data("data", ["a dog"], [{"box": box, "phrase": "a dog"} for box in boxes])
    result = train(real, "data", "o", least_count=1)
    refused(result, message)


def test_box_conventions_one_bad_box(real: Any) -> None:
    """It costs that box, not the sentences and other boxes of its photo."""
    boxes = [
        {"box": box, "phrase": "a dog"} for box in ([5, 5, 20, 30], [30, 5, 20, 30])
    ]
    own_data("data", ["a red car"], boxes[:1])
    rows = [
        json.loads(line) for line in Path("data/train.jsonl").read_text().splitlines()
    ]
    rows[0]["boxes"] = boxes
    write_lines("data/train.jsonl", *rows)
    result = train(real, "data", "o", least_count=1)
    assert result.exit_code == 0 and "4 captions, 4 boxes" in result.stderr, (
        result.output
    )
    assert "1 bad box" in result.stderr and "train.jsonl:1" in result.stderr


def test_corrected_boxes_ignored(real: Any) -> None:
    """Boxes corrected in place: the same command says what changed, and the model is another."""
    box = {"box": [0, 0, 20, 20], "phrase": "a dog"}
    own_data("data", ["a dog"], [box])
    assert train(real, "data", "o", least_count=1).exit_code == 0
    before = Path("o/model/model.safetensors").read_bytes()
    own_data("data", ["a dog"], [box | {"box": [20, 10, 60, 40]}])
    result = train(real, "data", "o", least_count=1)
    assert (
        result.exit_code == 0
        and "4 photos, 4 boxes changed: stage joint" in result.stderr
    )
    assert Path("o/model/model.safetensors").read_bytes() != before
    for number in range(4):
        image(f"data/{number}.png", number + 10)  # other photos under the same names
    result = train(real, "data", "o", least_count=1)
    assert result.exit_code == 0 and "4 photos, 4 pictures changed" in result.stderr


def test_corrected_region_lost(real: Any) -> None:
    """What a person wrote over our words of a region stays in the next run."""
    assert export(real, "xmp", "good.jpg").exit_code == 0
    text = Path("good.jpg.xmp").read_text()
    name = text.split("<Iptc4xmpExt:Name>")[1].split("</Iptc4xmpExt:Name>")[0]
    words = name.split('x-default">')[1].split("<")[0]
    corrected = text.replace(name, name.replace(words, "Rex the dog"), 1)
    Path("good.jpg.xmp").write_text(corrected)
    assert export(real, "xmp", "good.jpg").exit_code == 0
    assert Path("good.jpg.xmp").read_text().count("Rex the dog") == 1


@pytest.mark.parametrize("rows", [40, 4000])
def test_csv_open_quote(real: Any, refused: Any, rows: int) -> None:
    """The line at which the quote opens, instead of a few captions that hold all others."""
    image("data/a.png")
    lines = [f"a.png,a thing number {number}" for number in range(rows)]
    lines[8] = 'a.png,"a thing that is not closed'
    Path("data/train.csv").write_text("photo,caption\n" + "\n".join(lines) + "\n")
    result = train(real, "data", "o")
    refused(result, "train.csv:10: a quote opens here and is not closed in its row")


def test_drawn_letters(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters that no font has are told, with the way to name a font; never silent squares."""
    labels._font_file.cache_clear()
    labels._told_letters.clear()
    monkeypatch.delenv(labels.FONT, raising=False)
    monkeypatch.setenv("PATH", "")
    own_data("data", ["一 只 猫"])
    assert train(real, "data", "o", least_count=1).exit_code == 0
    options = ("--model", "o/model", "--engine", "torch", "--draw", "drawn")
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # as in the command, not as in tests
        result = real("align", "data/0.png", "一 只 猫", *options)
    assert result.exit_code == 0 and Path("drawn/0_regions.jpg").is_file(), (
        result.output
    )
    notes = [
        line for line in result.stderr.splitlines() if line.startswith("note: labels: ")
    ]
    assert (
        notes
        and "no installed font has the letters" in notes[0]
        and labels.FONT in notes[0]
    )
    assert len(notes) <= 3, "each letter once"
    labels._font_file.cache_clear()
    labels._told_letters.clear()


def test_few_photos_from_mini(real: Any) -> None:
    """Eight photos: their words are known, though each stands only once or twice."""
    own_data("data", ["a woman in a suit", "two cups"], photos=2)
    assert train(real, "data", "first", least_count=1).exit_code == 0
    own_data("other", ["a man in a hat"], photos=2)
    result = train(real, "other", "o", "--start", "first/model")
    assert result.exit_code == 0, result.output
    assert {"hat", "man"} <= set(words_of("o/model"))
    assert "which cover 100.0% of the photos' texts" in result.stderr


def test_five_photos(real: Any) -> None:
    """The run says how many words it knows; min_count falls where it would leave none."""
    own_data("data", ["a cat on a mat"], photos=1)
    result = train(real, "data", "o")
    assert result.exit_code == 0, result.output
    assert "min_count = 5 leaves 0 words, 0% of the photos' texts" in result.stderr
    assert "vocabulary: 4 words, which cover 100.0%" in result.stderr
    assert words_of("o/model") == ["a", "cat", "mat", "on"]


def test_iptc_caption_shadowed(real: Any) -> None:
    """A caption in EXIF (or IPTC-IIM, tests/export) stays the description, unless --replace."""
    exif = Image.Exif()
    exif[0x010E] = "Grandmother on her birthday"
    image("a.jpg", exif=exif)
    assert export(real, "xmp-copy", "a.jpg", out="out").exit_code == 0
    description = (
        b'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Grandmother on her'
    )
    assert description in (find_packet(Path("out/a.jpg").read_bytes()) or b"")
    assert (
        export(real, "xmp-copy", "a.jpg", out="new", more=["--replace"]).exit_code == 0
    )
    assert b"Grandmother" not in (find_packet(Path("new/a.jpg").read_bytes()) or b"")


def test_labelstudio_other_shapes(real: Any, refused: Any) -> None:
    """Polygons and ellipses become the box around them; what is left out is told with its task."""
    size = {"original_width": 64, "original_height": 48, "from_name": "shape"}
    polygon = {"points": [[10, 10], [50, 20], [20, 50]], "polygonlabels": ["a hat"]}
    ellipse = {
        "x": 50,
        "y": 50,
        "radiusX": 10,
        "radiusY": 20,
        "ellipselabels": ["a cup"],
    }
    results = [
        {"type": "polygonlabels", "value": polygon, **size},
        {"type": "ellipselabels", "value": ellipse, **size},
        {"type": "choices", "from_name": "c", "value": {"choices": ["indoors"]}},
    ]
    task = {
        "id": 3,
        "data": {"image": "good.jpg"},
        "annotations": [{"result": results}],
    }
    Path("e.json").write_text(json.dumps([task]))
    result = real("import", "e.json", "--photos", ".", "--out", "m.jsonl")
    assert "task 3" in result.stderr and "choices" in result.stderr, result.output
    row = json.loads(Path("m.jsonl").read_text())
    boxes = {
        box["phrase"]: [round(value, 1) for value in box["box"]] for box in row["boxes"]
    }
    assert boxes == {"a hat": [6.4, 4.8, 32.0, 24.0], "a cup": [25.6, 14.4, 38.4, 33.6]}
    Path("e.json").write_text(json.dumps([task | {"data": {"scan": 1, "page": 2}}]))
    refused(real("import", "e.json", "--photos", ".", "--out", "n.jsonl"), "scan, page")


def test_link_loop(real: Any) -> None:
    """A link to a folder above is not gone into again; a link to a photo is that photo."""
    for seed, name in enumerate(("pics/2024/a.jpg", "pics/b.jpg")):
        image(name, seed)
    Path("pics/favourites").mkdir()
    Path("pics/2024/all").symlink_to("..")
    Path("pics/favourites/b.jpg").symlink_to("../b.jpg")
    result = real(
        "index", "add", "pics", "--index", "i", "--captions", "0", "--model", "tiny"
    )
    assert result.exit_code == 0 and "2 added" in result.output, result.output


def test_mwg_things_become_people(real: Any) -> None:
    """Programs make a person of each MWG region with a name: ours are IPTC's, or have none."""
    assert export(real, "xmp", "good.jpg").exit_code == 0
    text = Path("good.jpg.xmp").read_text()
    assert "mwg-rs:Regions" not in text and "imageregionrole/subjectArea" in text
    assert export(real, "xmp", "good.jpg", more=["--mwg"]).exit_code == 0
    text = Path("good.jpg.xmp").read_text()
    assert "mwg-rs:Regions" in text and "mwg-rs:Name" not in text
    assert text.count("<mwg-rs:Description>") > 0


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        pytest.param(
            "\U0001f431\U0001f680", "expected words of letters or digits", id="emoji"
        ),
        pytest.param("\U0001f642!", "expected words of letters or digits", id="a mark"),
    ],
)
def test_odd_captions_without_words(real: Any, caption: str, message: str) -> None:
    own_data("data", [caption])
    result = train(real, "data", "o")
    assert result.exit_code == 2, result.output
    (line,) = [
        line for line in result.stderr.splitlines() if line.startswith("regiontalk: ")
    ]
    assert message in line


def test_odd_captions(real: Any) -> None:
    """<unk> is no word "unk"; very long captions are told."""
    own_data(
        "data",
        ["a <unk> in front of a <unk>", "<start> a dog <end>", "a dog runs " * 250],
    )
    result = train(real, "data", "o", least_count=1)
    assert result.exit_code == 0, result.output
    assert not {"unk", "start", "end"} & set(words_of("o/model"))
    assert "marks of another tool, such as <unk>" in result.stderr
    assert "100 words" in result.stderr


@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_odd_files_long_texts(real: Any, kind: str) -> None:
    texts = PngImagePlugin.PngInfo()
    if kind == "zTXt":
        texts.add_text("workflow", "x" * 3_000_000, zip=True)
    else:
        texts.add_itxt("workflow", "x" * 3_000_000, zip=True)
    image("p/a.png", pnginfo=texts)
    image("p/noeoi.jpg")
    Path("p/noeoi.jpg").write_bytes(Path("p/noeoi.jpg").read_bytes()[:-2])
    result = real("caption", "p", "--regions", "0", "--model", "tiny")
    assert result.exit_code == 0 and "p/noeoi.jpg" in result.stdout, result.output


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        pytest.param("एक महिला वर्दी में", ["एक", "महिला", "में", "वर्दी"], id="Hindi"),
        pytest.param("a cafe\u0301", ["a", "caf\u00e9"], id="decomposed"),
    ],
)
def test_other_scripts(real: Any, sentence: str, words: list[str]) -> None:
    """Vowel signs and accents stay part of their word."""
    own_data("data", [sentence])
    assert train(real, "data", "o", least_count=1).exit_code == 0
    assert sorted(words_of("o/model")) == words
    result = real("caption", "data/0.png", "--model", "o/model", "--regions", "0")
    assert result.exit_code == 0 and any(word in result.stdout for word in words)


def test_other_scripts_without_blanks(real: Any) -> None:
    own_data("data", ["一只猫看着镜头微笑"])
    result = train(real, "data", "o", least_count=1)
    assert "without blanks" in result.stderr, result.output


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        pytest.param("img\\x.png", "img/x.png", id="backslash"),
        pytest.param(
            "img/K\u00e4fer.png", "img/Ka\u0308fer.png", id="NFC, stored as NFD"
        ),
        pytest.param("IMG/X.PNG", "img/x.png", id="letter case"),
    ],
)
def test_photo_paths(real: Any, written: str, stored: str) -> None:
    image(f"data/{stored}")
    write_lines("data/train.jsonl", {"photo": written, "caption": "a dog"})
    result = train(real, "data", "o", least_count=1)
    assert result.exit_code == 0 and "1 photos, 1 captions" in result.stderr, (
        result.output
    )


def test_photo_paths_of_no_photo(real: Any, refused: Any) -> None:
    Path("data").mkdir()
    write_lines("data/train.jsonl", {"photo": "img/x.png", "caption": "a dog"})
    result = train(real, "data", "o")
    assert result.exit_code == 2 and "got 0 photos" in result.stderr, result.output


PREDICTIONS = [
    {"image_id": number, "caption": f"a dog {number}"} for number in range(1, 5)
]


def predictions(fourth: Any) -> str:
    """Four predictions, of which the last has another caption."""
    return json.dumps([*PREDICTIONS[:3], {"image_id": 4, "caption": fourth}])


def with_ids(change: Any) -> str:
    """The predictions with their ids in another form."""
    return json.dumps(
        [row | {"image_id": change(row["image_id"])} for row in PREDICTIONS]
    )


TABLE = "".join(f"{row['image_id']};{row['caption']}\r\n" for row in PREDICTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("\n".join(map(json.dumps, PREDICTIONS)), "", id="lines"),
        pytest.param("\ufeffimage_id;caption\r\n" + TABLE, "", id="a table"),
        pytest.param(with_ids(float), "", id="floats"),
        pytest.param(with_ids("{:012}".format), "", id="padded"),
        pytest.param(
            json.dumps({"annotations": PREDICTIONS, "images": []}), "", id="wrapped"
        ),
        pytest.param(
            predictions(float("nan")),
            "entry 4, image_id 4: caption: expected",
            id="nan",
        ),
        pytest.param(
            predictions(["a dog"]), "entry 4, image_id 4: caption: exp", id="listed"
        ),
        pytest.param(
            '[{"image_id": 1, "text": "a"}]', "got image_id, text", id="text key"
        ),
    ],
)
def test_predictions_files(real: Any, refused: Any, text: str, message: str) -> None:
    references = [
        {"image_id": number, "caption": "a dog runs"} for number in range(1, 5)
    ]
    Path("p.json").write_text(text)
    Path("refs.json").write_text(json.dumps({"annotations": references, "images": []}))
    result = real(
        "evaluate", "captions", "--predictions", "p.json", "--references", "refs.json"
    )
    if message:
        refused(result, message)
    else:
        assert result.exit_code == 0 and "predictions: 4" in result.output, (
            result.output
        )


def test_ptb_combining_marks(real: Any) -> None:
    """Tokens as the Stanford tokenizer's: two sentences that share no four words have BLEU-4 0."""
    prediction, reference = "मेज़ पर कॉफ़ी है।", "मेज़ पर एक कप है।"
    assert ptb_tokenize(prediction) == ["मेज़", "पर", "कॉफ़ी", "है", "।"]
    Path("p.json").write_text(json.dumps([{"image_id": 1, "caption": prediction}]))
    Path("refs.json").write_text(json.dumps({"1": [reference]}))
    command = (
        "evaluate",
        "captions",
        "--predictions",
        "p.json",
        "--references",
        "refs.json",
    )
    assert real(*command, "--json", "out.json").exit_code == 0
    assert (
        json.loads(Path("out.json").read_text())["results"][0]["figures"][
            "predictions"
        ]["BLEU-4"]["value"]
        < 1e-3
    )


def test_region_only(real: Any) -> None:
    """Phrases of boxes without a sentence of the photo can be trained on.

    Their words are known.
    """
    own_data("data", [], [{"box": [0, 0, 30, 30], "phrase": "a red ball"}])
    more = PHRASES
    Path("r.toml").write_text(
        RECIPE.format(least_count=1, batch=4, steps=2).split("[joint]")[0] + more
    )
    result = real("train", "generate", "r.toml", "--data", "data", "--out", "o")
    assert result.exit_code == 0, result.output
    assert words_of("o/model") == ["a", "ball", "red"]


def test_resume_changed(real: Any, refused: Any) -> None:
    """The message names the setting; longer training goes on; other photos are named."""
    own_data("data", ["a dog"])
    assert train(real, "data", "o", least_count=1).exit_code == 0
    result = train(real, "data", "o", least_count=1, batch=3)
    assert result.exit_code == 2 and "joint.batch 4 -> 3" in result.stderr, (
        result.output
    )
    assert result.stderr.count("4 -> 3") == 1
    own_data("data", ["a dog"], photos=5)
    result = train(real, "data", "o", least_count=1)
    assert result.exit_code == 0 and "1 photo added" in result.stderr, result.output


def test_sidecar_hides_embedded(real: Any) -> None:
    """A first sidecar takes over what is inside the photo: description, rating, named faces."""
    image("party.jpg")
    Path("party.jpg").write_bytes(
        with_packet(Path("party.jpg").read_bytes(), MWG_FACES)
    )
    assert export(real, "xmp", "party.jpg").exit_code == 0
    text = Path("party.jpg.xmp").read_text()
    assert PEOPLES_WORDS in text and "<mwg-rs:Name>Aunt B.<" in text
    assert "<xmp:Rating>5<" in text and "ImageRegion" in text


def test_sidecar_symlink(real: Any) -> None:
    """The file behind a link is written, and keeps its mode."""
    Path("annex").mkdir()
    Path("annex/real.xmp").write_bytes(MWG_FACES)
    Path("annex/real.xmp").chmod(0o640)
    Path("good.jpg.xmp").symlink_to("annex/real.xmp")
    assert export(real, "xmp", "good.jpg").exit_code == 0
    assert (
        Path("good.jpg.xmp").is_symlink()
        and "ImageRegion" in Path("annex/real.xmp").read_text()
    )
    assert Path("annex/real.xmp").stat().st_mode & 0o777 == 0o640


def test_terminals(here: Path) -> None:
    """On a terminal of another code page the letters that it lacks are escaped.

    Nothing is lost.
    """
    for name in ("pics/K\u00e4fer.png", "pics/z.png", "pics/\u65e5\u672c.png"):
        image(name)
    code = "from regiontalk.cli.main import app; app()"
    arguments = ["caption", "pics", "--regions", "0", "--model", "tiny"]
    completed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        env={"PYTHONIOENCODING": "cp1252", "PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    text = completed.stdout.decode("cp1252")
    assert "K\u00e4fer.png" in text and "z.png" in text and "\\u65e5\\u672c.png" in text


def test_xmp_full_jpeg(real: Any) -> None:
    """A packet that is full already: a sidecar is offered; a sidecar in UTF-16 is read."""
    ancestors = "".join(
        f"<rdf:li>xmp.did:{number:032}</rdf:li>" for number in range(1125)
    )
    full = MWG_FACES.replace(
        b"<xmp:Rating>5</xmp:Rating>",
        b'<p:DocumentAncestors xmlns:p="http://ns.adobe.com/photoshop/1.0/"><rdf:Bag>'
        + ancestors.encode()
        + b"</rdf:Bag></p:DocumentAncestors>",
    )
    image("full.jpg")
    Path("full.jpg").write_bytes(with_packet(Path("full.jpg").read_bytes(), full))
    result = export(real, "xmp-copy", "full.jpg", out="o", more=["--replace"])
    assert result.exit_code == 2 and not Path("o/full.jpg").exists(), result.output
    assert "of them are there already; write a sidecar instead" in result.stderr
    assert "--regions" not in result.stderr
    sidecar = packet(ImageResult("c.jpg", (2, 2), "m"), Texts("Our dog Rex.")).decode()
    Path("good.jpg.xmp").write_text(sidecar, encoding="utf-16")
    assert export(real, "xmp", "good.jpg").exit_code == 0
    assert "Our dog Rex." in Path("good.jpg.xmp").read_text(encoding="utf-8")
