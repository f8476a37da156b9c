"""The `Predictor` on torch.

For models just trained, for accelerators, and for networks that do not export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.generate.model import Generator
from regiontalk.model.config import DecodingConfig
from regiontalk.model.region_model import RegionModel, resolve_device
from regiontalk.records import FloatArray
from regiontalk.regions.extractor import Maps
from regiontalk.runtime.predictor import (
    DecoderState,
    DecoderStep,
    PhotoFeatures,
    Predictor,
    best_captions,
)
from regiontalk.runtime.search import Fixed, Hypothesis, IntArray, Step


class TorchPredictor(Predictor):
    """A `RegionModel` behind arrays, in float32."""

    def __init__(self, model: RegionModel, device: str | torch.device = "cpu") -> None:
        """Take a built model in evaluation mode to a device.

        Raises:
            ValueError: this torch cannot compute on the device.
        """
        super().__init__(model.config, model.vocabulary)
        self.device = resolve_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def encode_photos(self, pixels: FloatArray) -> PhotoFeatures:
        """Features of network input (B, 3, S, S)."""
        values = self._tensor(pixels).contiguous(memory_format=torch.channels_last)
        return PhotoFeatures(*map(_array, self.model.extractor(values)))

    @torch.inference_mode()
    def region_features(
        self, features: PhotoFeatures, boxes_xyxy: FloatArray
    ) -> FloatArray:
        """Region features (B, N, F) of boxes (B, N, 4) in network pixels."""
        vectors = self.model.extractor.vectors(
            self._maps(features), self._tensor(boxes_xyxy)
        )
        return _array(vectors)

    @torch.inference_mode()
    def embed_regions(self, region_features: FloatArray) -> FloatArray:
        """V of eq. 1: region features (B, N, F) to (B, N, D)."""
        return _array(self.model.aligner.embed_regions(self._tensor(region_features)))

    @torch.inference_mode()
    def encode_text(
        self, sentences: Sequence[Sequence[int]]
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """S of eq. 6: C lists of word numbers to (C, T, D) and mask (C, T)."""
        vectors, mask = self.model.aligner.encode_text(sentences)
        return _array(vectors), mask.cpu().numpy()

    @torch.inference_mode()
    def start(
        self,
        features: PhotoFeatures,
        boxes_xyxy: FloatArray,
        attended: FloatArray | None = None,
        *,
        vectors: FloatArray | None = None,
    ) -> DecoderState:
        """Prepare to write about the boxes (B, N, 4) of B photos."""
        attended_boxes = None if attended is None else self._tensor(attended)
        known = None if vectors is None else self._tensor(vectors)
        boxes = self._tensor(boxes_xyxy)
        condition, annotations = self.model.conditions(
            self._maps(features), boxes, attended_boxes, known
        )
        return DecoderState(*self.model.generator.start(condition, annotations))

    @torch.inference_mode()
    def step(self, words: IntArray, state: DecoderState) -> DecoderStep:
        """One word further."""
        tokens = torch.from_numpy(words).to(self.device)
        scores, cell, looks = self.model.generator.look_step(
            tokens, state.cell, state.memory
        )
        return DecoderStep(
            _array(scores), cell, None if looks is None else _array(looks)
        )

    def tensor(self, name: str) -> FloatArray:
        """One weight by its name, float32."""
        return _array(self.model.state_dict()[name])

    def weights(self) -> Mapping[str, NDArray[Any]]:
        """All weights as they stand on disk, float16."""
        state = {
            name: value.detach().cpu()
            for name, value in self.model.state_dict().items()
        }
        return {
            name: (value.half() if value.is_floating_point() else value)
            .contiguous()
            .numpy()
            for name, value in state.items()
        }

    def _maps(self, features: PhotoFeatures) -> Maps:
        return Maps(*map(self._tensor, features))

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def _array(values: Tensor) -> FloatArray:
    """A tensor as a float32 array."""
    array: FloatArray = values.detach().float().cpu().numpy()
    return array


def search_step(
    generator: Generator,
    condition: Tensor,
    annotations: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Step[Any], Any]:
    """The step and the first state of a torch generator.

    As the functions of `runtime.search` take them.

    Args:
        generator: what writes.
        condition: (R, C).
        annotations: (R, P, F), or None without attention.
        mask: (R, P), True = an annotation vector; None where all count.
    """
    cell, memory = generator.start(condition, annotations, mask)

    def step(words: IntArray, state: Any) -> tuple[FloatArray, Any]:
        tokens = torch.from_numpy(words).to(condition.device)
        with torch.no_grad():
            scores, next_cell, _ = generator.look_step(tokens, state[0], state[1].value)
        return _array(scores), (next_cell, state[1])

    return step, (cell, Fixed(memory))


def write_captions(
    generator: Generator,
    decoding: DecodingConfig,
    condition: Tensor,
    annotations: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    beams: int | None = None,
    min_words: int = 0,
) -> list[Hypothesis]:
    """The best caption of each of R conditions (R, C) of a torch generator, as `best_captions`."""
    step, state = search_step(generator, condition, annotations, mask)
    captions_by_row = best_captions(
        step, state, len(condition), decoding, beams=beams, min_words=min_words
    )
    return [captions[0] for captions in captions_by_row]
