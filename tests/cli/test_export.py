"""``regiontalk export`` and ``import``.

Every format from photos to files, and the users' mistakes.
"""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from regiontalk.cli.export import DOCUMENTS, FOLDERS, FORMATS, Wording
from regiontalk.datasets.folder import read_folder
from regiontalk.export.embed import find_packet


@pytest.mark.parametrize(
    ("format", "out", "files"),
    [
        ("xmp", "x", ["x/a.png.xmp", "x/b.jpg.xmp"]),
        ("xmp-copy", "x", ["x/a.png", "x/b.jpg"]),
        ("coco", "x/a.json", ["x/a.json"]),
        ("genome", "x", ["x/image_data.json", "x/region_descriptions.json"]),
        ("w3c", "x/a.json", ["x/a.json"]),
        ("label-studio", "./tasks.json", ["tasks.json", "tasks.xml"]),
        ("cvat", "boxes.xml", ["boxes.labels.json", "boxes.xml"]),
        ("csv", "x/a.csv", ["x/a.csv"]),
        ("gallery", "x", ["x/index.html", "x/photos/a.jpg", "x/photos/b.jpg"]),
    ],
)
def test_formats(run: Any, format: str, out: str, files: list[str]) -> None:
    before = {path for path in Path().rglob("*") if path.is_file()}
    photos = {name: Path(name).read_bytes() for name in ("a.png", "b.jpg")}
    result = run("export", format, "a.png", "b.jpg", "--out", out)
    assert result.exit_code == 0 and result.stdout == "", result.output
    made = {path for path in Path().rglob("*") if path.is_file()} - before
    assert sorted(path.as_posix() for path in made) == files
    assert any(b"a corner" in path.read_bytes() for path in made)
    assert {name: Path(name).read_bytes() for name in photos} == photos


def test_the_table_of_formats_is_whole(run: Any) -> None:
    assert set(DOCUMENTS) | set(FOLDERS) | {"coco"} == set(FORMATS)


def test_one_box_a_thing(run: Any, captioner: Any) -> None:
    for options, count in (
        ([], 1),
        (["--all-boxes"], 19),
        (["--regions", "3", "--all-boxes"], 2),
        (["--min-confidence", ".3"], 0),
    ):
        assert (
            run("export", "coco", "a.png", "--out", "a.json", *options).exit_code == 0
        )
        rows = json.loads(Path("a.json").read_text())["annotations"]
        assert len([row for row in rows if row["caption"] == "a corner"]) == count
        assert ("all boxes" in captioner.calls[-1]) == ("--all-boxes" in options), (
            "what the captioner was asked for"
        )


def test_photos_that_fail_leave_the_others(run: Any) -> None:
    result = run("export", "coco", "album", "--out", "a.json")
    assert result.exit_code == 1 and "album/middle.jpg" in result.stderr
    assert len(json.loads(Path("a.json").read_text())["images"]) == 2
    Image.new("RGB", (40, 30)).save("album/a.gif")
    Path("album/middle.jpg").unlink()
    result = run("export", "xmp-copy", "album", "--out", "x")
    assert (
        result.exit_code == 1
        and "a.gif: XMP can be written into JPEG, PNG and WebP files only"
        in result.stderr
    )
    assert sorted(path.name for path in Path("x").iterdir()) == ["one.png", "two.PNG"]


def test_texts_that_are_there(run: Any) -> None:
    assert run("export", "xmp-copy", "b.jpg", "--out", "x").exit_code == 0
    Path("again.jpg").write_bytes(
        Path("x/b.jpg")
        .read_bytes()
        .replace(b"A plain wall. On", b"Somebody wrote On"[:16])
    )
    for options, kept in (([], True), (["--replace"], False)):
        assert (
            run("export", "xmp-copy", "again.jpg", "--out", "y", *options).exit_code
            == 0
        )
        packet = find_packet(Path("y/again.jpg").read_bytes()) or b""
        assert (b"Somebody wrote" in packet) == kept


@pytest.mark.parametrize("several", [False, True])
def test_from_results(run: Any, captioner: Any, several: bool) -> None:
    photos = ["a.png", "b.jpg"] if several else ["a.png"]
    Path("said.json").write_text(run("caption", *photos, "--json").stdout)
    captioner.calls.clear()
    assert (
        run("export", "csv", "--results", "said.json", "--out", "a.csv").exit_code == 0
    )
    assert captioner.calls == [] and len(
        Path("a.csv").read_text().splitlines()
    ) == 1 + 2 * len(photos)


PAGE = (
    b'<p><img src="../a.png"><img src="one.png"><img src="gone.png">'
    b'<img src="one.png" alt="mine">\r\n'
)


