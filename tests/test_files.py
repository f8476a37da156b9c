"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from regiontalk.files import atomic_write, discard_unfinished, locked


@pytest.mark.parametrize(
    "before",
    [pytest.param(None, id="new"), pytest.param("old", id="in place of an older one")],
)
def test_written(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    # the writer sees the suffix
    atomic_write(path, lambda fresh: fresh.write_text(fresh.suffix))
    assert path.read_text() == ".txt" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "cannot be written (No space left",
            id="full",
        ),
        pytest.param(
            OSError("just so"),
            "cannot be written (just so); free some space",
            id="without a number",
        ),
        pytest.param(ValueError("not mine"), "not mine", id="another error passes"),
    ],
)
@pytest.mark.parametrize(
    "before", [pytest.param(None, id="new"), pytest.param("old", id="older")]
)
def test_nothing_half_written(
    tmp_path: Path, error: Exception, message: str, before: str | None
) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def fail(fresh: Path) -> None:
        fresh.write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        atomic_write(path, fail)
    assert message in str(caught.value)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == (
        [] if before is None else [("a.txt", "old")]
    )


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(
        OSError, match=r"a\.txt: cannot be written \(No such file or directory\)"
    ):
        atomic_write(tmp_path / "gone" / "a.txt", lambda fresh: fresh.write_text("x"))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from regiontalk.files import locked\n"
        "with locked(Path(sys.argv[1]), '--out x'): pass"
    )
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    with locked(tmp_path / ".lock", "--out x"):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (
        second.returncode
        and f"--out x: another process is at work here (number {os.getpid()})"
        in second.stderr
    )
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_error_of_a_rust_library_is_the_systems(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError(
            "Error while serializing: I/O error: No space left (os error 28)"
        )

    with pytest.raises(
        OSError, match=r"a\.safetensors: cannot be written \(No space left"
    ):
        atomic_write(tmp_path / "a.safetensors", full)
    assert list(tmp_path.iterdir()) == []


_WRITER = """
import sys
from pathlib import Path
from regiontalk.files import atomic_write

for number in range(40):
    text = (sys.argv[2] + str(number)) * 20_000
    atomic_write(Path(sys.argv[1]), lambda new: new.write_text(text))
"""


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    commands = [[sys.executable, "-c", _WRITER, str(path), letter] for letter in "ab"]
    writers = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            text = path.read_text()
            assert text and text == text[: len(text) // 20_000] * 20_000, "a mixture"
            seen.add(text[0])
    for writer in writers:
        assert (
            writer.stderr is not None
            and writer.stderr.read() == ""
            and not writer.returncode
        )
        writer.stderr.close()
    assert seen and list(tmp_path.iterdir()) == [path]


def test_two_threads_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def outer(temporary: Path) -> None:
        temporary.write_text("outer")
        atomic_write(path, lambda other: other.write_text("inner"))
        assert path.read_text() == "inner"

    atomic_write(path, outer)
    assert path.read_text() == "outer" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("whole")
    discard_unfinished(path)
    (tmp_path / ".a.txt.new").mkdir()
    (tmp_path / ".a.txt.new" / ".new.txt").write_text("half")
    discard_unfinished(path)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "whole"


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / ".a.txt.new").mkdir()
    for name in (".new.txt", ".tmpXYZ"):
        (tmp_path / ".a.txt.new" / name).write_text("half of something longer")
    atomic_write(path, lambda new: new.write_text("whole"))
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_a_name_of_the_most_bytes(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".jpg")
    atomic_write(path, lambda new: new.write_text(new.suffix))
    assert path.read_text() == ".jpg" and list(tmp_path.iterdir()) == [path]


def test_anybody_may_read_what_a_library_made_for_its_owner(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    other.write_text("as the system makes files")

    def private(new: Path) -> None:
        new.write_text("x")
        new.chmod(0o600)

    atomic_write(path, private)
    assert path.stat().st_mode == other.stat().st_mode
