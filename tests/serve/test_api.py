"""The API as a client sees it: what it answers, and what it refuses in which words."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.index.store import LibraryError
from regiontalk.records import ImageResult
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits

HERE = "http://127.0.0.1:8765"
Ask = Callable[..., Any]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("caption", {"regions": 4, "threshold": 0}, id="caption"),
        pytest.param(
            "caption",
            {"boxes": [[0, 0, 40, 30], [10, 10, 90, 60]], "beams": 1},
            id="boxes",
        ),
        pytest.param("align", {"sentence": "a red dog sits"}, id="align"),
        pytest.param("locate", {"phrase": "red dog", "k": 2}, id="locate"),
        pytest.param("narrate", {"limit": 60, "neutral": True}, id="narrate"),
    ],
)
def test_form_and_json_say_the_same(
    ask: Ask, client: TestClient, picture: bytes, path: str, fields: Any
) -> None:
    form = ask(
        path,
        **{
            key: str(value) if isinstance(value, list) else value
            for key, value in fields.items()
        },
    )
    body = {"photo": base64.b64encode(picture).decode(), **fields}
    plain = client.post(f"/v1/{path}", json=body)
    assert form.status_code == plain.status_code == 200, (form.text, plain.text)
    assert form.json() | {"photo": ""} == plain.json() | {"photo": ""}
    assert form.json()["photo"] == "a.png" and plain.json()["photo"] == "photo"
    assert ImageResult.from_dict(form.json()).size_wh == (90, 60)


def test_captions_are_the_captioners(
    ask: Ask, captioner: RegionCaptioner, picture: bytes
) -> None:
    wanted = captioner.caption(picture, regions=3, threshold=0.0).to_dict()
    assert ask("caption", regions=3, threshold=0).json() == wanted | {"photo": "a.png"}


@pytest.mark.parametrize("is_json", [False, True], ids=["form", "json"])
def test_the_old_name_of_a_field_works_and_warns(
    ask: Ask, client: TestClient, picture: bytes, is_json: bool
) -> None:
    encoded = base64.b64encode(picture).decode()

    def text(**fields: Any) -> str:
        if is_json:
            fields["photo"] = encoded
            answer = client.post("/v1/narrate", json=fields)
        else:
            answer = ask("narrate", **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["alt_text"])

    assert text(min_confidence=0) and not text(min_confidence=1)
    with pytest.warns(FutureWarning, match="key least is now min_confidence"):
        assert text(least=0) == text(min_confidence=0)
    with pytest.warns(FutureWarning, match="key least is now min_confidence"):
        assert text(least=1) == text(min_confidence=1)


def test_align_shows_the_matrix_behind_its_choice(ask: Ask) -> None:
    found = ask("align", sentence="a red dog", looks="true").json()
    matrix = found["matrix"]
    assert matrix["words"] == ["a", "red", "dog"] == found["looks"]["words"]
    for match, row in zip(found["matches"], matrix["scores"], strict=True):
        assert match["box"] == matrix["boxes"][row.index(max(row))] and match[
            "score"
        ] == max(row)
    assert ask("align", sentence="a red dog").json()["looks"] is None


@pytest.mark.parametrize(
    ("path", "field"), [("align", "sentence"), ("locate", "phrase")]
)
def test_words_that_the_model_does_not_know_are_named(
    ask: Ask, path: str, field: str
) -> None:
    assert ask(path, **{field: "a Zyx dog, zyx qqq"}).json()["unknown_words"] == [
        "zyx",
        "qqq",
    ]
    assert ask(path, **{field: "a red dog"}).json()["unknown_words"] == []


def test_it_says_what_it_is(client: TestClient, captioner: RegionCaptioner) -> None:
    about = client.get("/v1/models").json()
    assert (
        about["models"][0]["name"] == "tiny"
        and about["models"][0]["licence"] == "Free."
    )
    assert about["library"] is None and about["limits"]["upload_bytes"] == 200_000
    assert client.get("/healthz").json() == {"status": "ok"}


def test_metrics_count_answers(ask: Ask, client: TestClient) -> None:
    ask("caption", regions=0)
    text = client.get("/metrics").text
    assert 'regiontalk_requests_total{path="/v1/caption",status="200"}' in text
    assert (
        "regiontalk_batch_photos_count" in text
        and "process_resident_memory_bytes" in text
    )


def test_openapi_describes_both_ways_in(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/caption",
        "/v1/align",
        "/v1/locate",
        "/v1/search",
        "/v1/narrate",
        "/v1/models",
    } <= set(paths)
    assert {"404", "405", "503"} <= set(paths["/v1/search"]["post"]["responses"])
    content = paths["/v1/caption"]["post"]["requestBody"]["content"]
    assert (
        content["multipart/form-data"]["schema"]["properties"]["photo"]["format"]
        == "binary"
    )
    assert (
        content["application/json"]["schema"]["properties"]["photo"]["contentEncoding"]
        == "base64"
    )


def test_the_page_is_there_and_needs_nothing_else(client: TestClient) -> None:
    answer = client.get("/")
    assert (
        answer.status_code == 200
        and "RegionTalk" in answer.text
        and "//" not in answer.text.partition("<body")[0]
    )
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def jpeg(size_wh: tuple[int, int]) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size_wh, "teal").save(target, "JPEG")
    return target.getvalue()


@pytest.mark.parametrize(
    ("path", "fields", "status", "reason"),
    [
        pytest.param(
            "caption", {"photo": b"words"}, 422, "a.png: not a picture", id="no picture"
        ),
        pytest.param("caption", {"photo": b""}, 422, "photo: ", id="empty file"),
        pytest.param(
            "caption",
            {"photo": jpeg((300, 200))[:-400]},
            422,
            "cut short",
            id="cut short",
        ),
        pytest.param(
            "caption",
            {"photo": jpeg((1200, 900))},
            422,
            "1,080,000 pixels",
            id="too many pixels",
        ),
        pytest.param(
            "caption",
            {"photo": bytes(300_000)},
            413,
            "at most 200,000 bytes",
            id="too large",
        ),
        pytest.param(
            "caption", {"regions": 101}, 422, "regions: ", id="too many regions"
        ),
        pytest.param(
            "caption", {"regions": "ten"}, 422, "regions: ", id="regions in letters"
        ),
        pytest.param("caption", {"beams": 0}, 422, "beams: ", id="no beam"),
        pytest.param(
            "caption", {"threshold": "nan"}, 422, "threshold: ", id="not a number"
        ),
        pytest.param(
            "caption", {"boxes": "[[0,0,9]]"}, 422, "boxes", id="three corners"
        ),
        pytest.param(
            "caption",
            {"boxes": "0,0,9,9"},
            422,
            "expected JSON",
            id="boxes that are no JSON",
        ),
        pytest.param(
            "caption",
            {"boxes": "[[9,9,1,1]]"},
            422,
            "empty or inverted",
            id="inverted box",
        ),
        pytest.param(
            "caption",
            {"boxes": "[[0,0,91,9]]"},
            422,
            "outside the photo, which is 90x60",
            id="box outside",
        ),
        pytest.param(
            "caption", {"boxes": "[[0,0,NaN,9]]"}, 422, "boxes", id="box of nothing"
        ),
        pytest.param(
            "caption",
            {"boxes": str([[0, 0, 9, 9]] * 101)},
            422,
            "boxes",
            id="too many boxes",
        ),
        pytest.param(
            "caption",
            {"boxes": "[[0,0,9,9]]", "regions": 3},
            422,
            "exclude each other",
            id="boxes, regions",
        ),
        pytest.param(
            "caption",
            {"url": "http://a/b.jpg"},
            422,
            "url: unknown key; expected one of",
            id="an address",
        ),
        pytest.param("align", {}, 422, "sentence: Field required", id="no sentence"),
        pytest.param(
            "align", {"sentence": "   "}, 422, "at least one word", id="blank sentence"
        ),
        pytest.param(
            "align",
            {"sentence": "xyz"},
            422,
            "none of its words is known",
            id="unknown words",
        ),
        pytest.param(
            "align",
            {"sentence": "dog " * 300},
            422,
            "sentence: ",
            id="endless sentence",
        ),
        pytest.param(
            "align",
            {"sentence": "dog", "beta": -1},
            422,
            "beta: ",
            id="negative smoothing",
        ),
        pytest.param("locate", {"phrase": "dog", "k": 0}, 422, "k: ", id="no place"),
        pytest.param("narrate", {"limit": 5}, 422, "limit: ", id="no room for words"),
        pytest.param(
            "search", {"text": "dog"}, 404, "start it with --index", id="no library"
        ),
        pytest.param("nothing", {}, 404, "POST /v1/nothing", id="no such request"),
    ],
)
def test_refused(ask: Ask, path: str, fields: Any, status: int, reason: str) -> None:
    answer = ask(path, **fields)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert reason in answer.json()["error"] and len(answer.json()["error"]) <= 400


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        pytest.param(b"{", "application/json", 400, "expected JSON", id="broken"),
        pytest.param(
            b"[" * 99_999, "application/json", 400, "expected JSON", id="deep"
        ),
        pytest.param(
            b"[]",
            "application/json",
            400,
            "expected a JSON object, got a list",
            id="a list",
        ),
        pytest.param(
            b"\xff\xfe\x00", "application/json", 400, "expected JSON", id="no text"
        ),
        pytest.param(
            b'{"photo": "***"}', "application/json", 422, "in base64", id="no base64"
        ),
        pytest.param(
            b'{"photo": 5}',
            "application/json",
            422,
            "photo: ",
            id="a number for a photo",
        ),
        pytest.param(
            b'{"photo": "aGk=", "\\ud800": 1}',
            "application/json",
            422,
            "unicode",
            id="half a letter",
        ),
        pytest.param(
            b"photo=1",
            "application/x-www-form-urlencoded",
            415,
            "expected multipart",
            id="other form",
        ),
        pytest.param(b"x", "", 415, "expected multipart", id="no type"),
        pytest.param(b"x", "multipart/form-data", 400, "", id="no boundary"),
        pytest.param(
            b"--b\r\nx",
            "multipart/form-data; boundary=b",
            422,
            "photo: Field",
            id="broken form",
        ),
    ],
)
def test_broken_bodies(
    client: TestClient, content: bytes, kind: str, status: int, reason: str
) -> None:
    answer = client.post("/v1/caption", content=content, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]


def test_a_path_is_not_a_photo(client: TestClient, tmp_path: Any) -> None:
    """What looks like a path is base64 or nothing; no file is opened for it."""
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    for value in (
        str(tmp_path / "secret.png"),
        "file:///etc/passwd",
        "http://127.0.0.1/a.png",
    ):
        assert client.post("/v1/caption", json={"photo": value}).status_code == 422
    form = client.post("/v1/caption", data={"photo": str(tmp_path / "secret.png")})
    assert form.status_code in (415, 422)


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        pytest.param("GET", "/v1/caption", 405, "expected POST", id="get"),
        pytest.param("PUT", "/v1/caption", 405, "expected POST", id="put"),
        pytest.param("HEAD", "/v1/caption", 405, "", id="head"),
        pytest.param("POST", "/v1/models", 405, "expected GET", id="post"),
        pytest.param("POST", "/V1/Caption", 404, "no such address", id="letter case"),
        pytest.param("GET", "/nothing.png", 404, "no such address", id="no file"),
    ],
)
def test_another_method_or_address(
    client: TestClient, method: str, path: str, status: int, reason: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert reason in answer.text
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param(
            {"boxes": [{"x": 1, "y": 2, "width": 3, "height": 4}]},
            'boxes.0: expected a box [x1, y1, x2, y2], got {"x": 1',
            id="an object for a box",
        ),
        pytest.param(
            {"boxes": [1, 2, 3, 4]},
            "boxes.0: expected a box [x1, y1, x2, y2], got 1",
            id="one box without its list",
        ),
        pytest.param(
            {"photo": [255, 216]}, "photo: expected the bytes of a photo", id="numbers"
        ),
    ],
)
def test_values_of_another_shape(
    client: TestClient, values: dict[str, Any], reason: str
) -> None:
    answer = client.post("/v1/caption", json={"photo": "aGk=", **values})
    assert answer.status_code == 422
    assert reason in answer.json()["error"]


def test_text_in_the_photo_field(client: TestClient) -> None:
    answer = client.post("/v1/caption", files={"photo": (None, "words")})
    assert (
        answer.status_code == 422
        and "expected a file, got text" in answer.json()["error"]
    )
    twice = [("photo", ("a.png", b"1")), ("photo", ("b.png", b"2"))]
    assert client.post("/v1/caption", files=twice).status_code in (400, 422)


class Library:
    """Answers as a `PhotoIndex` does, and remembers what it was asked."""

    def __init__(self, photo: str) -> None:
        self.photo, self.asked = photo, {}

    def check_model(self, captioner: Any) -> None: ...

    def __len__(self) -> int:
        return 7

    def search(self, captioner: Any, text: str | None, **asked: Any) -> list[Any]:
        self.asked = {"text": text, **asked}
        result = captioner.locate(self.photo, text or "dog")
        answer = {"score": 1.0, "answer": result.matches[0].to_dict(), "missing": False}
        found = result.to_dict() | answer | {"date": "2024-05-01T10:00:00"}
        return [
            SimpleNamespace(photo=photo, to_dict=lambda: found)
            for photo in (self.photo, "gone")
        ]


@pytest.fixture
def found(
    captioner: RegionCaptioner, picture: bytes, tmp_path: Any
) -> Iterator[tuple[TestClient, Library]]:
    (tmp_path / "a.png").write_bytes(picture)
    library: Any = Library(str(tmp_path / "a.png"))
    with TestClient(create_app(captioner, library=library), base_url=HERE) as client:
        yield client, library


def test_search(found: tuple[TestClient, Library], picture: bytes) -> None:
    client, library = found
    fields = {
        "text": "dog xyz",
        "k": 3,
        "folder": "/photos",
        "after": "2024-01-02",
        "before": "2024-02-01T10:00:00Z",
    }
    answer = client.post("/v1/search", json=fields).json()
    first, gone = answer["hits"]
    assert (
        first["thumbnail"].startswith("data:image/jpeg;base64,")
        and gone["thumbnail"] is None
    )
    assert (
        answer["unknown_words"] == ["xyz"]
        and first["answer"]["box"] == first["matches"][0]["box"]
    )
    assert (
        library.asked["k"],
        library.asked["folder"],
        str(library.asked["after"]),
    ) == (
        *(3, "/photos"),
        "2024-01-02 00:00:00",
    )
    assert library.asked["before"].tzinfo is None
    files = {"photo": ("b.png", picture)}
    like = client.post(
        "/v1/search", files=files, data={"thumbnail": 0, "boxes": "[[0, 0, 9, 9]]"}
    )
    assert like.status_code == 200 and like.json()["hits"][0]["thumbnail"] is None
    assert library.asked["photo"].size_wh == (90, 60) and list(
        map(list, library.asked["boxes"])
    ) == [[0, 0, 9, 9]]
    assert client.get("/v1/models").json()["library"] == 7


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        pytest.param(
            {"after": "0001-01-01T00:00:00+14:00"}, "after", id="before the year 1"
        ),
        pytest.param(
            {"before": "9999-12-31T23:59:59-12:00"}, "before", id="after the year 9999"
        ),
    ],
)
def test_a_time_that_cannot_be_told_here(
    found: tuple[TestClient, Library], fields: Any, key: str
) -> None:
    answer = found[0].post("/v1/search", json={"text": "dog", **fields})
    assert answer.status_code == 422 and answer.json()["error"].startswith(
        f"{key}: "
    ), answer.text


def test_a_library_that_fails_is_503_and_logged(
    captioner: RegionCaptioner, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Library):
        def search(self, captioner: Any, text: str | None, **asked: Any) -> list[Any]:
            raise LibraryError(
                "/home/me/photos.index: cannot be read (disk); rebuild it with: ..."
            )

        def __len__(self) -> int:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()  # a slow disk must not stop all other answers
            return 3

    broken: Any = Broken("a")
    with TestClient(create_app(captioner, library=broken), base_url=HERE) as client:
        answer = client.post("/v1/search", json={"text": "dog"})
        assert client.get("/v1/models").json()["library"] == 3
    assert (
        answer.status_code == 503
        and "cannot be read; the server's log says why" in answer.json()["error"]
    )
    assert "home" not in answer.text and "rebuild it with" in caplog.text


def test_a_fault_of_ours_is_500_and_says_no_more(
    captioner: RegionCaptioner, picture: bytes
) -> None:
    class Broken(Library):
        def search(self, captioner: Any, text: str | None, **asked: Any) -> list[Any]:
            raise ZeroDivisionError("secret")

    broken: Any = Broken("a")
    with TestClient(
        create_app(captioner, library=broken),
        base_url=HERE,
        raise_server_exceptions=False,
    ) as client:
        answer = client.post("/v1/search", json={"text": "dog"})
        assert answer.status_code == 500 and "secret" not in answer.text
        assert 'path="/v1/search",status="500"' in client.get("/metrics").text


def test_neither_captions_nor_pictures_are_logged(
    ask: Ask, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level("DEBUG", logger="regiontalk")
    caption = ask("caption", threshold=0).json()["caption"]["text"]
    ask("align", sentence="a red dog sits by the boat")
    written = caplog.text + "".join(capfd.readouterr())
    assert caption not in written and "boat" not in written and "a.png" not in written


@pytest.mark.parametrize(
    "name", ["upload_bytes", "pixels", "seconds", "waiting", "batch"]
)
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a number above 0, got 0"):
        Limits(**{name: 0})
