"""From a trained model to ONNX graphs that share its ``model.safetensors``.

Each graph is exported from the module that was trained, so no forward pass is written
twice. Weights stay where they are: a graph names file, offset and length of a tensor in
the safetensors file (fp16) and casts it to float32 when it is loaded.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from regiontalk.files import atomic_write
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.extractor import Maps
from regiontalk.runtime.graphs import WEIGHTS_KEY, graph_file, hash_of

# bytes of a constant that may stand in a graph: shapes, a norm's ones and zeros
_MAX_INLINE = 16_384
_INT8 = 3  # of onnx.TensorProto.DataType
_MAX_FOLDED = 1024  # elements of a constant that is computed when a graph is made


class Graph(NamedTuple):
    """A part of a model that is exported by itself.

    Attributes:
        name: of the file.
        part: from the model and the inputs to a tensor, or a tuple of them.
        inputs: example values; lists are taken apart.
        dynamic: for each input the axes that vary.
    """

    name: str
    part: Callable[..., Any]
    inputs: Sequence[Any]
    dynamic: Sequence[Any]


class _Part(nn.Module):
    """A part of a model as a module, so that its weights keep their names."""

    def __init__(self, model: RegionModel, part: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.part = part

    def forward(self, *inputs: Any) -> Any:
        return self.part(self.model, *inputs)


def export_runtime(folder: Path) -> list[Path]:
    """Write the graphs of a model folder beside its weights; the files written.

    Raises:
        ValueError: the folder is no model, or one that does not export; says which part.
        ImportError: onnx and onnxscript are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "graphs are made with onnx: pip install 'regiontalk[train]'"
        ) from error
    model = RegionModel.from_folder(folder)
    weights = folder / "model.safetensors"
    stored, made_for = stored_tensors(weights), hash_of(weights)
    contents = {
        graph_file(folder, graph.name): _export(graph, model, stored, made_for)
        for graph in graphs_of(model)
    }
    for path, content in contents.items():
        atomic_write(path, functools.partial(Path.write_bytes, data=content))
    return list(contents)


def store_in_int8(folder: Path) -> None:
    """Put the decoder of a model folder in int8 (`model.int8`), in place.

    Its graphs must be made anew.

    Raises:
        ValueError: the folder is no model, or one that writes no captions.
    """
    model = RegionModel.from_folder(folder)
    if model.config.precomputed is not None:
        raise ValueError(
            f"{folder}: expected a model that writes captions; this one only aligns"
        )
    card = (folder / "README.md").read_text(encoding="utf-8")
    model.in_int8().save_pretrained(folder, card)


def graphs_of(model: RegionModel) -> list[Graph]:
    """The parts of a model."""
    vectors = torch.zeros(2, 3, model.extractor.vector_size)
    sentences = [torch.full((2, 5), 4), torch.ones(2, 5, dtype=torch.bool)]
    graphs = [
        Graph("embed_regions", _embed_regions, [vectors], [[0, 1]]),
        Graph("encode_text", _encode_text, sentences, [[0, 1], [0, 1]]),
    ]
    if model.config.precomputed is None:
        graphs += [*_photo_graphs(model), *_decoder_graphs(model, vectors)]
    return graphs


def _photo_graphs(model: RegionModel) -> list[Graph]:
    """From pixels to features and from features to those of regions."""
    pixels = _example_pixels(model)
    boxed = [_example_map(model), _example_boxes(model)]
    graphs = [
        Graph("photo", _encode_photos, [pixels], [[0]]),
        Graph("region_features", _region_features, boxed, [[0], [0, 1]]),
    ]
    if model.config.generator.attention:
        graphs.append(Graph("annotations", _annotations, boxed, [[0], [0, 1]]))
    return graphs


def _decoder_graphs(model: RegionModel, vectors: Tensor) -> list[Graph]:
    """The decoder's start and its step; ``vectors`` are example region features (B, N, F)."""
    # no view of those of the boxes, as which it would be traced
    photo_vectors = torch.zeros(2, 1, vectors.shape[2])
    boxes, dynamic = _example_boxes(model), [[0, 1], [0], [0, 1]]
    inputs = [vectors, photo_vectors, boxes]
    with torch.no_grad():
        if model.config.generator.attention:
            region_map = _example_map(model)
            inputs.append(_annotations(model, region_map, boxes))
            dynamic.append([0, 1])
        state = _decoder_start(model, *inputs)
    parts = model.generator.cell_parts
    cell, memory = state[:parts], state[parts:]
    words = torch.full((len(memory[0]),), 4)
    axes = [[0], list(map(_axes, cell)), list(map(_axes, memory))]
    return [
        Graph("decoder_start", _decoder_start, inputs, dynamic),
        Graph("decoder_step", _decoder_step, [words, [*cell], [*memory]], axes),
    ]


