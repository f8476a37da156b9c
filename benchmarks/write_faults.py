"""Writers that are killed (SIGKILL) or meet a full disk at random moments.

Nothing half-written, nothing lost.

    python benchmarks/write_faults.py kill --count 100
    # as root: the disk is a small tmpfs
    python benchmarks/write_faults.py disk --count 20
    python benchmarks/write_faults.py kill --count 10 --jobs xmp coco

Each job runs in a forked process, which has loaded everything before it starts:
training of a toy model (two stages, a checkpoint every second step, without graphs),
snippets and the library with that model, exports from results that are there. After
each fault every file that has its final name must be whole: the bytes of a run that
nothing disturbed; of training these are the files of the model, as its checkpoints hold
how far it is, and of a library the rows of its photos. A full disk must end the job
with code 2 and one line. Then the job runs once more, undisturbed, and must end with
all of them. Without the right to mount, a full disk is a limit on the size of files
(RLIMIT_FSIZE). `index_kills.py` kills the library's real command.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.records import Example, ImageResult, RegionCaption

PHOTOS = 12
MANY = 40  # photos of exports, which need no model
PAGE = 4096  # bytes: a tmpfs gives whole pages
Files = dict[str, bytes]
TINY = Path(__file__).parents[1] / "tests/data/tiny.toml"
STAGES = """
[features]
regions = 4
[joint]
batch = 4
regions = 4
[joint.optimiser]
steps = 6
checkpoint_every = 2
[generate]
batch = 4
pairs = 0
[generate.optimiser]
steps = 6
checkpoint_every = 2
"""


def main() -> None:
    """Disturb the jobs, print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fault", choices=("kill", "disk"))
    parser.add_argument("--count", type=int, default=100, help="faults of each job")
    parser.add_argument("--jobs", nargs="+", choices=tuple(JOBS), default=list(JOBS))
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="of all faults, at most"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # toys gain nothing by a second one
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary) / "photos"
        make_photos(photos)
        for name in options.jobs:
            job = Job(name, photos, Path(temporary))
            latest = time.monotonic() + options.seconds / len(options.jobs)
            disturb = kill_often if options.fault == "kill" else fill_often
            print(f"{name}: {disturb(job, options.count, latest, chance)}", flush=True)


