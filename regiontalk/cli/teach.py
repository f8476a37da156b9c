"""``regiontalk teach``: words from a person, a model that has learnt them.

The photos need no captions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontalk.cli.options import Box, Model, Threads, parse_boxes
from regiontalk.cli.serve import HostOption, OpenOption, PortOption, TokenOption
from regiontalk.files import locked

if TYPE_CHECKING:
    from regiontalk.records import RegionCaption
    from regiontalk.train.answers import Answers
    from regiontalk.train.background import BackgroundTraining
    from regiontalk.train.teaching import Question, Teacher

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", help="Photos, also in folders below.", show_default=False
    ),
]
AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        metavar="FILE.jsonl",
        help="Where every answer is saved; taught.jsonl in FOLDER if unset.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Gets the trained models; FOLDER_taught beside FOLDER if unset.",
        show_default=False,
    ),
]
Imports = Annotated[
    list[Path] | None,
    typer.Option(
        "--import",
        metavar="FILE|DIR",
        help="Take over corrections first: Label Studio's JSON, or a folder with our "
        "XMP; again for more.",
        show_default=False,
    ),
]
Regions = Annotated[
    int,
    typer.Option(
        "--regions", metavar="N", min=0, max=10, help="Boxes that are asked about."
    ),
]
Terminal = Annotated[
    bool, typer.Option("--terminal", help="Ask in this terminal instead of a browser.")
]
ANSWERS_NAME = "taught.jsonl"
# in --out: the photo that the terminal asks about, with its boxes
MARKED_NAME = "photo.jpg"
HELP = (
    "Enter takes the words in brackets, - leaves them out, s skips the photo, train "
    "trains, q ends."
)


def teach(
    folder: Folder,
    answers: AnswersOption = None,
    out: Out = None,
    imports: Imports = None,
    regions: Regions = 3,
    terminal: Terminal = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    token: TokenOption = None,
    open_page: OpenOption = True,
    model: Model = "mini",
    threads: Threads = None,
) -> None:
    """Ask a person about the photos of which the model is least sure, and train on the answers.

    Every answer is saved at once, in a file that `regiontalk train` reads.
    """
    from regiontalk.train.answers import Answers
    from regiontalk.train.background import BackgroundTraining
    from regiontalk.train.teaching import Teacher

    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with photos, got none there")
    folder = folder.resolve()
    path = answers or folder / ANSWERS_NAME
    models = out or folder.with_name(f"{folder.name}_taught")
    serving = None if terminal else _bind(host, port, token)
    with locked(path.with_name(f".{path.name}.lock"), f"--answers {path}"):
        saved = Answers(path)
        photos = _photos_below(folder)
        _import_all(imports or (), folder, photos, saved)
        from regiontalk import RegionCaptioner

        captioner = RegionCaptioner.from_pretrained(model, threads=threads)
        teacher = Teacher(captioner, photos, saved, regions=regions, log=_warn)
        training = BackgroundTraining(saved, models, model, threads)
        try:
            if serving is None:
                Lesson(teacher, training, models / MARKED_NAME).run()
            else:
                _serve(serving, teacher, training, folder, open_page)
        finally:
            training.stop()
            _tell_saved(path, saved)


def _photos_below(folder: Path) -> list[Path]:
    """The photos of a folder and of those below."""
    from regiontalk.cli.photos import find_photos

    return [Path(name) for name in find_photos([str(folder)], below=True).paths]


def _import_all(
    sources: Sequence[Path], folder: Path, photos: Sequence[Path], answers: Answers
) -> None:
    """`import_answers` of every source, and a line about each."""
    for source in sources:
        _warn(import_answers(source, folder, photos, answers))


def _tell_saved(path: Path, answers: Answers) -> None:
    """How many answers there are, and what trains on them."""
    _warn(f"{path}: {answers.with_words} photos with words")
    _warn(f"regiontalk train {path} --out MODEL")


def _warn(line: str) -> None:
    typer.echo(line, err=True)


def _bind(host: str, port: int, token: str | None) -> Any:
    """The address of the page, and its socket.

    A taken port should not cost the loading of a model.
    """
    try:
        from regiontalk.serve.run import Address
    except ImportError as error:
        raise ImportError(
            f"teach needs more packages for its page ({error}); pip install "
            "'regiontalk[serve]', or use --terminal"
        ) from error
    address = Address(host, port, token)
    return address, address.listen()


def _serve(
    serving: Any,
    teacher: Teacher,
    training: BackgroundTraining,
    folder: Path,
    open_page: bool,
) -> None:
    """The page, until interrupted."""
    from regiontalk.serve.run import serve_app
    from regiontalk.serve.teaching import PAGE, create_teaching_app
    from regiontalk.train.session import Session

    address, bound = serving
    with bound:
        app = create_teaching_app(
            Session(teacher, training, folder), token=address.token
        )
        page = address.page(bound.getsockname()[1]) + PAGE
        serve_app(app, bound, page, open_page=open_page)


class Lesson:
    """Questions and answers in a terminal."""

    def __init__(
        self, teacher: Teacher, training: BackgroundTraining, marked: Path
    ) -> None:
        """Take who asks and who trains.

        Args:
            teacher: chooses photos and saves answers.
            training: trains on request.
            marked: gets each photo with the boxes that are asked about, for a viewer
                beside the terminal.
        """
        self.teacher = teacher
        self.training = training
        self.marked = marked
        self._used_round = 0

    def run(self) -> None:
        """Ask until the person ends it, or all photos are answered."""
        typer.echo(HELP)
        typer.echo(
            f"the photo with its boxes is always {self.marked}: keep a viewer open on it"
        )
        try:
            while (question := self._next()) is not None:
                self._answer(question)
        except EOFError:
            return
        typer.echo("all photos are answered")

    def _next(self) -> Question | None:
        """The next question, of the newest model."""
        progress = self.training.progress()
        if progress is not None and progress.state == "running":
            typer.echo(f"round {progress.round} trains: {progress.line}")
        elif progress is not None and progress.round != self._used_round:
            self._used_round = progress.round
            self._tell_end(progress.state, progress.line, progress.gain)
            if progress.state == "done":
                from regiontalk import RegionCaptioner

                self.teacher.use(RegionCaptioner.from_pretrained(progress.model))
        return self.teacher.next()

    def _tell_end(self, state: str, line: str, gain: Any) -> None:
        if state == "failed":
            typer.echo(f"training failed: {line}")
        for name, (before, after) in gain.items():
            values = " before, ".join(
                "-" if value is None else f"{100 * value:.1f}"
                for value in (before, after)
            )
            typer.echo(f"{name}: {values} after")

    def _answer(self, question: Question) -> None:
        """Ask about one photo and save what is said."""
        from regiontalk.train.answers import Answer

        result = question.result
        self._mark(question)
        typer.echo(f"\n{question.photo} ({len(self.teacher.answers)} answered)")
        sentence = self._words("sentence", result.caption)
        boxes: list[tuple[Box, str]] = []
        if sentence is not None:
            for number, region in enumerate(result.regions, start=1):
                corners = ",".join(f"{value:.0f}" for value in region.box)
                words = self._words(f"box {number} at {corners}", region)
                if words is None:
                    break
                if words:
                    boxes.append((region.box, words))
            else:
                boxes += self._more_boxes()
        captions = (sentence,) if sentence else ()
        try:
            self.teacher.take(
                Answer(question.photo, result.size_wh, captions, tuple(boxes))
            )
        except ValueError as error:
            typer.echo(f"not saved: {error}")

    def _words(self, what: str, region: RegionCaption | None) -> str | None:
        """The words of a person on the photo or a box.

        "" where there are none, None to skip the photo.
        """
        guess = "" if region is None else region.text or ""
        sure = 0.0 if region is None else region.confidence
        line = self._read(f"{what} [{guess}] ({100 * sure:.0f} % sure): ")
        if line == "s":
            return None
        return "" if line == "-" else line or guess

    def _more_boxes(self) -> list[tuple[Box, str]]:
        """Boxes that the person gives."""
        boxes: list[tuple[Box, str]] = []
        while line := self._read("one more box (x1,y1,x2,y2 WORDS, Enter for none): "):
            corners, _, words = line.partition(" ")
            try:
                (box,) = parse_boxes([corners])
            except ValueError as error:
                typer.echo(str(error))
                continue
            boxes.append((box, words.strip()))
        return boxes

    def _read(self, prompt: str) -> str:
        """A line; train begins training, and asks again.

        Raises:
            EOFError: the person ends it.
        """
        while True:
            typer.echo(prompt, nl=False)
            line = sys.stdin.readline()
            text = " ".join(line.split())
            if not line or text == "q":
                raise EOFError
            if text != "train":
                return text
            try:
                self.training.start()
                typer.echo("training has begun; go on answering meanwhile")
            except ValueError as error:
                typer.echo(str(error))

    def _mark(self, question: Question) -> None:
        """Write the photo with its boxes."""
        from regiontalk.drawing.draw import draw
        from regiontalk.files import atomic_write
        from regiontalk.images.open import open_image

        self.marked.parent.mkdir(parents=True, exist_ok=True)
        picture = draw(open_image(str(question.photo)), question.result)
        atomic_write(self.marked, lambda path: picture.save(path, quality=90))


def import_answers(
    source: Path, folder: Path, photos: Sequence[Path], answers: Answers
) -> str:
    """Take over what people corrected in other programs; a line that says how many photos.

    Args:
        source: Label Studio's export, or a folder with XMP sidecars or photos with XMP in them.
        folder: of the photos, from which Label Studio's tasks name them.
        photos: that are taught.
        answers: get the corrections.

    Raises:
        ValueError: neither of these, or nothing in it belongs to the photos.
        OSError: it cannot be read.
    """
    rows = (
        _from_xmp(source, photos)
        if source.is_dir()
        else _from_label_studio(source, folder)
    )
    known = {photo.resolve() for photo in photos}
    usable = [(photo, row) for photo, row in rows if photo.resolve() in known]
    if not usable:
        raise ValueError(
            f"--import {source}: expected corrections of photos in {folder}, got none"
            + (
                f"; it names {len(rows)} other photos, such as {rows[0][0]}"
                if rows
                else ""
            )
        )
    answers.add_rows(usable)
    others = len(rows) - len(usable)
    return f"{source}: {len(usable)} photos taken over" + (
        f", {others} are not in {folder}" if others else ""
    )


def _from_label_studio(source: Path, folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The corrections of an export of the type JSON."""
    from regiontalk.export.labelstudio_import import read_tasks
    from regiontalk.files import read_text

    try:
        corrections = read_tasks(json.loads(read_text(source)))
    except ValueError as error:
        raise ValueError(f"--import {source}: {error}") from error
    for line in corrections.left_out:
        _warn(f"left out: {line}")
    rows: list[tuple[Path, dict[str, Any]]] = []
    for row in corrections.rows:
        values = {key: value for key, value in row.items() if key != "photo"}
        rows.append((folder / row["photo"], values))
    return rows


