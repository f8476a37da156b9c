"""The `Predictor` on ONNX Runtime: a model folder with graphs, and no torch."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from regiontalk.model.config import ModelConfig
from regiontalk.model.storage import open_folder
from regiontalk.records import FloatArray
from regiontalk.runtime.graph_check import check_graph
from regiontalk.runtime.graphs import WEIGHTS_KEY, graph_file, hash_of
from regiontalk.runtime.parallel import free_workers, in_parallel, usable_cores
from regiontalk.runtime.predictor import (
    DecoderState,
    DecoderStep,
    PhotoFeatures,
    Predictor,
)
from regiontalk.runtime.search import IntArray
from regiontalk.text.vocabulary import END, pad_token_ids

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
# read in one run: enough to be quick, few enough to be of nearly one length
SENTENCES_TOGETHER = 16
TEXTS_KEPT = 4096  # whose vectors are remembered, 4 MB of them
CROPS_TOGETHER = 16  # a network on crops needs a gigabyte for a hundred


class OnnxPredictor(Predictor):
    """The graphs of a model folder, each loaded when it is first asked."""

    def __init__(
        self, folder: Path, *, device: str = "cpu", threads: int | None = None
    ) -> None:
        """Open a folder.

        Args:
            folder: a model with graphs (`runtime.export`).
            device: one of `PROVIDERS`, as this onnxruntime has it.
            threads: that compute, on a processor; None takes as many as there are cores.

        Raises:
            ValueError: no such device, a file is missing or damaged, or the graphs belong to other
                weights.
        """
        config, vocabulary = open_folder(folder, ModelConfig)
        super().__init__(config, vocabulary)
        self._on_processor = device == "cpu"
        self.workers = (threads or usable_cores()) if self._on_processor else 1
        self._folder = folder
        self._sessions: dict[tuple[str, int], tuple[Any, list[str]]] = {}
        self._loading = threading.Lock()
        self._tensors: dict[str, FloatArray] = {}
        self._text_vector = functools.lru_cache(TEXTS_KEPT)(self._read_text)
        self._providers = find_providers(device)
        self._hash = hash_of(folder / "model.safetensors")
        if config.precomputed is None:
            # a folder that cannot work is found at once
            self._session("photo", self.workers)

    def encode_photos(self, pixels: FloatArray) -> PhotoFeatures:
        """Features of network input (B, 3, S, S).

        On a processor one photo is computed by all threads together, and of several each thread
        takes one after another: the maps of more do not fit its cache.
        """
        if len(pixels) < 2 or not self._on_processor:
            threads = free_workers(self.workers)
            return PhotoFeatures(*self._run("photo", pixels, threads=threads))
        tasks = [
            functools.partial(self._run, "photo", pixels[row : row + 1])
            for row in range(len(pixels))
        ]
        outputs = in_parallel(tasks, self.workers)
        return PhotoFeatures(*map(np.concatenate, zip(*outputs, strict=True)))

    def region_features(
        self, features: PhotoFeatures, boxes_xyxy: FloatArray
    ) -> FloatArray:
        """Region features (B, N, F) of boxes (B, N, 4) in network pixels.

        Raises:
            ValueError: a model of precomputed features is asked for other boxes than theirs.
        """
        if self.config.precomputed is None:
            return self._of_boxes("region_features", features, boxes_xyxy)
        count = boxes_xyxy.shape[1]
        if not np.array_equal(features.boxes_xyxy[:, :count], boxes_xyxy):
            raise ValueError(
                "this model reads given features: expected their own boxes, got "
                "others, which have none"
            )
        return features.regions[:, :count]

    def embed_regions(self, region_features: FloatArray) -> FloatArray:
        """V of eq. 1: region features (B, N, F) to (B, N, D)."""
        return self._one("embed_regions", region_features)

    def encode_text(
        self, sentences: Sequence[Sequence[int]]
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """S of eq. 6: C lists of word numbers to (C, T, D) and mask (C, T)."""
        aligner = self.config.aligner
        closing = [END] if aligner.sentence_token else []
        words, mask = pad_token_ids([[*sentence, *closing] for sentence in sentences])
        lengths = mask.sum(1)
        vectors = np.zeros((*words.shape, aligner.size), dtype=np.float32)
        # sentences of like length are read together
        order = np.argsort(lengths, kind="stable")
        for first in range(0, len(order), SENTENCES_TOGETHER):
            rows = order[first : first + SENTENCES_TOGETHER]
            width = lengths[rows[-1]]
            if width:
                vectors[rows, :width] = self._one(
                    "encode_text", words[rows, :width], mask[rows, :width]
                )
        if aligner.sentence == "last":
            return vectors, np.arange(words.shape[1]) == lengths[:, None] - 1
        return vectors, mask

    def text_vectors(self, texts: Sequence[tuple[int, ...]]) -> FloatArray:
        """As `Predictor.text_vectors`; what regions often say is read once.

        Each is read alone, so that no last digit depends on what it was first asked with.
        """
        rows = [self._text_vector(text) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(-1, self.config.aligner.size)

    def _read_text(self, text: tuple[int, ...]) -> FloatArray:
        """The vector of one text, (D,)."""
        return np.asarray(super().text_vectors([text])[0])

    def start(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        attended: FloatArray | None = None,
        *,
        vectors: FloatArray | None = None,
    ) -> DecoderState:
        """Prepare to write about the boxes (B, N, 4) of B photos."""
        generator = self.config.generator
        if vectors is None:
            vectors = self.start_features(features, boxes_xyxy)
        inputs = [vectors[:, 1:], vectors[:, :1], boxes_xyxy]
        if generator.attention:
            if not generator.regions:
                attended = boxes_xyxy
            elif attended is None:
                attended, _ = self.propose(features, generator.regions)
            inputs.append(self._of_boxes("annotations", features, attended))
        results = self._run("decoder_start", *inputs)
        cells = len(self._output_names("decoder_step")) - 1 - bool(generator.attention)
        return DecoderState(tuple(results[:cells]), tuple(results[cells:]))

    def step(self, words: IntArray, state: DecoderState) -> DecoderStep:
        """One word further."""
        log_probabilities, *cell = self._run(
            "decoder_step", words, *state.cell, *state.memory
        )
        attention = cell.pop() if self.config.generator.attention else None
        return DecoderStep(log_probabilities, tuple(cell), attention)

    def tensor(self, name: str) -> FloatArray:
        """One weight by its name, float32; it is kept, for the checks ask at every photo."""
        if name not in self._tensors:
            self._tensors[name] = np.asarray(self.weights()[name], dtype=np.float32)
        return self._tensors[name]

    @functools.cached_property
    def _weights(self) -> Mapping[str, NDArray[Any]]:
        path = self._folder / "model.safetensors"
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(
                f"{path}: expected a safetensors file ({error})"
            ) from error

    def weights(self) -> Mapping[str, NDArray[Any]]:
        """All weights as they stand on disk, float16."""
        return self._weights

    def _of_boxes(
        self, graph: str, features: PhotoFeatures, boxes_xyxy: FloatArray
    ) -> FloatArray:
        """What a graph makes of boxes (B, N, 4); of crops a few at a time."""
        if self.config.extractor.crops is None:
            return self._one(graph, features.regions, boxes_xyxy)
        columns = max(1, CROPS_TOGETHER // max(1, len(boxes_xyxy)))
        splits = range(columns, boxes_xyxy.shape[1], columns)
        chunks = [
            self._one(graph, features.regions, boxes)
            for boxes in np.split(boxes_xyxy, splits, axis=1)
        ]
        return np.concatenate(chunks, 1)

    def _one(self, graph: str, *inputs: Any) -> FloatArray:
        """The only output of a graph."""
        (output,) = self._run(graph, *inputs)
        return output

    def _run(self, graph: str, *inputs: Any, threads: int = 1) -> list[FloatArray]:
        session, names = self._session(graph, threads)
        if len(names) != len(inputs):
            raise ValueError(
                f"{graph_file(self._folder, graph)}: expected a graph with "
                f"{len(inputs)} inputs, got {len(names)}"
            )
        try:
            results: list[FloatArray] = session.run(
                None, dict(zip(names, inputs, strict=True))
            )
        # as in `_load`: a graph that does not fit its settings
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"{graph_file(self._folder, graph)}: does not work with the model's "
                f"settings ({reason})"
            ) from error
        return results

    def _output_names(self, graph: str) -> list[str]:
        return [each.name for each in self._session(graph)[0].get_outputs()]

    def _session(self, graph: str, threads: int = 1) -> tuple[Any, list[str]]:
        """The session of one graph, and the names of its inputs.

        A graph other than the backbone's is small: a second thread gains it nothing, and one
        caption's graphs run beside another's instead (`workers`).

        Raises:
            ValueError: the graph is missing or damaged, or was made for other weights.
        """
        with self._loading:  # two threads that ask for one graph load it once
            if (graph, threads) not in self._sessions:
                session = self._load(graph, threads)
                names = [each.name for each in session.get_inputs()]
                self._sessions[graph, threads] = session, names
            return self._sessions[graph, threads]

    def _load(self, graph: str, threads: int) -> Any:
        import onnxruntime

        path = graph_file(self._folder, graph)
        if not path.is_file():
            raise ValueError(
                f"{path}: expected the graph of a model for use, no such file; make it with: "
                f"regiontalk export-runtime {self._folder} (needs regiontalk[train])"
            )
        try:
            check_graph(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{path}: expected an ONNX graph of this model ({error})"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        # threads wait busily for their share of an operator, which saves a quarter of the time, but
        # not once the graph is done: they would take the processor from the next graph
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=self._providers
            )
        # onnxruntime raises a class of its own for every kind of damage
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"{path}: expected an ONNX graph of this model ({reason})"
            ) from error
        made_for = session.get_modelmeta().custom_metadata_map.get(WEIGHTS_KEY)
        if made_for != self._hash:
            raise ValueError(
                f"{path}: was made for other weights than "
                f"{self._folder / 'model.safetensors'}; make it anew with: regiontalk "
                f"export-runtime {self._folder}"
            )
        return session


def find_providers(device: str) -> list[str]:
    """The providers of ONNX Runtime for a device, the processor behind the others.

    >>> find_providers("cpu")
    ['CPUExecutionProvider']

    Raises:
        ValueError: no such device, or this onnxruntime has no provider for it.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    usable = [name for name, provider in PROVIDERS.items() if provider in available]
    if device not in usable:
        raise ValueError(
            f"device: expected one of {', '.join(usable)} (what this onnxruntime has), "
            f"got {device!r}; accelerators need their own build of it, or --engine "
            "torch"
        )
    return list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]]))
