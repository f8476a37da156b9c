"""Ask a server what its own OpenAPI document allows, and things near it.

An answer of 500 or above is a fault.

    # not part of any extra: it brings ten packages along
    pip install schemathesis
    python benchmarks/api_fuzz.py --photo a.jpg --examples 50
    python benchmarks/api_fuzz.py --photo a.jpg --index photos.index --json out/api_fuzz.json

The server runs as a program of its own (``regiontalk serve``). schemathesis draws every request
from the document; in every second one photo and words, which it can only draw as random bytes and
letters, are real ones, so that what stands behind the decoder is asked too. Ends with 1 where a
server error was found, and prints the request that it shrank to.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regiontalk.files import write_data

PROGRAM = [
    sys.executable,
    "-c",
    "from regiontalk.cli.main import app; app()",
    "serve",
    "--no-open",
    "--port",
    "0",
]


def main() -> None:
    """Print the statuses of every request and write them as JSON."""
    arguments = parse_arguments()
    options = [
        "--model",
        arguments.model,
        *(["--index", arguments.index] if arguments.index else []),
    ]
    with serving(options) as address:
        statuses, faults = fuzz(
            address, arguments.photo.read_bytes(), arguments.examples
        )
    for label, counted in statuses.items():
        print(
            f"{label:22} "
            + "  ".join(
                f"{status}: {number}" for status, number in sorted(counted.items())
            )
        )
    for fault in faults:
        print(f"\n{fault}", file=sys.stderr)
    print(f"{len(faults)} server errors")
    if arguments.json:
        report = {"statuses": statuses, "server_errors": len(faults)}
        write_data(arguments.json, json.dumps(report, indent=1).encode())
    sys.exit(1 if faults else 0)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--photo", type=Path, required=True, help="a picture that the server can use"
    )
    parser.add_argument("--index", help="a library, so that searches go through")
    parser.add_argument(
        "--examples", type=int, default=50, help="requests of each kind"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


@contextmanager
def serving(options: Sequence[str]) -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    with subprocess.Popen(
        [*PROGRAM, *options], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        try:
            yield next(
                line.split()[1]
                for line in running.stderr
                if line.startswith("RegionTalk: ")
            )
        finally:
            running.kill()


def fuzz(
    address: str, photo: bytes, examples: int
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Statuses of each kind of request.

    And one shrunk request a kind that ended in a server error.
    """
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    schema = schemathesis.openapi.from_url(f"{address}openapi.json")
    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    statuses: dict[str, Counter[str]] = {}
    faults: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        counted = statuses[operation.label] = Counter()
        asking = chosen(
            given(operation.as_strategy(), st.booleans())(_asker(photo, counted))
        )
        try:
            asking()
        except AssertionError as error:
            faults.append(f"{operation.label}: {error}")
    return statuses, faults


def _asker(photo: bytes, counted: Counter[str]) -> Callable[[Any, bool], None]:
    """What sends one request, and fails where the server does.

    With a real photo and words, or with its own.
    """

    def ask(case: Any, real: bool) -> None:
        if real and isinstance(case.body, dict):
            as_text = case.media_type == "application/json"
            case.body["photo"] = base64.b64encode(photo).decode() if as_text else photo
            case.body |= {
                key: "a dog"
                for key in ("sentence", "phrase", "text")
                if key in case.body
            }
        answer = case.call(timeout=60)
        counted[str(answer.status_code)] += 1
        assert answer.status_code < 500, (
            f"{answer.status_code} {answer.text}\n{case.as_curl_command()[:2000]}"
        )

    return ask


if __name__ == "__main__":
    main()