@pytest.mark.parametrize(
    ("out", "page"),
    [("web", "web/album/p.html"), (".", "album/p.html")],
    ids=["copy", "in place"],
)
def test_html(run: Any, captioner: Any, out: str, page: str) -> None:
    Path("album/p.html").write_bytes(PAGE + "é".encode("latin-1"))
    Path("plain.html").write_text("no pictures")
    result = run("export", "html", ".", "--out", out, "--limit", "20")
    assert result.exit_code == 0, result.output
    text = (
        b'<p><img alt="A plain wall." src="../a.png">'
        b'<img alt="A plain wall." src="one.png"><img src="gone.png">'
    )
    assert Path(
        page
    ).read_bytes() == text + b'<img src="one.png" alt="mine">\r\n' + "é".encode(
        "latin-1"
    )
    assert not Path("web/plain.html").exists() and "2 alt texts" in result.stderr
    asked = [
        name
        for call in captioner.calls
        if call[0] == "caption_many"
        for name in call[1]
    ]
    assert sorted(asked) == ["a.png", "one.png"]  # each once
    run("export", "html", ".", "--out", out, "--limit", "20", "--replace")
    assert b'alt="mine"' not in Path(page).read_bytes()


def test_accepted_texts(run: Any) -> None:
    said = hashlib.sha256(Path("a.png").read_bytes()).hexdigest()
    texts = [
        {"photo": "image.png", "sha256": said, "alt": "Mine <&>."},
        {"photo": "gone.jpg", "alt": "Lost."},
    ]
    Path("alt-texts.json").write_text(json.dumps(texts))
    arguments = ["--texts", "alt-texts.json", "--limit", "20"]
    for format, made in (
        ("xmp", "x/a.png.xmp"),
        ("xmp-copy", "x/a.png"),
        ("gallery", "g/index.html"),
    ):
        result = run(
            "export", format, "a.png", "b.jpg", "--out", made.split("/")[0], *arguments
        )
        assert (
            result.exit_code == 0
            and "--texts: no photo found for gone.jpg" in result.stderr
        ), result.output
        assert b"Mine &lt;&amp;&gt;." in Path(made).read_bytes()
    # without a text of its own
    assert b"A plain wall." in Path("x/b.jpg.xmp").read_bytes()
    Path("p.html").write_bytes(b'<img src="a.png"><img src="b.jpg">')
    assert run("export", "html", ".", "--out", ".", *arguments).exit_code == 0
    wanted = b'<img alt="Mine &lt;&amp;&gt;." src="a.png"><img alt="A plain wall." src="b.jpg">'
    assert Path("p.html").read_bytes() == wanted


