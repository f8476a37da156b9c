"""Foreign graphs: what may do harm is refused before it is run.

What reads other files, loops, or brings operators of others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regiontalk.model.config import ModelConfig
from regiontalk.model.hub import BUNDLED
from regiontalk.regions.backbones import timm_network
from regiontalk.runtime.graph_check import check_graph


def field(number: int, content: bytes | str) -> bytes:
    """A field of bytes in protobuf's wire format."""
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    data = b""
    while number >= 0x80:
        data += bytes([number & 0x7F | 0x80])
        number >>= 7
    return data + bytes([number])


def entry(key: str, *values: str) -> bytes:
    """Where a tensor's values are."""
    return field(13, field(1, key) + b"".join(field(2, value) for value in values))


def tensor(*values: str) -> bytes:
    return entry("location", *values) + entry("offset", "8")


def graph(part: bytes) -> bytes:
    return b"\x08\x0a" + field(7, part)  # IR version 10, then the graph


def node(*parts: bytes) -> bytes:
    return field(1, field(4, "Add") + b"".join(parts))


def attribute(number: int, content: bytes) -> bytes:
    return field(5, field(1, "value") + field(number, content))


@pytest.mark.parametrize(
    "path", sorted((BUNDLED / "mini").glob("*.onnx")), ids=lambda path: path.stem
)
def test_our_graphs_may_be_run(path: Path) -> None:
    check_graph(path.read_bytes())


EVIL = "/etc/passwd"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            graph(field(5, tensor("model.safetensors"))), None, id="our weights"
        ),
        pytest.param(graph(node()), None, id="an operator"),
        pytest.param(graph(field(5, tensor(EVIL))), EVIL, id="another file"),
        pytest.param(
            graph(field(5, tensor("../model.safetensors"))), "weights in", id="above"
        ),
        pytest.param(
            graph(field(5, tensor("model.safetensors", EVIL))),
            EVIL,
            id="the last counts",
        ),
        pytest.param(graph(field(5, tensor())), "weights in", id="no name"),
        pytest.param(
            graph(field(5, field(13, field(2, EVIL) + field(1, "location")))),
            EVIL,
            id="backwards",
        ),
        pytest.param(graph(node(attribute(5, tensor(EVIL)))), EVIL, id="a constant"),
        pytest.param(
            graph(node(attribute(10, tensor(EVIL)))), EVIL, id="several constants"
        ),
        pytest.param(
            graph(field(15, field(1, tensor(EVIL)))), EVIL, id="a sparse tensor"
        ),
        pytest.param(
            graph(node(attribute(22, field(2, tensor(EVIL))))),
            EVIL,
            id="a sparse constant",
        ),
        pytest.param(
            graph(node(attribute(6, node()))), "loops or branches", id="a loop"
        ),
        pytest.param(
            graph(node(attribute(11, node()))), "loops or branches", id="graphs"
        ),
        pytest.param(
            graph(node(field(7, "evil.ops"))), "operators of b'evil.ops'", id="domain"
        ),
        pytest.param(
            graph(node()) + field(25, b""), "functions of its own", id="function"
        ),
        pytest.param(
            graph(node()) + field(7, node(field(7, "x"))), "of b'x'", id="two graphs"
        ),
        pytest.param(graph(node())[:-2], "cut short", id="cut short"),
        pytest.param(b"\x3b", "no ONNX graph", id="no protobuf"),
        pytest.param(b"\xff" * 20, "no ONNX graph", id="an endless number"),
    ],
)
def test_graphs(data: bytes, message: str | None) -> None:
    if message is None:
        check_graph(data)
        return
    with pytest.raises(ValueError, match=message):
        check_graph(data)


def test_the_onnx_package_writes_what_is_refused(tmp_path: Path) -> None:
    """The same by the library that everybody writes graphs with."""
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    values = onnx.helper.make_tensor(
        "w", onnx.TensorProto.FLOAT, [2], bytes(8), raw=True
    )
    made = onnx.helper.make_graph([], "g", [], [], [values])
    check_graph(onnx.helper.make_model(made).SerializeToString())
    onnx.external_data_helper.set_external_data(values, EVIL)
    values.ClearField("raw_data")
    made = onnx.helper.make_graph([], "g", [], [], [values])
    with pytest.raises(ValueError, match=EVIL):
        check_graph(onnx.helper.make_model(made).SerializeToString())
    body = onnx.helper.make_graph([], "body", [], [])
    loop = onnx.helper.make_node("Loop", ["n", "go"], ["out"], body=body)
    with pytest.raises(ValueError, match="loops or branches"):
        check_graph(
            onnx.helper.make_model(
                onnx.helper.make_graph([loop], "g", [], [])
            ).SerializeToString()
        )


@pytest.mark.parametrize(
    "name", ["hf-hub:somebody/net", "local-dir:/etc", "../net", "a/b", ""]
)
def test_a_backbone_is_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def made(*_: Any, **__: Any) -> None:
        raise AssertionError("timm was asked")

    monkeypatch.setattr(timm, "create_model", made)
    with pytest.raises(ValueError, match="expected a timm model name"):
        timm_network(name, pretrained=False)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("extractor", "size"),
        ("extractor", "features"),
        ("extractor", "proposal_width"),
        ("aligner", "size"),
        ("aligner", "hidden"),
        ("aligner", "word_size"),
        ("generator", "hidden"),
        ("generator", "word_size"),
        ("decoding", "beams"),
        ("decoding", "max_words"),
        ("decoding", "photo_min_words"),
        ("decoding", "candidates"),
        ("decoding", "region_beams"),
    ],
)
def test_no_setting_takes_all_memory(section: str, key: str) -> None:
    config = json.loads((BUNDLED / "mini" / "config.json").read_text())
    config.setdefault(section, {})[key] = 10**9
    with pytest.raises(ValueError, match=rf"{section}\.{key}\s"):
        ModelConfig.model_validate_json(json.dumps(config))
