"""How many captions a second a server gives to 1, 8 and 32 clients.

Its errors, and whether its memory stays flat.

    # each number of clients for a minute
    python benchmarks/serve_load.py --seconds 60 --json out/serve_load.json
    # ten minutes of load
    python benchmarks/serve_load.py --clients 32 --seconds 600
    python benchmarks/serve_load.py --clients 32 --seconds 600 --idle 1000 --slow 20 --aborted 4

The server runs as a program of its own (``regiontalk serve``); clients are threads that
send the next photo when the last answer has come. A client that is sent away (503)
waits as long as it was told, and is counted beside the errors, which are all answers
but 200 and 503. Memory is the server's resident size, taken from ``/metrics``; growth
compares the last tenth of a run with its second. Beside them there may be connections
that say nothing, slow clients that send a byte a second, and clients that break off in
the middle of an upload, one after the other; the server has the limit of open files
that it is started with.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from PIL import Image

from regiontalk.files import write_data

SHARED = Path(__file__).resolve().parents[2] / "shared/data/coco/val2017"
PROGRAM = [
    sys.executable,
    "-c",
    "from regiontalk.cli.main import app; app()",
    "serve",
    "--no-open",
    "--port",
    "0",
]


@dataclass
class Tally:
    """What the clients of one run saw; a lock guards it."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    megabytes: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, status: str, seconds: float) -> None:
        """One answer."""
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == "200":
                self.seconds.append(seconds)