def make_photos(folder: Path) -> None:
    """Photos of noise, what `caption --json` would say of many, and a data set with a recipe."""
    folder.mkdir()
    values = np.random.default_rng(0).integers(
        0, 256, (PHOTOS, 60, 80, 3), dtype=np.uint8
    )
    for number, pixels in enumerate(values):
        Image.fromarray(pixels).resize((320, 240)).save(folder / f"{number:03}.jpg")
    _make_results(folder)
    # the cell runs on torch only: no graphs are exported
    tiny = TINY.read_text().replace('"gru"', '"relu"')
    (folder / "recipe.toml").write_text(tiny + STAGES)
    box = {"box": [0, 0, 100, 100], "phrase": "a red shirt"}
    captions = ["a man in a red shirt on a bike", "two dogs run"]
    rows = [
        {"photo": f"{number:03}.jpg", "captions": captions, "boxes": [box]}
        for number in range(PHOTOS)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _make_results(folder: Path) -> None:
    """Many copies of the photos of a folder, and results for them."""
    (folder / "many").mkdir()
    lines = []
    for number in range(MANY):
        path = folder / "many" / f"{number:03}.jpg"
        path.write_bytes((folder / f"{number % PHOTOS:03}.jpg").read_bytes())
        regions = tuple(
            RegionCaption((0, 0, 9 + n, 90), f"thing {n}", 0.9) for n in range(9)
        )
        caption = RegionCaption((0, 0, 320, 240), f"photo {number}", 0.9)
        result = ImageResult(str(path), (320, 240), "mini", caption, regions)
        lines.append(json.dumps(result.to_dict()) + "\n")
    (folder / "results.jsonl").write_text("".join(lines))


def _export(format: str, out: str) -> Callable[[Path, Path], None]:
    """A job that exports the results."""

    def run(photos: Path, folder: Path) -> None:
        results = str(photos / "results.jsonl")
        app(["export", format, "--results", results, "--out", str(folder / out)])

    return run


def _snippets(photos: Path, folder: Path) -> None:
    """A job that infers the snippets of a data set."""
    from regiontalk.train.snippets import write_snippets

    examples = [
        Example(path, ("a man in a red shirt on a bike", "two dogs run"), id=path.stem)
        for path in sorted(photos.glob("*.jpg"))
    ]
    write_snippets(captioner(), examples, folder / "pairs.jsonl")


def _train(photos: Path, folder: Path) -> None:
    """A job that trains a toy model."""
    recipe, out = photos / "recipe.toml", folder / "run"
    app(["train", "all", str(recipe), "--data", str(photos), "--out", str(out)])


def _index(photos: Path, folder: Path) -> None:
    """A job that adds photos to a library."""
    from regiontalk.index.library import PhotoIndex

    library = PhotoIndex.open_or_create(str(folder / "index"), captioner(), regions=3)
    paths = [str(path) for path in sorted(photos.glob("*.jpg"))]
    library.add(captioner(), paths, captions=1, batch=2)


def _show_index(_: Path, folder: Path) -> None:
    """Print a hash of each row of a library beside its photo."""
    from regiontalk.index.library import PhotoIndex

    if not any(folder.glob("index/photos.lance/_versions/*")):
        return
    library = PhotoIndex.open(str(folder / "index"))
    rows = library._store._table.to_arrow().to_pylist()
    assert len(rows) == len({row["path"] for row in rows}), "a photo stands twice"
    for row in rows:
        print(row["path"], hashlib.sha256(repr(row).encode()).hexdigest())


_captioners: list[RegionCaptioner] = []


def captioner() -> RegionCaptioner:
    """The toy model, loaded once by `load_model`; with one thread, so that it may be forked."""
    return _captioners[0]


def load_model(photos: Path, temporary: Path) -> None:
    """Train the toy model, and load it."""
    if not _captioners:
        job = Job("train", photos, temporary)
        model = job.complete / "run" / "model"
        _captioners.append(RegionCaptioner.from_pretrained(model, threads=1))


JOBS: dict[str, Callable[[Path, Path], None]] = {
    "xmp": _export("xmp", "."),
    "xmp-copy": _export("xmp-copy", "."),
    "coco": _export("coco", "boxes.json"),
    "genome": _export("genome", "."),
    "w3c": _export("w3c", "notes.json"),
    "cvat": _export("cvat", "boxes.xml"),
    "csv": _export("csv", "boxes.csv"),
    "gallery": _export("gallery", "."),
    "snippets": _snippets,
    "train": _train,
    "index": _index,
}


# LanceDB is loaded here and used in the forked processes alone: it starts anew in each of them.
LOADED = {
    "train": ("torch", "timm", "regiontalk.train.run"),
    "snippets": ("regiontalk.train.snippets",),
    "index": ("lancedb", "pandas", "regiontalk.index.library"),
}


class Job:
    """A job, and what it writes where nothing disturbs it.

    Attributes:
        name: one of `JOBS`.
        allowed: the bytes that each final file may have, from a first run and from runs on top.
        complete: the folder of that first run.
        seconds: that a run takes.
    """

    def __init__(self, name: str, photos: Path, temporary: Path) -> None:
        """Run the job undisturbed: three times, or once where it takes long."""
        self.name, self._photos, self._temporary = name, photos, temporary
        for module in LOADED.get(name, ()):
            importlib.import_module(module)  # not by each process anew
        if name in ("snippets", "index"):
            load_model(photos, temporary)
        self.complete = folder = self.new_folder()
        begun = time.monotonic()
        assert self.run(folder) == 0, self.errors(folder)
        self.seconds = time.monotonic() - begun
        self.allowed = [self.files(folder)]
        for _ in range(0 if name == "train" else 2):
            assert self.run(folder) == 0, self.errors(folder)
            self.allowed.append(self.files(folder))

    def new_folder(self) -> Path:
        """A folder without files."""
        return Path(tempfile.mkdtemp(dir=self._temporary))

    def start(
        self,
        folder: Path,
        most_bytes: int | None = None,
        work: Callable[[Path, Path], None] | None = None,
    ) -> int:
        """Run the job, or other work, in a process of its own; its number."""
        process = _fork()
        if process:
            return process
        errors = os.open(self._errors(folder), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        code = 3
        try:
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
            (work or JOBS[self.name])(self._photos, folder)
            sys.stdout.flush()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except (ValueError, OSError) as error:
            os.write(2, f"regiontalk: {error}\n".encode())
            code = 2
        except BaseException as error:
            os.write(2, f"Traceback: {type(error).__name__} {error}\n".encode())
        finally:
            os._exit(code)

    def run(
        self,
        folder: Path,
        most_bytes: int | None = None,
        work: Callable[[Path, Path], None] | None = None,
    ) -> int:
        """Run the job, or other work, to its end; its exit code."""
        _, status = os.waitpid(self.start(folder, most_bytes, work), 0)
        return os.waitstatus_to_exitcode(status)

    def _errors(self, folder: Path) -> Path:
        return self._temporary / f"{folder.name}.errors"

    def errors(self, folder: Path) -> str:
        """What the latest run in a folder said."""
        return self._errors(folder).read_text(errors="replace")

    def files(self, folder: Path) -> Files:
        """The files that have their final names; of a library, its rows."""
        if self.name == "index":
            assert self.run(folder, work=_show_index) == 0, self.errors(folder)
            rows = [line.split() for line in self.errors(folder).splitlines()]
            return {path: content.encode() for path, content in rows}
        within = folder / "run" / "model" if self.name == "train" else folder
        paths = [path for path in sorted(within.rglob("*")) if path.is_file()]
        visible = [path for path in paths if not path.name.startswith(".")]
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in visible
            if path.suffix != ".partial"
        }

    def took(self, seconds: float, *, ended: bool, anew: bool) -> None:
        """Learn how long the job takes while other work changes that.

        Kills are to strike its end as well.
        """
        if ended and anew:
            self.seconds += 0.3 * (seconds - self.seconds)
        elif not ended:
            self.seconds = max(self.seconds, seconds)

    def check(self, folder: Path, *, whole: bool = False) -> None:
        """Fail where a final file is not what an undisturbed run writes.

        Or where one of a whole run is lacking.
        """
        files = self.files(folder)
        for name, content in files.items():
            wanted = [allowed[name] for allowed in self.allowed if name in allowed]
            assert content in wanted, (
                f"{self.name}: {name} is half-written or none of ours"
            )
        if whole:
            lacking = self.allowed[0].keys() - files.keys()
            assert not lacking, f"{self.name}: {sorted(lacking)[:3]} are lost"
            left = [path for path in folder.rglob("*") if ".new" in path.name]
            assert not left, f"{self.name}: {left[:3]} are left over"


def _fork() -> int:
    """`os.fork`, without LanceDB's warning that it begins anew in a forked process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def kill_often(job: Job, count: int, latest: float, chance: random.Random) -> str:
    """Start and kill, look, go on in the same folder; a folder that is complete is begun anew."""
    folder, is_new = job.new_folder(), True
    kills = completed = 0
    while kills < count and time.monotonic() < latest:
        begun = time.monotonic()
        status = run_and_kill(job, folder, chance.uniform(0, 1.1 * job.seconds))
        job.took(time.monotonic() - begun, ended=os.WIFEXITED(status), anew=is_new)
        kills += os.WIFSIGNALED(status)
        job.check(folder)
        is_new = os.WIFEXITED(status)
        if is_new:
            completed += 1
            assert os.WEXITSTATUS(status) == 0, job.errors(folder)
            job.check(folder, whole=True)
            folder = job.new_folder()
    assert job.run(folder) == 0, job.errors(folder)
    job.check(folder, whole=True)
    return f"{kills} kills, {completed} ran to their end; nothing lost, doubled or half-written"


def run_and_kill(job: Job, folder: Path, delay: float) -> int:
    """Start a job and kill it after some seconds, where it has not ended before.

    Returns its wait status.
    """
    process = job.start(folder)
    latest = time.monotonic() + delay
    while time.monotonic() < latest:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1]


def fill_often(job: Job, count: int, latest: float, chance: random.Random) -> str:
    """Run on disks that are too small until so many were full; look, make room, run again."""
    folder = job.new_folder()
    assert job.run(folder) == 0
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    need = sum(map(_bytes_on_disk, sizes))
    full = enough = 0
    while full < count and time.monotonic() < latest:
        folder = job.new_folder()
        share = chance.random()
        with small_disk(folder, max(PAGE, int(need * share))) as grow:
            limit = None if grow is not None else max(1, int(max(sizes) * share))
            code = job.run(folder, limit)
            check_end(job, folder, code)
            full += code == 2
            enough += code == 0
            if grow is not None:
                grow()
            assert job.run(folder) == 0, job.errors(folder)
            job.check(folder, whole=True)
    return (
        f"{full} full disks, each told in a line, {enough} with room enough; "
        "nothing half-written"
    )


def _bytes_on_disk(size: int) -> int:
    """What a file of so many bytes takes of a tmpfs: whole pages, and one for its name."""
    return -(-size // PAGE) * PAGE + PAGE


def check_end(job: Job, folder: Path, code: int) -> None:
    """Fail where a full disk did not end the job as it should."""
    errors = job.errors(folder)
    job.check(folder, whole=code == 0)
    assert code in (0, 1, 2) and "Traceback" not in errors, (
        f"{job.name}: ended with {code}: {errors}"
    )
    lines = [line for line in errors.splitlines() if line.startswith("regiontalk: ")]
    if code:
        assert len(lines) == 1, f"{job.name}: {len(lines)} messages: {errors}"
        assert (
            "Errno" not in lines[0] or "No space" in lines[0] or "large" in lines[0]
        ), lines[0]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None] | None]:
    """A tmpfs of some bytes on a folder, and what makes it larger.

    None where nothing may be mounted.
    """
    if not _mounts(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    ):
        yield None
        return
    try:
        yield lambda: _remount(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _remount(folder: Path) -> None:
    assert _mounts(["mount", "-o", "remount,size=1g", str(folder)])


def _mounts(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:  # no such program
        return False


if __name__ == "__main__":
    main()
