"""Whether an ONNX graph may be run.

A foreign one must not read other files, call home or never end. A graph is a program.
ONNX Runtime gives it no way to start others, but a graph may name any file as the place
of its weights, and loops may run for ever. So weights may stand in
``model.safetensors`` alone, and what brings a graph inside a graph (loops, branches,
functions) or operators of others is refused; the graphs of `runtime.export` have
neither. The file is read as protobuf's wire format:
https://protobuf.dev/programming-guides/encoding/ and
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto for the numbers of fields.
"""

from __future__ import annotations

from collections.abc import Iterator

WEIGHTS_FILE = b"model.safetensors"
_VARINT, _FIXED64, _BYTES, _FIXED32 = (
    0,
    1,
    2,
    5,
)  # wire types; those of groups are no longer used
_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL, _ENTRY_KEY, _ENTRY_VALUE = 13, 1, 2
_SPARSE_TENSORS = (1, 2)
_DOMAINS = (b"", b"ai.onnx", b"com.microsoft", b"pkg.onnxscript.torch_lib")


def check_graph(data: bytes) -> None:
    """Refuse a graph that may not be run.

    Raises:
        ValueError: it reads another file than the weights, has control flow or
            functions of its own, has operators of others, or is no protobuf.
    """
    for field, model_part in _messages(memoryview(data)):
        if field == _MODEL_FUNCTION:
            raise ValueError("has functions of its own, which a model of ours has not")
        if field == _MODEL_GRAPH:
            _check_parts(model_part)


def _check_parts(graph: memoryview) -> None:
    """Refuse a graph for one of its operators or tensors."""
    for field, content in _messages(graph):
        if field == _GRAPH_NODE:
            _check_node(content)
        elif field == _GRAPH_TENSOR:
            _check_tensor(content)
        elif field == _GRAPH_SPARSE:
            _check_sparse(content)


def _check_node(node: memoryview) -> None:
    """Refuse an operator of others, and one with a graph inside."""
    for field, content in _messages(node):
        if field == _NODE_DOMAIN and bytes(content) not in _DOMAINS:
            raise ValueError(f"has operators of {bytes(content[:40])!r}")
        if field != _NODE_ATTRIBUTE:
            continue
        for kind, value in _messages(content):
            if kind in _ATTRIBUTE_GRAPHS:
                raise ValueError("has loops or branches, which a model of ours has not")
            if kind in _ATTRIBUTE_TENSORS:
                _check_tensor(value)
            elif kind in _ATTRIBUTE_SPARSE:
                _check_sparse(value)


def _check_sparse(sparse: memoryview) -> None:
    for field, tensor in _messages(sparse):
        if field in _SPARSE_TENSORS:
            _check_tensor(tensor)


def _check_tensor(tensor: memoryview) -> None:
    """Refuse a tensor whose values stand in another file than the weights."""
    for field, entry in _messages(tensor):
        if field != _TENSOR_EXTERNAL:
            continue
        pairs = list(_messages(entry))
        keys = [bytes(value) for number, value in pairs if number == _ENTRY_KEY]
        values = [bytes(value) for number, value in pairs if number == _ENTRY_VALUE]
        if b"location" in keys and values != [WEIGHTS_FILE]:
            location = values[-1][:80] if values else b""
            raise ValueError(
                f"has weights in {location!r}; expected {WEIGHTS_FILE.decode()}"
            )


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field that is a message, a text or bytes.

    Raises:
        ValueError: it is no protobuf.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        elif wire_type == _BYTES:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise ValueError("is cut short")
            yield field, data[position : position + length]
            position += length
        else:
            raise ValueError("is no ONNX graph")
    if position > len(data):
        raise ValueError("is cut short")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ValueError("is cut short or no ONNX graph")
