"""Ray, as quiet as a command needs it.

A cluster that is there, or workers of this machine alone.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ANSWER_SECONDS = 5.0  # in which a cluster must take a connection
CLIENT_PORT = 10001  # of an address ray://host, as Ray's documentation says
# tries to reach a cluster; by itself Ray goes on for two minutes
TRIES = ("RAY_gcs_server_port_wait_time_s", "1")
# bytes of Ray's object store on this machine: what waits between steps
LOCAL_STORE = 1 << 30


def ray_data() -> Any:
    """The package `ray.data`, without its reports.

    Raises:
        ImportError: Ray is not installed; says how to.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's core prints what it deals with by itself, such as how an actor was made
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray.data
    except ImportError as error:
        raise ImportError(
            "scale needs Ray and Arrow; install them with: pip install 'regiontalk[scale]'"
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray.data


@contextmanager
def ray_session(address: str | None, workers: int, threads: int = 1) -> Iterator[None]:
    """Ray for the time of a job; one that runs in this process already is used as it is.

    Args:
        address: of a cluster, or "auto" for the one of this machine; None takes
            RAY_ADDRESS, or else starts workers of this machine that end with the job.
        workers: processes that caption.
        threads: of each.

    Raises:
        ConnectionError: there is no cluster at the address.
        ImportError: Ray is not installed.
    """
    ray_data()
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    with _stderr_silenced():
        if address is None:
            _start_here(workers * threads + 1, quiet)  # one more reads
        else:
            _connect(address, quiet)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Send what native code writes to stderr nowhere: Ray's core reports there that it is quiet."""
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _start_here(cpus: int, quiet: dict[str, Any]) -> None:
    """Start Ray on this machine."""
    import ray

    try:
        ray.init(
            # else Ray takes the address that a cluster of this machine left behind
            address="local",
            num_cpus=cpus,
            object_store_memory=LOCAL_STORE,
            include_dashboard=False,
            **quiet,
        )
    except Exception as error:  # Ray raises nothing more special
        raise ConnectionError(
            f"Ray did not start on this machine ({_first_line(error)}); start the job "
            "again when the machine is less busy, or start a cluster with: ray start "
            "--head, and name it with --address auto"
        ) from error


def _connect(address: str, quiet: dict[str, Any]) -> None:
    """Connect to a cluster."""
    import ray

    try:
        _check_answer(address)
        with _environment(*TRIES):
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise ConnectionError(
            f"--address {address}: no Ray cluster answers there "
            f"({_first_line(error)}); start one with: ray start --head, or leave "
            "--address away to use this machine alone; a cluster that asks for a token "
            "needs RAY_AUTH_MODE=token"
        ) from None


def _check_answer(address: str) -> None:
    """Ask whether anybody listens at an address, which Ray does for most of a minute.

    Raises:
        OSError: nobody takes a connection.
        ValueError: this is no address.
    """
    from ray._private.services import canonicalize_bootstrap_address

    if address.startswith("ray://"):
        host, _, port = address.removeprefix("ray://").partition(":")
        socket.create_connection(
            (host, int(port or CLIENT_PORT)), ANSWER_SECONDS
        ).close()
        return
    # "auto" also names a cluster of this machine that was killed; None where there never was one
    where = canonicalize_bootstrap_address(address)
    if where is not None:
        host, _, port = where.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment for a moment; one that the user has set stays."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _first_line(error: BaseException) -> str:
    if "InvalidAuthToken" in str(error.__cause__):
        return "it asks for a token, and got none or a wrong one"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
