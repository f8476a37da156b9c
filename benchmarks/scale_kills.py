r"""``regiontalk scale caption`` killed (SIGKILL) at random moments.

The rows must be those of an undisturbed run.

    python benchmarks/scale_kills.py --source ../shared/data/flickr8k/images \
        --photos 20000 --workers 2

Photos are copies of real ones that differ by a pixel. One job runs undisturbed, or is taken from
``--undisturbed``. Another loses, at random moments of its course, processes of three kinds in turn:
one that captions (an actor with the model), one that reads (a worker of Ray), and the driver, after
which the same command is started again. A job must survive the death of any other process than its
driver. At the end both outputs are compared row for row.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import psutil
from scale_jobs import ACTOR, TASK, command, make_photos, parts, processes, title_of

from regiontalk.cli.photos import find_photos
from regiontalk.scale.output import Output

VICTIMS = ("actor", "driver", "reader")


class Campaign:
    """A job that loses processes, and is started again where that ended it."""

    def __init__(self, words: Sequence[str], output: Path) -> None:
        """Take the command of the job; nothing is started."""
        self._words, self._output = words, output
        self._job: subprocess.Popen[bytes] | None = None

    def run(
        self, moments: Sequence[int], kinds: Sequence[str], seed: int
    ) -> Iterator[str]:
        """Kill a process of each kind once so many parts are finished, then run to the end.

        Returns what was killed.

        Raises:
            RuntimeError: the job ended before all were killed, or did not survive what it should.
        """
        chance = random.Random(seed)
        self._start()
        for moment, kind in zip(moments, kinds, strict=True):
            self._wait_for(moment)
            time.sleep(chance.uniform(0, 3))  # anywhere in a batch
            yield self._kill(kind, chance)
        if self._running().wait():
            raise RuntimeError("the job did not survive the last kill")

    def _start(self) -> None:
        self._job = subprocess.Popen(self._words, stderr=subprocess.DEVNULL)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._job is None:
            raise RuntimeError("nothing was started")
        return self._job

    def _wait_for(self, count: int) -> None:
        while len(parts(self._output)) < count:
            if self._running().poll() is not None:
                raise RuntimeError(
                    f"the job ended with code {self._running().returncode}"
                )
            time.sleep(0.1)

    def _kill(self, kind: str, chance: random.Random) -> str:
        job = self._running()
        if kind == "driver":
            job.kill()
            job.wait()
            self._start()
            return "driver"
        victim = chance.choice(self._victims(kind))
        title = title_of(victim)
        victim.kill()
        return title

    def _victims(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind, once there are some."""
        while self._running().poll() is None:
            workers = list(processes(self._running().pid, TASK))
            victims = [
                process
                for process in workers
                if title_of(process).startswith(ACTOR) == (kind == "actor")
            ]
            if victims:
                return victims
            time.sleep(0.1)
        raise RuntimeError(f"the job ended before its {kind} could be killed")


def rows_of(output: Path) -> list[str]:
    """All rows as text, sorted."""
    return sorted(json.dumps(row, sort_keys=True) for row in Output(str(output)).rows())


def disturb(
    folder: Path, undisturbed: Path, arguments: argparse.Namespace
) -> list[str]:
    """Run the job with its kills; what was killed."""
    output = folder / "killed"
    words = command(
        folder / "photos", output, arguments.workers, arguments.options.split()
    )
    total = len(parts(undisturbed))
    chance = random.Random(arguments.seed)
    moments = sorted(chance.sample(range(1, total - 1), arguments.kills))
    kinds = list(islice(cycle(VICTIMS), arguments.kills))
    killed: list[str] = []
    for title in Campaign(words, output).run(moments, kinds, arguments.seed):
        killed.append(title)
        print(f"killed {title}: {len(parts(output))} of {total} parts", flush=True)
    return killed


def compare(folder: Path, undisturbed: Path, count: int) -> None:
    """Both outputs have the same rows, one a photo.

    Raises:
        RuntimeError: they have not.
    """
    rows, expected = rows_of(folder / "killed"), rows_of(undisturbed)
    if len(rows) != count:
        raise RuntimeError(f"{len(rows)} rows of {count} photos")
    differing = len(set(rows) ^ set(expected))
    if differing:
        raise RuntimeError(f"{differing} rows differ from those of the undisturbed job")
    same_files = parts(folder / "killed") == parts(undisturbed)
    print(
        f"{len(rows)} rows, all as in the undisturbed job; same files: {same_files}",
        flush=True,
    )


def run(folder: Path, arguments: argparse.Namespace) -> None:
    """Make what is missing, kill, compare, write."""
    make_photos(
        find_photos([arguments.source]).paths, arguments.photos, folder / "photos"
    )
    undisturbed: Path = arguments.undisturbed or folder / "undisturbed"
    if not arguments.undisturbed:
        words = command(
            folder / "photos", undisturbed, arguments.workers, arguments.options.split()
        )
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    killed = disturb(folder, undisturbed, arguments)
    compare(folder, undisturbed, arguments.photos)
    if arguments.json:
        values = {"photos": arguments.photos, "killed": killed}
        arguments.json.write_text(json.dumps(values, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="folder of real photos")
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--options", default="--batch 64 --regions 0 --beam 1", help="of scale caption"
    )
    parser.add_argument("--folder", type=Path, help="keeps photos and outputs")
    parser.add_argument(
        "--undisturbed", type=Path, help="the output of an undisturbed job"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run in a folder that stays, or in a temporary one."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        run(arguments.folder or Path(temporary), arguments)


if __name__ == "__main__":
    main()