def _from_xmp(
    source: Path, photos: Sequence[Path]
) -> list[tuple[Path, dict[str, Any]]]:
    """The regions whose words a person wrote.

    From sidecars in a folder or from the photos' copies there.
    """
    from regiontalk.export.metadata import (
        copy_path,
        embedded_packet,
        orientation,
        sidecar_path,
    )
    from regiontalk.export.xmp import person_regions
    from regiontalk.images.open import ImageError, open_photo
    from regiontalk.records import checked_boxes

    rows: list[tuple[Path, dict[str, Any]]] = []
    for photo in photos:
        sidecar, copy = sidecar_path(str(photo), source), copy_path(str(photo), source)
        packet = sidecar.read_bytes() if sidecar.is_file() else None
        if packet is None and copy.is_file():
            packet = embedded_packet(copy.read_bytes())
        if packet is None:
            continue
        try:
            size_wh = open_photo(photo, at_least=1).size_wh
            regions = person_regions(packet, size_wh, orientation(photo.read_bytes()))
            checked_boxes([box for box, _ in regions])
        except (ImageError, ValueError) as error:
            _warn(f"left out: {photo}: {error}")
            continue
        boxes = [_box_row(box, text) for box, text in regions]
        if boxes:
            rows.append(
                (photo, {"boxes": boxes, "width": size_wh[0], "height": size_wh[1]})
            )
    return rows


def _box_row(box: Sequence[float], phrase: str) -> dict[str, Any]:
    """A box and its words as a training file has them."""
    return {"box": [round(value, 1) for value in box], "phrase": phrase}
