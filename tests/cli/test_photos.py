"""What a failed photo leaves behind while the others go on."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import typer

from regiontalk.cli.photos import Photos, find_photos
from regiontalk.cli.run import for_each
from regiontalk.records import ImageResult


def test_a_failed_photo_keeps_nothing_in_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoded: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def speak(paths: Sequence[str]) -> list[ImageResult]:
        pixels = np.zeros((2, 2))  # in the frame of whatever fails
        decoded.append(weakref.ref(pixels))
        try:
            if any("bad" in path for path in paths):
                raise OSError("cut short")
        except OSError as error:
            raise ValueError(f"{paths[0]}: damaged") from error
        return [ImageResult(path, (2, 2), "fake") for path in paths]

    def use(path: str, result: ImageResult) -> None:
        alive.append(sum(reference() is not None for reference in decoded))

    names = (
        "bad1",
        "bad2",
        "good1",
        "bad3",
        *(f"good{number}" for number in range(2, 8)),
    )
    with pytest.raises(typer.Exit):
        for_each(Photos(names, single=False), speak, use)
    assert alive == [0] * 7
    told = capsys.readouterr().err
    assert all(f"{name}: damaged" in told for name in ("bad1", "bad2", "bad3"))


def test_the_failure_of_a_single_photo_keeps_its_trace() -> None:
    def speak(paths: Sequence[str]) -> list[ImageResult]:
        raise ValueError("damaged") from OSError("cut short")

    with pytest.raises(ValueError, match="damaged") as caught:
        for_each(Photos(("bad",), single=True), speak, lambda path, result: None)
    assert isinstance(caught.value.__cause__, OSError) and len(caught.traceback) > 2


def test_a_folder_is_gone_into_once(tmp_path: Path) -> None:
    """Links to folders above, links to photos, and what systems keep beside photos."""
    pics = tmp_path / "pics"
    for name in (
        "a.jpg",
        "trip/b.jpg",
        "._a.jpg",
        "@eaDir/a.jpg",
        "__MACOSX/a.jpg",
        ".thumbs/a.jpg",
    ):
        (pics / name).parent.mkdir(parents=True, exist_ok=True)
        (pics / name).write_bytes(b"x")
    (pics / "trip" / "up").symlink_to(pics)
    (pics / "trip" / "again").symlink_to(pics / "trip")
    (pics / "Z.jpg").symlink_to(pics / "a.jpg")
    photos = find_photos([str(pics)], below=True)
    assert photos.paths == (str(pics / "a.jpg"), str(pics / "trip" / "b.jpg"))
    assert find_photos([str(pics)]).paths == (str(pics / "a.jpg"),)
    assert len(find_photos([str(pics / "**" / "*.jpg")]).paths) == 2


def test_a_photo_by_the_address_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "my dog.jpg").write_bytes(b"x")
    assert find_photos([(tmp_path / "my dog.jpg").as_uri()]).paths == (
        str(tmp_path / "my dog.jpg"),
    )


def test_photos_of_other_formats_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.CR2").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"got 1 \.cr2, which are not read"):
        find_photos([str(tmp_path)])
