"""The job files under examples/scale: Ray's own check of a runtime environment, and commands that our parser takes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from regiontalk.cli.scale import app

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

EXAMPLES = Path(__file__).parents[2] / "examples" / "scale"


def parse(command: str) -> dict[str, Any]:
    """The options of a ``regiontalk scale`` command; unknown ones and missing ones raise."""
    program, group, verb, *words = shlex.split(command)
    assert (program, group) == ("regiontalk", "scale")
    commands: Any = get_command(app)
    context = commands.commands[verb].make_context(verb, words)
    values: dict[str, Any] = context.params
    return values


def test_the_runtime_environment_of_a_ray_job() -> None:
    pytest.importorskip("ray", reason="needs regiontalk[scale]")
    from ray.runtime_env import RuntimeEnv

    text = (EXAMPLES / "ray_job.yaml").read_text(encoding="utf-8")
    environment = RuntimeEnv(**yaml.safe_load(text))
    assert environment.has_pip() and environment.env_vars() == {"OMP_NUM_THREADS": "1"}
    lines = [line.removeprefix("#").strip() for line in text.splitlines()]
    command = next(line for line in lines if line.startswith("regiontalk "))
    assert parse(command)["address"] == "auto"


def test_the_manifest_of_kuberay() -> None:
    manifest = yaml.safe_load(
        (EXAMPLES / "kuberay_job.yaml").read_text(encoding="utf-8")
    )
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    options = parse(manifest["spec"]["entrypoint"])
    cluster = manifest["spec"]["rayClusterSpec"]
    cores = 0
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        cores += group["replicas"] * int(container["resources"]["limits"]["cpu"])
    assert (
        cores >= options["workers"] * options["threads"] + 16
    )  # some are left to read