def _example_pixels(model: RegionModel) -> Tensor:
    """Network input of two photos."""
    side = model.config.extractor.size
    return torch.zeros(2, 3, side, side)


@torch.no_grad()
def _example_map(model: RegionModel) -> Tensor:
    """The region map of two photos."""
    region_map: Tensor = _encode_photos(model, _example_pixels(model))[0]
    return region_map


def _example_boxes(model: RegionModel) -> Tensor:
    """Three boxes of two photos each, (2, 3, 4)."""
    side = model.config.extractor.size
    return torch.tensor([[0.0, 0.0, side, side / 2]]).expand(2, 3, 4).contiguous()


def _axes(tensor: Tensor) -> list[int]:
    """The axes of a decoder's state that vary: rows, and what attention looks at."""
    return [0, 1] if tensor.ndim > 2 else [0]


def _embed_regions(model: RegionModel, vectors: Tensor) -> Any:
    return model.aligner.embed_regions(vectors)


def _encode_text(model: RegionModel, words: Tensor, mask: Tensor) -> Any:
    """Sentences (C, T) of word numbers and mask, True = a word, to s (C, T, D)."""
    return model.aligner.words(words, mask)


def _encode_photos(model: RegionModel, pixels: Tensor) -> tuple[Tensor, ...]:
    return tuple(model.extractor(pixels))


def _region_features(
    model: RegionModel, region_map: Tensor, boxes_xyxy: Tensor
) -> Tensor:
    return model.extractor.vectors(Maps(region_map, boxes_xyxy, boxes_xyxy), boxes_xyxy)


def _annotations(model: RegionModel, region_map: Tensor, boxes_xyxy: Tensor) -> Tensor:
    return model.annotation_vectors(
        Maps(region_map, boxes_xyxy, boxes_xyxy), boxes_xyxy
    )


