"""The job files under examples/scale.

Ray's own check, KubeRay's fields, and commands that our parser takes.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from regiontalk.cli.scale import app

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

EXAMPLES = Path(__file__).parents[2] / "examples" / "scale"
SCHEMA = Path(__file__).with_name("kuberay_schema.yaml")


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


@pytest.fixture
def manifest() -> Any:
    return yaml.safe_load((EXAMPLES / "kuberay_job.yaml").read_text(encoding="utf-8"))


def problems(manifest: Any) -> list[str]:
    """Where a manifest is not what KubeRay's definition asks for."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs regiontalk[scale]")
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    return [".".join(map(str, error.absolute_path)) for error in errors]


def test_the_manifest_fits_the_schema(manifest: Any) -> None:
    assert problems(manifest) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.rayClusterSpec.workers", 16, id="unknown field"),
        pytest.param("spec.backoffLimit", "4", id="text for a number"),
        pytest.param("spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus", 0),
        pytest.param("spec.rayClusterSpec.workerGroupSpecs.0.maxReplicas", None),
        pytest.param("apiVersion", "ray.io/v1alpha1"),
    ],
)
def test_the_schema_refuses(manifest: Any, path: str, value: Any) -> None:
    *steps, last = path.split(".")
    node = manifest
    for step in steps:
        node = node[int(step) if step.isdigit() else step]
    node[last] = value
    assert len(problems(manifest)) == 1


def test_the_command_of_the_manifest(manifest: Any) -> None:
    options = parse(manifest["spec"]["entrypoint"])
    cluster = manifest["spec"]["rayClusterSpec"]
    cores = 0
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        cores += group["replicas"] * int(container["resources"]["limits"]["cpu"])
    # some are left to read
    assert cores >= options["workers"] * options["threads"] + 16
