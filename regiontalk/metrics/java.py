"""Judges that are Java programs: java found, run without a shell, ended when it takes too long."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SHOWN = 300  # last characters of a failed program's message


def run_java(
    arguments: Sequence[str],
    *,
    judge: str,
    folder: Path,
    memory_gib: int = 2,
    text: str = "",
    timeout_s: float = 1800,
) -> str:
    """What a Java program writes to its standard output.

    Args:
        arguments: what follows ``java`` and its memory limit.
        judge: name for errors, such as "METEOR's jar".
        folder: where it runs.
        memory_gib: most memory of its heap.
        text: its standard input.
        timeout_s: seconds after which it is ended.

    Raises:
        ValueError: java is missing, the program failed, or it took too long.
    """
    return _run(
        [f"-Xmx{memory_gib}G", *arguments], judge, folder, text, timeout_s
    ).stdout


def java_version(judge: str) -> int:
    """The feature number of the java on the path: 8 of "1.8.0_392", 17 of "17.0.15".

    Raises:
        ValueError: java is missing or does not say.
    """
    output = _run(["-version"], judge, Path.cwd(), "", 60).stderr
    version_match = re.search(r'version "(?:1\.)?(\d+)', output)
    if version_match is None:
        raise ValueError(
            f"{judge}: expected java -version to name its version, got {output.strip()[-_SHOWN:]!r}"
        )
    return int(version_match[1])


def _run(
    arguments: Sequence[str], judge: str, folder: Path, text: str, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    java = shutil.which("java")
    if java is None:
        raise ValueError(
            f"{judge}: expected java on the path, found none; install a Java runtime or do without"
        )
    try:
        done = subprocess.run(
            [java, *arguments],
            cwd=folder,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(
            f"{judge}: expected an answer within {timeout_s:g} s, got none ({error})"
        ) from error
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        # no stack frames
        message = " ".join(line for line in lines if not line.startswith("\t"))
        raise ValueError(
            f"{judge}: java ended with {done.returncode}, saying {message[-_SHOWN:]!r}"
        )
    return done