def main() -> None:
    """Print the table and write it as JSON."""
    arguments = parse_arguments()
    photos = read_photos()
    report: dict[str, Any] = {
        "model": arguments.model,
        "regions": arguments.regions,
        "seconds": arguments.seconds,
    }
    report |= {
        "threads": arguments.threads,
        "machine": platform.processor() or platform.machine(),
    }
    with running(arguments.model, arguments.threads, max(arguments.clients)) as address:
        load(
            address, photos, 1, 2.0, arguments.regions
        )  # the first answers wait for what is loaded late
        report["runs"] = []
        for clients in arguments.clients:
            with nuisance(
                address, arguments.idle, arguments.slow, arguments.aborted
            ) as broken:
                tally = load(
                    address, photos, clients, arguments.seconds, arguments.regions
                )
            run = summary(clients, arguments.seconds, tally)
            report["runs"].append(run | {"aborted uploads": sum(broken)})
    report["load"] = os.getloadavg()[0]
    show(report["runs"])
    if arguments.json is not None:
        write_data(arguments.json, (json.dumps(report, indent=2) + "\n").encode())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument(
        "--idle", type=int, default=0, help="connections that say nothing"
    )
    parser.add_argument(
        "--slow", type=int, default=0, help="clients that send a byte a second"
    )
    parser.add_argument(
        "--aborted", type=int, default=0, help="clients that break off uploads"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def read_photos() -> list[bytes]:
    """JPEG files: of COCO where they are at hand, else two pictures of scikit-image."""
    if SHARED.is_dir():
        return [path.read_bytes() for path in sorted(SHARED.glob("*.jpg"))]
    from skimage import data

    files = []
    for values in (data.astronaut(), data.chelsea()):
        target = io.BytesIO()
        Image.fromarray(values).save(target, "JPEG", quality=90)
        files.append(target.getvalue())
    return files


@contextmanager
def running(model: str, threads: int, clients: int) -> Iterator[str]:
    """A server; its address without the last slash."""
    program = [*PROGRAM, "--model", model, "--waiting", str(max(32, clients))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(
        program,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as server:
        assert server.stderr is not None
        lines = []
        for line in server.stderr:
            lines.append(line)
            if line.startswith("RegionTalk: "):
                break
        else:
            raise OSError(f"the server did not start: {''.join(lines)}")
        drain = threading.Thread(
            target=lambda: [None for _ in server.stderr or ()], daemon=True
        )
        drain.start()
        try:
            yield lines[-1].split()[1].rstrip("/")
        finally:
            server.terminate()
            drain.join()  # before the pipe is closed


def load(
    address: str, photos: Sequence[bytes], clients: int, seconds: float, regions: int
) -> Tally:
    """Ask with so many clients for so long."""
    tally = Tally()
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=client,
            args=(address, photos[number:] + photos[:number], end, regions, tally),
        )
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    with httpx2.Client(timeout=60) as asking:
        while time.monotonic() < end:
            tally.megabytes.append(resident(asking.get(f"{address}/metrics").text))
            time.sleep(min(1.0, seconds / 20))
    for thread in threads:
        thread.join()
    return tally


HEAD = (
    b"POST /v1/caption HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000000\r\n\r\n"
)


@contextmanager
def nuisance(address: str, idle: int, slow: int, aborted: int) -> Iterator[list[int]]:
    """Connections that say nothing, slow clients and broken uploads meanwhile.

    Yields the counts of the latter.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, most)
    )  # of this program, not of the server
    stop = threading.Event()
    broken = [0] * aborted
    with ExitStack() as stack:
        for _ in range(idle):
            stack.enter_context(connect(address))
        threads = [
            threading.Thread(target=send_slowly, args=(address, stop))
            for _ in range(slow)
        ]
        threads += [
            threading.Thread(target=break_off, args=(address, stop, broken, number))
            for number in range(aborted)
        ]
        for thread in threads:
            thread.start()
        try:
            yield broken
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def connect(address: str) -> socket.socket:
    """An open connection to the server."""
    parts = urlsplit(address)
    assert parts.hostname is not None and parts.port is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def send_slowly(address: str, stop: threading.Event) -> None:
    """Send an upload a byte a second, again when the server has had enough."""
    while not stop.is_set():
        with suppress(OSError), connect(address) as connection:
            connection.sendall(HEAD)
            while not stop.wait(1.0):
                connection.sendall(b" ")


def break_off(
    address: str, stop: threading.Event, broken: list[int], number: int
) -> None:
    """Send half an upload and go, twice a second."""
    while not stop.wait(0.5):
        with suppress(OSError), connect(address) as connection:
            connection.sendall(HEAD + b'{"photo": "' + b"A" * 500_000)
            broken[number] += 1


def client(
    address: str, photos: Sequence[bytes], end: float, regions: int, tally: Tally
) -> None:
    """One client: photo after photo."""
    number = 0
    with httpx2.Client(timeout=60) as asking:
        while time.monotonic() < end:
            files = {"photo": ("photo.jpg", photos[number % len(photos)])}
            number += 1
            begun = time.monotonic()
            try:
                answer = asking.post(
                    f"{address}/v1/caption", files=files, data={"regions": str(regions)}
                )
            except httpx2.HTTPError as error:
                tally.saw(type(error).__name__, 0.0)
                continue
            tally.saw(str(answer.status_code), time.monotonic() - begun)
            if answer.status_code == 503:
                retry_after = float(answer.headers["retry-after"])
                time.sleep(max(0.0, min(retry_after, end - time.monotonic())))


def resident(metrics: str) -> float:
    """The server's resident memory in megabytes, from the text of ``/metrics``."""
    line = next(
        line
        for line in metrics.splitlines()
        if line.startswith("process_resident_memory_bytes ")
    )
    return float(line.split()[1]) / 1e6


def summary(clients: int, seconds: float, tally: Tally) -> dict[str, Any]:
    """What is reported of one run."""
    taken = sorted(tally.seconds) or [0.0]
    tenth = max(1, len(tally.megabytes) // 10)
    early, late = (
        statistics.mean(tally.megabytes[tenth : 2 * tenth] or [0]),
        statistics.mean(tally.megabytes[-tenth:]),
    )
    return {
        "clients": clients,
        "captions a second": len(tally.seconds) / seconds,
        "median ms": 1e3 * statistics.median(taken),
        "p99 ms": 1e3 * taken[min(len(taken) - 1, int(0.99 * len(taken)))],
        "statuses": tally.statuses,
        "sent away": tally.statuses.get("503", 0),
        "errors": sum(
            count
            for status, count in tally.statuses.items()
            if status not in ("200", "503")
        ),
        "most MB": max(tally.megabytes),
        "growth MB": late - early,
    }


def show(runs: Sequence[dict[str, Any]]) -> None:
    """The table."""
    print(
        f"{'clients':>8} {'photos/s':>9} {'median ms':>10} {'p99 ms':>8} {'sent away':>9} "
        f"{'errors':>7} {'most MB':>8} {'growth MB':>10}"
    )
    for run in runs:
        print(
            f"{run['clients']:8d} {run['captions a second']:9.2f} {run['median ms']:10.0f} "
            f"{run['p99 ms']:8.0f} {run['sent away']:9d} {run['errors']:7d} "
            f"{run['most MB']:8.0f} {run['growth MB']:10.1f}  {run['statuses']}"
        )


if __name__ == "__main__":
    main()