def _decoder_start(
    model: RegionModel,
    vectors: Tensor,
    photo_vectors: Tensor,
    boxes_xyxy: Tensor,
    annotations: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The decoder's first cell and its memory, in one row of outputs."""
    condition = model.condition(vectors, photo_vectors, boxes_xyxy).flatten(0, 1)
    if annotations is not None:
        annotations = model.of_each_box(annotations, boxes_xyxy.shape[1]).flatten(0, 1)
    cell, memory = model.generator.start(condition, annotations)
    return (*cell, *memory)


def _decoder_step(
    model: RegionModel, words: Tensor, cell: Sequence[Tensor], memory: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    scores, next_cell, looks = model.generator.look_step(
        words, tuple(cell), tuple(memory)
    )
    return (scores, *next_cell, *([] if looks is None else [looks]))


class StoredTensor(NamedTuple):
    """Where a tensor lies in a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int  # bytes from the file's start
    length: int  # bytes


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Name -> place of every tensor of a safetensors file, from its header."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        tensors[name] = StoredTensor(
            entry["dtype"], shape, 8 + size + begin, end - begin
        )
    return tensors


def _export(
    graph: Graph, model: RegionModel, stored: Mapping[str, StoredTensor], made_for: str
) -> bytes:
    """The bytes of one graph, its weights referred to.

    Raises:
        ValueError: torch does not export the part, or it holds a large constant that is no weight
            of the model.
    """
    from onnxscript import optimizer

    program = _traced(graph, model)
    # bounds of clips, shapes and the like become constants: an operator is fused with the
    # convolution before it only where its bounds are; weights are too large and stay
    optimizer.fold_constants(
        program.model,
        input_size_limit=_MAX_FOLDED,
        output_size_limit=_MAX_FOLDED,
        should_fold=_should_fold,
    )
    optimizer.remove_unused_nodes(program.model)
    proto: Any = program.model_proto
    _refer(proto.graph, graph.name, stored)
    if graph.name == "encode_text":
        _tell_lengths(proto.graph)
    for entry in (
        proto.graph,
        *proto.graph.node,
        *proto.graph.input,
        *proto.graph.output,
    ):
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    del proto.graph.value_info[:], proto.metadata_props[:]
    proto.metadata_props.add(key=WEIGHTS_KEY, value=made_for)
    content: bytes = proto.SerializeToString()
    return content


def _traced(graph: Graph, model: RegionModel) -> Any:
    """One part as torch exports it.

    Raises:
        ValueError: it does not; a network that runs on crops may be any of timm's.
    """
    try:
        with _quiet():
            program = torch.onnx.export(
                _Part(model, graph.part).eval(),
                tuple(graph.inputs),
                dynamo=True,
                # folding would copy transposed weights into the graph
                optimize=False,
                dynamic_shapes=(tuple(_dynamic(axes) for axes in graph.dynamic),),
                verbose=False,
            )
    # torch raises classes of its own for what it cannot trace, and others for what it cannot write
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise ValueError(
            f"model {model.config.name!r}: torch cannot export graph {graph.name} ({reason}); "
            "use the model with --engine torch"
        ) from error
    if program is None:
        raise ValueError(f"graph {graph.name}: torch exported nothing")
    return program


def _should_fold(node: Any) -> bool | None:
    """Refuse constant folding where it would copy a weight into the graph.

    Returns False there, else None: the optimiser decides.
    """
    reads_int8 = any(
        value is not None and value.dtype == _INT8 for value in node.inputs
    )
    return False if reads_int8 or node.op_type == "Transpose" else None


def _dynamic(axes: Sequence[Any]) -> Any:
    """The axes that vary, as torch.export takes them; a list of such for a list of inputs."""
    if axes and isinstance(axes[0], list):
        return [_dynamic(each) for each in axes]
    return dict.fromkeys(axes, torch.export.Dim.DYNAMIC)


def _refer(graph: Any, name: str, stored: Mapping[str, StoredTensor]) -> None:
    """Replace the weights in a graph by references to ``model.safetensors``, and casts to float32.

    Raises:
        ValueError: a large constant is no weight of the model.
    """
    from onnx import TensorProto, helper

    whole_numbers = {"I8": TensorProto.INT8, "I32": TensorProto.INT32}
    casts = []
    for tensor in graph.initializer:
        weight = stored.get(tensor.name.removeprefix("model."))
        if weight is not None and weight.shape != tuple(tensor.dims):
            weight = None
        if weight is not None and weight.dtype in whole_numbers:
            stored_as = _reference(tensor.name, whole_numbers[weight.dtype], weight)
            tensor.CopyFrom(stored_as)
            continue
        if weight is None or weight.dtype != "F16":
            if tensor.ByteSize() > _MAX_INLINE:
                raise ValueError(
                    f"graph {name}: {tensor.name} {tuple(tensor.dims)} is no weight of the model"
                )
            continue
        half = f"{tensor.name}.half"
        casts.append(
            helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT)
        )
        tensor.CopyFrom(_reference(half, TensorProto.FLOAT16, weight))
    _put_first(graph, casts)


def _put_first(graph: Any, nodes: Sequence[Any]) -> None:
    """Let nodes stand before the others of a graph."""
    following = [*graph.node]
    graph.ClearField("node")
    graph.node.extend([*nodes, *following])


def _reference(name: str, data_type: int, weight: StoredTensor) -> Any:
    """A tensor whose values stand in ``model.safetensors``."""
    from onnx import TensorProto

    reference = TensorProto(
        name=name,
        data_type=data_type,
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    reference.external_data.add(key="location", value="model.safetensors")
    reference.external_data.add(key="offset", value=str(weight.offset))
    reference.external_data.add(key="length", value=str(weight.length))
    return reference


def _tell_lengths(graph: Any) -> None:
    """Let the recurrences of a graph end each sentence where its mask, the second input, does."""
    from onnx import TensorProto, helper, numpy_helper

    mask = graph.input[1].name
    axis = numpy_helper.from_array(np.array([1], dtype=np.int64), "lengths.axis")
    graph.initializer.append(axis)
    recurrences = [node for node in graph.node if node.op_type == "GRU"]
    for node in recurrences:
        inputs = [*node.input, *[""] * (5 - len(node.input))]
        inputs[4] = "lengths"
        node.ClearField("input")
        node.input.extend(inputs)
    counted = [
        helper.make_node("Cast", [mask], ["lengths.mask"], to=TensorProto.INT32),
        helper.make_node(
            "ReduceSum", ["lengths.mask", axis.name], ["lengths"], keepdims=0
        ),
    ]
    _put_first(graph, counted)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's reports on every step, which nobody can act on."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
