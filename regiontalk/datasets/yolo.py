"""YOLO's folders: a text file of classes and boxes for each photo, and names of the classes.

Lines are ``class x y w h`` in shares of the photo (centre and size), perhaps with a
detector's confidence behind them, or ``class x1 y1 x2 y2 x3 y3 ...``, the outline of a
thing or the corners of a turned box, which becomes the box around it. Label files stand
below ``labels/`` where photos stand below ``images/`` (Ultralytics, Roboflow, Label
Studio), or beside their photos (Darknet, LabelImg). The names are in ``data.yaml``,
``classes.txt`` or ``obj.names``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from regiontalk.datasets.names import NamedBox, add_names
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.files import read_text
from regiontalk.images.open import ImageError, open_photo
from regiontalk.images.suffixes import SUFFIXES
from regiontalk.records import Example

LABELS, IMAGES = "labels", "images"
CLASS_FILES = ("classes.txt", "obj.names")
# names of a split's folder, by ours
SPLIT_FOLDERS = {
    "train": ("train", "train2017", "obj_train_data"),
    "dev": ("val", "valid", "validation", "dev", "val2017", "obj_valid_data"),
    "test": ("test", "test2017", "obj_test_data"),
}
ROUNDING = 0.001  # share of the photo that a number may stick out; the box is cut
_NAMES = re.compile(r"^names:[ \t]*(.*(?:\n(?:[ \t-].*|[ \t]*))*)", re.MULTILINE)

Corners = tuple[float, float, float, float]


def is_yolo(folder: Path) -> bool:
    """Whether a folder is YOLO's: it names classes, or has files of labels below ``labels/``."""
    if not folder.is_dir():
        return False
    names_classes = bool(_class_files(folder)) or (folder / "data.yaml").is_file()
    return names_classes or any(folder.glob(f"**/{LABELS}/**/*.txt"))


def read_yolo(folder: Path, split: str) -> tuple[list[Example], DataReport]:
    """The labelled photos of a split, with a phrase for each name; a bad line costs that box.

    Args:
        folder: of any of the layouts above.
        split: train, dev or test; labels in no split's folder are training.

    Raises:
        ValueError: no names of classes, or no labels of that split.
    """
    classes = _classes(folder)
    files = [path for path in _label_files(folder) if _split_of(path, folder) == split]
    if not files:
        raise ValueError(
            f"{folder}: expected label files of YOLO for the split {split}, got none; "
            f"labels stand in {LABELS}/ or beside their photos"
        )
    troubles: dict[str, list[str]] = defaultdict(list)
    examples: list[Example] = []
    boxes_by_photo: dict[str, list[NamedBox]] = {}
    for path in files:
        usable = _usable_photo(path, folder, troubles)
        if usable is not None:
            photo, size_wh = usable
            photo_id = photo.relative_to(folder).as_posix()
            boxes_by_photo[photo_id] = _read_boxes(path, classes, size_wh, troubles)
            examples.append(Example(photo, (), size_wh=size_wh, id=photo_id))
    named = add_names(examples, boxes_by_photo)
    labelled = [example for example in named if len(example.boxes_xyxy)]
    return labelled, report_on(f"{folder.name} (YOLO)", labelled, troubles)


def _usable_photo(
    path: Path, folder: Path, troubles: dict[str, list[str]]
) -> tuple[Path, tuple[int, int]] | None:
    """The photo of a label file and its size; None, counted, where there is none to open."""
    photo = _photo_of(path)
    if photo is None:
        troubles["photo missing"].append(str(path.relative_to(folder)))
        return None
    try:
        return photo, open_photo(photo, at_least=1).size_wh
    except ImageError as error:
        troubles["photo broken"].append(f"{photo.name} ({error})")
        return None


def _read_boxes(
    path: Path,
    classes: Sequence[str],
    size_wh: tuple[int, int],
    troubles: dict[str, list[str]],
) -> list[NamedBox]:
    """The boxes of one label file; a bad line is counted."""
    boxes: list[NamedBox] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            boxes.append(named_box(line, classes, size_wh))
        except ValueError as error:
            troubles["bad box, left out"].append(f"{path.name}:{number} ({error})")
    return boxes