def test_a_gallery_and_drawings_have_the_colours_of_the_photo(run: Any) -> None:
    """A profile is applied, as the new file has none."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    blue = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    blue = (
        blue.replace(b"rXYZ", b"tXYZ")
        .replace(b"bXYZ", b"rXYZ")
        .replace(b"tXYZ", b"bXYZ")
    )
    Image.new("RGB", (400, 300), "red").save("red.png", icc_profile=blue)
    Image.new("RGB", (400, 300), "red").save("odd.png", icc_profile=profile)
    assert run("export", "gallery", "red.png", "odd.png", "--out", "g").exit_code == 0
    assert run("caption", "red.png", "--regions", "0", "--draw", "drawn").exit_code == 0
    for path, channel in (
        ("g/photos/red.jpg", 2),
        ("g/photos/odd.jpg", 0),
        ("drawn/red_regions.jpg", 2),
    ):
        with Image.open(path) as picture:
            colour = picture.getpixel((picture.width // 2, 200))
        assert (
            isinstance(colour, tuple)
            and colour[channel] > 200 > sum(colour) - colour[channel]
        )


def test_html_unsure(run: Any) -> None:
    Path("album/p.html").write_bytes(PAGE)
    result = run("export", "html", "album", "--out", "web", "--min-confidence", "0.9")
    assert (
        result.exit_code == 0
        and "1 of 1 pictures have no alt text" in result.stderr
        and not Path("web").exists()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["yaml", "a.png", "--out", "x"],
            "format: expected one of xmp, xmp-copy",
            id="format",
        ),
        pytest.param(
            ["coco", "a.png", "--out", "album"],
            "--out album: expected the name of a file",
            id="folder",
        ),
        pytest.param(
            ["gallery", "a.png", "--out", "b.jpg"],
            "--out b.jpg: expected a folder for gallery",
            id="file",
        ),
        pytest.param(
            ["coco", "--out", "x"], "expected photos or --results FILE", id="nothing"
        ),
        pytest.param(
            ["csv", "a.png", "--results", "a.png", "--out", "x"],
            "either of them",
            id="both",
        ),
        pytest.param(
            ["csv", "--results", "b.jpg", "--out", "x"],
            "--results b.jpg",
            id="no results",
        ),
        pytest.param(
            ["csv", "--results", "gone.json", "--out", "x"],
            "gone.json",
            id="results that are not there",
        ),
        pytest.param(
            ["html", "a.png", "--out", "x"],
            "html: expected one folder that holds HTML pages",
            id="no site",
        ),
        pytest.param(
            ["html", "album", "--out", "x"],
            "album: no page in this folder",
            id="no page",
        ),
        pytest.param(
            ["xmp-copy", "a.png", "--out", "."],
            "would replace the photo",
            id="the photo itself",
        ),
        pytest.param(
            ["label-studio", "a.png", "--out", "t.xml"],
            "expected a name such as tasks.json",
            id="xml",
        ),
        pytest.param(
            ["coco", "gone.png", "--out", "x"],
            "gone.png: no such photo",
            id="no such photo",
        ),
        pytest.param(
            ["coco", "a.png", "--out", "x", "--texts", "t"],
            "--texts: expected one of xmp",
            id="no alts",
        ),
        pytest.param(
            ["xmp", "a.png", "--out", "x", "--texts", "gone.json"],
            "gone.json",
            id="no texts",
        ),
        pytest.param(
            ["xmp", "a.png", "--out", "x", "--texts", "b.jpg"],
            "--texts b.jpg",
            id="not texts",
        ),
        pytest.param(
            ["label-studio", "a.png", "--out", "x/t.json"],
            "choose --out above the photos",
            id="not above",
        ),
    ],
)
def test_mistakes(
    run: Any, refused: Any, captioner: Any, arguments: list[str], message: str
) -> None:
    refused(run("export", *arguments), message)
    assert not Path("x").exists()
    if "label-studio" in arguments:
        assert captioner.calls == []  # before a model is loaded


def test_a_photo_that_is_not_above_stops_before_the_model(
    run: Any, refused: Any, captioner: Any
) -> None:
    refused(
        run(
            "export", "label-studio", "album/one.png", "a.png", "--out", "album/t.json"
        ),
        "choose --out above",
    )
    assert captioner.calls == []


@pytest.mark.parametrize("format", [*DOCUMENTS, "gallery"])
def test_a_name_that_no_document_can_hold(run: Any, format: str) -> None:
    try:
        Path("album/b\udcff.png").write_bytes(Path("a.png").read_bytes())
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    Path("album/middle.jpg").unlink()
    result = run(
        "export", format, "album", "--out", "x" if format in FOLDERS else "t.json"
    )
    assert result.exit_code == 1 and "1 of 3 photos failed" in result.stderr, (
        result.output
    )
    assert "expected a name in UTF-8" in result.stderr
    made = [*Path().glob("t.json"), *Path().glob("x/*.json"), *Path().glob("x/*.html")]
    assert made and any("one.png" in path.read_text() for path in made)


@pytest.mark.parametrize(
    ("format", "name"), [("xmp", "one.png.xmp"), ("xmp-copy", "one.png")]
)
def test_photos_of_one_name(run: Any, format: str, name: str) -> None:
    Path("other").mkdir()
    Image.new("RGB", (50, 40)).save("other/one.png")
    result = run("export", format, "album/one.png", "other/one.png", "--out", "x")
    assert result.exit_code == 1
    assert (
        f"other/one.png: a photo of this name was written to x/{name} already; export each"
        in result.stderr
    )
    assert run("export", format, "album/one.png", "--out", "y").exit_code == 0
    assert Path("x", name).read_bytes() == Path("y", name).read_bytes()
    # again, in a run of its own
    assert run("export", format, "album/one.png", "--out", "x").exit_code == 0


def test_a_copy_does_not_replace_another_photo(run: Any, refused: Any) -> None:
    Path("other").mkdir()
    Image.new("RGB", (50, 20)).save("other/one.png")
    before = Path("other/one.png").read_bytes()
    refused(
        run("export", "xmp-copy", "album/one.png", "--out", "other"),
        "no earlier copy of this photo",
    )
    assert Path("other/one.png").read_bytes() == before


def test_a_gallery_replaces_only_a_gallery(
    run: Any, refused: Any, captioner: Any
) -> None:
    Path("trip/photos").mkdir(parents=True)
    Image.new("RGB", (50, 20)).save("trip/photos/a.jpg")
    before = Path("trip/photos/a.jpg").read_bytes()
    refused(
        run("export", "gallery", "trip/photos", "--out", "trip"),
        "expected no files beside a gallery",
    )
    refused(
        run("export", "gallery", "a.png", "--out", "trip"),
        "expected no files beside a gallery",
    )
    Path("album/index.html").write_text("<h1>My site</h1>")
    refused(
        run("export", "gallery", "a.png", "--out", "album"),
        "got another page; choose another --out",
    )
    assert captioner.calls == [] and Path("trip/photos/a.jpg").read_bytes() == before
    for _ in range(2):
        assert run("export", "gallery", "a.png", "--out", "web").exit_code == 0
    captioner.calls.clear()
    refused(
        run("export", "gallery", "a.png", "web/photos/a.jpg", "--out", "web"),
        "expected a photo outside web/photos",
    )
    assert captioner.calls == []
    Path("web/photos/b.jpg").hardlink_to("b.jpg")
    refused(
        run("export", "gallery", "b.jpg", "--out", "web"),
        "the gallery's picture would replace the photo",
    )


def test_a_page_that_cannot_be_read_leaves_the_others(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("album/a.html").write_bytes(b"<p>\n<![foo[ <img src=one.png>")
    Path("album/p.html").write_bytes(PAGE)

    def give_up(
        *_: object,
    ) -> int:  # as Python's own does until 3.13; later it takes this for a comment
        raise AssertionError("unknown status keyword")

    monkeypatch.setattr(HTMLParser, "parse_html_declaration", give_up)
    result = run("export", "html", "album", "--out", "web")
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if "a.html" in line]
    assert line.startswith("regiontalk: album/a.html: line 2: cannot be read as HTML")
    assert (
        b"alt=" in Path("web/p.html").read_bytes() and not Path("web/a.html").exists()
    )


def test_a_page_stays_in_its_encoding(
    run: Any, captioner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wording, "alt", lambda *_: "a café…")
    for ending, encoding in (("", "ascii"), ("é", "utf-8"), ("é", "latin-1")):
        Path("album/p.html").write_bytes(
            f'<img src="one.png">{ending}'.encode(encoding)
        )
        assert run("export", "html", "album", "--out", "web").exit_code == 0
        wanted = f'<img alt="a caf&#233;&#8230;" src="one.png">{ending}'.encode(
            encoding
        )
        assert Path("web/p.html").read_bytes() == wanted


def corrected() -> None:
    """Tasks of a.png as Label Studio exports them after somebody changed a phrase."""
    found = json.loads(Path("tasks.json").read_text())
    for task in found:
        (prediction,) = task.pop("predictions")
        for piece in prediction["result"]:
            if piece["from_name"] == "phrase":
                piece["value"]["text"] = ["a grey corner"]
        task["annotations"] = [{"result": prediction["result"]}]
    Path("export.json").write_text(json.dumps(found))


def test_there_and_back(run: Any) -> None:
    assert (
        run(
            "export", "label-studio", "a.png", "album/one.png", "--out", "tasks.json"
        ).exit_code
        == 0
    )
    corrected()
    result = run("import", "export.json", "--photos", ".", "--out", "mine/train.jsonl")
    assert result.exit_code == 0, result.output
    examples, report = read_folder(Path("mine"), "train")
    assert not [line for line in report.lines() if "missing" in line or "bad" in line]
    assert [example.photo.resolve() for example in examples] == [
        Path("a.png").resolve(),
        Path("album/one.png").resolve(),
    ]
    for example in examples:
        assert example.captions == ("a plain wall",) and example.size_wh == (40, 30)
        assert example.boxes_xyxy.tolist() == [[0, 0, 5, 6]]
        assert [(phrase.text, phrase.boxes) for phrase in example.phrases] == [
            ("a grey corner", (0,))
        ]


def test_photos_that_are_not_there(run: Any) -> None:
    run("export", "label-studio", "a.png", "--out", "tasks.json")
    corrected()
    result = run("import", "export.json", "--photos", "album", "--out", "train.jsonl")
    assert result.exit_code == 1 and "not below album: a.png" in result.stderr


@pytest.mark.parametrize(
    ("text", "out", "message"),
    [
        pytest.param("no json", "t.jsonl", "e.json: expected", id="no JSON"),
        pytest.param(
            "{}",
            "t.jsonl",
            "e.json: expected a Label Studio export",
            id="another document",
        ),
        pytest.param(
            '[{"data": {"photo": "a"}}]',
            "t.jsonl",
            "got none; task 1: nobody has annotated it",
            id="nothing",
        ),
        pytest.param(
            "[]",
            "t.csv",
            "--out t.csv: expected a name that ends in .jsonl",
            id="another suffix",
        ),
    ],
)
def test_import_mistakes(
    run: Any, refused: Any, text: str, out: str, message: str
) -> None:
    Path("e.json").write_text(text)
    refused(run("import", "e.json", "--photos", ".", "--out", out), message)
    assert not Path(out).exists()