def named_box(line: str, classes: Sequence[str], size_wh: tuple[int, int]) -> NamedBox:
    """One line of a label file, its box in pixels.

    Args:
        line: a class and its numbers.
        classes: names by number, from 0.
        size_wh: of the photo, in pixels.

    Raises:
        ValueError: what is wrong with it.

    >>> named_box("0 0.5 0.5 0.2 0.4", ["cup"], (100, 50)).box
    (40.0, 15.0, 60.0, 35.0)
    >>> named_box("0 0.1 0.2 0.5 0.2 0.5 0.6", ["cup"], (100, 50)).box
    (10.0, 10.0, 50.0, 30.0)
    """
    category, shares = _numbers(line)
    if not 0 <= category < len(classes):
        raise ValueError(f"expected a class of 0..{len(classes) - 1}, got {category}")
    is_outline = len(shares) >= 6 and len(shares) % 2 == 0
    box = _around(shares) if is_outline else _from_centre(shares[:4])
    if not (min(box) >= -1 and max(box) <= 2):  # also of what is no number
        raise ValueError(
            f"expected shares of the photo in 0..1, got {line[:60]!r}; pixels are COCO's form"
        )
    width, height = size_wh
    left, top, right, bottom = (min(max(share, 0.0), 1.0) for share in box)
    if right <= left or bottom <= top:
        raise ValueError(f"expected a box with an area, got {line[:60]!r}")
    corners = (left * width, top * height, right * width, bottom * height)
    return NamedBox(classes[category], corners, 1.0)


def _numbers(line: str) -> tuple[int, list[float]]:
    """The class of a line, and its numbers, of which there are four or more."""
    try:
        category, *numbers = line.split()
        shares = [float(number) for number in numbers]
        if len(shares) < 4:
            raise ValueError("too few numbers")
        return int(category), shares
    except ValueError as error:
        raise ValueError(f"expected 'class x y w h', got {line[:60]!r}") from error


def _from_centre(shares: Sequence[float]) -> Corners:
    """The corners of a centre and a size."""
    x, y, width, height = shares
    if max(shares) > 1 + ROUNDING:
        return (max(shares),) * 4  # in pixels: outside of every photo
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _around(shares: Sequence[float]) -> Corners:
    """The corners of the box around an outline."""
    across, down = shares[0::2], shares[1::2]
    return min(across), min(down), max(across), max(down)


def _classes(folder: Path) -> list[str]:
    """The names of the classes, by number.

    Raises:
        ValueError: no file names them.
    """
    for path in _class_files(folder):
        names = [line.strip() for line in read_text(path).split("\n")]
        while names and not names[-1]:
            names.pop()
        if names:
            return names
    for path in sorted(folder.glob("*.y*ml")):
        block = _NAMES.search(read_text(path))
        names = _yaml_names(block[1]) if block is not None else []
        if names:
            return names
    raise ValueError(
        f"{folder}: expected the names of YOLO's classes in classes.txt, obj.names or under "
        "names: in data.yaml, got none; write classes.txt there, a name a line"
    )


def _yaml_names(block: str) -> list[str]:
    r"""The list, or the numbers and names, that stand under ``names:``.

    >>> _yaml_names("['cat', dog]"), _yaml_names("  1: dog  # small\n  0: cat")
    (['cat', 'dog'], ['cat', 'dog'])
    """
    names: dict[int, str] = {}
    for entry in re.split(r"[,\n]", block.strip("[]{} \n")):
        text = entry.partition(" #")[0].strip().removeprefix("- ").strip()
        number, colon, name = text.partition(":")
        if colon and number.strip().isdigit():
            names[int(number)] = name.strip(" '\"")
        elif text:
            names[len(names)] = text.strip("'\"")
    return [names.get(number, "") for number in range(max(names, default=-1) + 1)]


def _class_files(folder: Path) -> list[Path]:
    """The lists of names in a folder, in its ``labels`` and in its ``data``."""
    folders = (folder, folder / LABELS, folder / "data")
    paths = [parent / name for parent in folders for name in CLASS_FILES]
    return [path for path in paths if path.is_file()]


def _label_files(folder: Path) -> Iterator[Path]:
    """The files of labels: those below a folder ``labels``, else those beside a photo."""
    texts = sorted(folder.rglob("*.txt"))
    texts = [path for path in texts if path.name not in CLASS_FILES]
    below = [path for path in texts if LABELS in path.relative_to(folder).parts[:-1]]
    if below:
        yield from below
        return
    for path in texts:
        if _photo_of(path) is not None:
            yield path


def _split_of(path: Path, folder: Path) -> str:
    """The split of a label file, by the folders that it stands in."""
    parents = path.relative_to(folder).parts[:-1]
    for split, names in SPLIT_FOLDERS.items():
        if not set(names).isdisjoint(parents):
            return split
    return "train"


def _photo_of(path: Path) -> Path | None:
    """The photo of a label file: beside it, or below ``images`` in place of ``labels``."""
    parents = [path.parent]
    parts = path.parent.parts
    if LABELS in parts:
        last = len(parts) - 1 - parts[::-1].index(LABELS)
        parents.insert(0, Path(*parts[:last], IMAGES, *parts[last + 1 :]))
        parents.append(Path(*parts[:last]))
    for parent in parents:
        if not parent.is_dir():
            continue
        for suffix in sorted(SUFFIXES):
            for name in (path.stem + suffix, path.stem + suffix.upper()):
                if (parent / name).is_file():
                    return parent / name
    return None
