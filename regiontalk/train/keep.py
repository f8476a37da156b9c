"""What a model must not forget while it learns from somebody's photos.

Distillation on a memory of everyday photos. The memory holds region vectors and boxes
of photos like those that the start model learnt from, no pictures and no words: 1 + K
vectors of each of M photos, in D principal components of one byte each. The start model
says what it sees there, and the model that learns is held to its word distributions and
to its places in the space that regions and words share (Li and Hoiem, Learning without
Forgetting, 2016).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.align.model import Aligner
from regiontalk.files import atomic_write
from regiontalk.model.region_model import RegionModel
from regiontalk.model.weights import fingerprint
from regiontalk.runtime.torch_engine import write_captions
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.sentences import teacher_words

Module = TypeVar("Module", bound=nn.Module)
MEMORY = "memory.safetensors"  # beside a model's four files, where it has one
KEPT_PHOTOS = 20  # of the memory in a step
TOGETHER = 64
WEIGHT = 4.0  # of the loss on the memory; 1 forgets twice as much for the same words on boxes
# of the way from the start model's weights to the learnt ones (docs/notebook.md)
SHARE = 0.9


@dataclass(frozen=True)
class Memory:
    """Region vectors of everyday photos.

    Attributes:
        vectors: (M, 1 + K, F), row 0 of each the whole photo.
        boxes_xyxy: (M, 1 + K, 4) network pixels.
    """

    vectors: Tensor
    boxes_xyxy: Tensor

    @classmethod
    def from_features(cls, features: FrozenFeatures, boxes: int) -> Memory:
        """The memory of photos with frozen features: the whole and the first proposals."""
        rows = range(features.photos)
        return cls(
            features.read_vectors(rows)[:, : 1 + boxes],
            features.read_boxes(rows)[:, : 1 + boxes],
        )

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, photos: slice) -> Memory:
        """The memory of some photos."""
        return Memory(self.vectors[photos], self.boxes_xyxy[photos])

    def save(self, path: Path, extractor: nn.Module, components: int) -> None:
        """Write it in D = ``components`` principal components, for the extractor that made it."""
        rows = self.vectors.flatten(0, 1)  # (M * (1 + K), F)
        mean = rows.mean(0)
        centred = rows - mean
        _, directions = torch.linalg.eigh(centred.T @ centred)  # the largest last
        basis = directions[:, -components:]  # (F, D)
        codes, code_scale = _in_bytes(centred @ basis)
        basis_codes, basis_scale = _in_bytes(basis.T)
        tensors = {
            "codes": codes,
            "code_scale": code_scale,
            "basis": basis_codes,
            "basis_scale": basis_scale,
            "mean": mean.half(),
            "boxes": self.boxes_xyxy.half(),
        }
        metadata = {"extractor": fingerprint(extractor)}
        atomic_write(
            path, lambda temporary: save_file(tensors, temporary, metadata=metadata)
        )

    @classmethod
    def load(cls, path: Path, extractor: nn.Module) -> Memory | None:
        """What `save` wrote; None where there is none, or one that another extractor made.

        Raises:
            ValueError: the file is damaged.
        """
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("extractor") != fingerprint(extractor):
                    return None
                names = file.keys()  # of `safe_open`, which is no mapping
                tensors = {name: file.get_tensor(name).float() for name in names}
            codes = tensors["codes"] * tensors["code_scale"]
            rows = codes @ (tensors["basis"] * tensors["basis_scale"]) + tensors["mean"]
            boxes_xyxy = tensors["boxes"]
            return cls(rows.view(*boxes_xyxy.shape[:2], -1), boxes_xyxy)
        except (SafetensorError, KeyError, RuntimeError) as error:  # of the shapes
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{path}: expected the memory of this model, got a damaged file "
                f"({reason}); copy it anew, or delete it: the model then forgets more"
            ) from error

    def fingerprint(self) -> str:
        """A hash of its vectors."""
        return hashlib.sha256(self.vectors.numpy().tobytes()).hexdigest()


def hand_over(path: Path, extractor: nn.Module) -> None:
    """Let a memory serve another extractor, which sees nearly the same: its rounded form."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata = {"extractor": fingerprint(extractor)}
    atomic_write(
        path, lambda temporary: save_file(tensors, temporary, metadata=metadata)
    )


def _in_bytes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in one byte a number, and the scale of each, (R, 1)."""
    scale = (rows.abs().amax(1, keepdim=True).clamp(min=1e-6) / 127).half()
    return (rows / scale.float()).round().clamp(-127, 127).to(torch.int8), scale


class Kept:
    """The memory with what the start model says of it."""

    def __init__(self, memory: Memory, teacher: RegionModel) -> None:
        """Let the teacher caption every box of the memory.

        Args:
            memory: of everyday photos.
            teacher: the start model, which stays as it is.

        Raises:
            ValueError: the teacher attends, which region vectors alone do not serve.
        """
        if teacher.config.generator.attention:
            raise ValueError("memory: expected a start model without attention")
        self.memory, self.teacher = memory, teacher.eval()
        self.captions: list[tuple[int, ...]] = []
        with torch.inference_mode():
            for first in range(0, len(memory), TOGETHER):
                self._caption(range(first, min(first + TOGETHER, len(memory))))

    def _caption(self, rows: Sequence[int]) -> None:
        """Add what the teacher says of the boxes of some photos: of the whole photo a sentence."""
        generator, decoding = self.teacher.generator, self.teacher.config.decoding
        condition = self.condition(self.teacher, torch.tensor(rows))
        of_boxes = write_captions(generator, decoding, condition, beams=1)
        width = self.memory.vectors.shape[1]
        sentences = write_captions(
            generator,
            decoding,
            condition[::width],
            beams=1,
            min_words=decoding.photo_min_words,
        )
        of_boxes[::width] = sentences
        self.captions += [hypothesis.words for hypothesis in of_boxes]

    def condition(self, model: RegionModel, rows: Tensor) -> Tensor:
        """What a generator reads of all boxes of some photos, (B * (1 + K), C)."""
        vectors, boxes = self.memory.vectors[rows], self.memory.boxes_xyxy[rows]
        return model.condition(vectors, vectors[:, :1], boxes).flatten(0, 1)

    def choose(self, step: int) -> Tensor:
        """The photos of a step."""
        chooser = torch.Generator().manual_seed(step)
        return torch.randperm(len(self.memory.vectors), generator=chooser)[:KEPT_PHOTOS]

    def texts(self, rows: Tensor) -> list[tuple[int, ...]]:
        """What the teacher says of the boxes of some photos."""
        width = self.memory.vectors.shape[1]
        return [
            self.captions[row * width + box]
            for row in rows.tolist()
            for box in range(width)
        ]

    def generate_loss(self, model: RegionModel, step: int) -> Tensor:
        """Cross-entropy of the model's words with the teacher's distributions.

        Both are without dropout: a model that has not moved then has nothing to learn here.
        """
        rows = self.choose(step)
        inputs, targets = teacher_words([list(words) for words in self.texts(rows)])
        counted = targets != 0
        with torch.no_grad():
            condition = self.condition(self.teacher, rows)
            wanted, _ = self.teacher.generator(condition, None, inputs)
            wanted = wanted[counted].float().softmax(-1)
        with _without_dropout(model.generator) as generator:
            logits, _ = generator(condition, None, inputs)
        log_shares = logits[counted].float().log_softmax(-1)[:, : wanted.shape[1]]
        loss: Tensor = -(wanted * log_shares).sum(-1).mean()
        return loss

    def align_loss(self, aligner: Aligner, step: int) -> Tensor:
        """How far regions and words have moved from where the teacher has them."""
        rows = self.choose(step)
        vectors = self.memory.vectors[rows]
        texts = [words for words in self.texts(rows) if words]
        with torch.no_grad():
            regions = self.teacher.aligner.embed_regions(vectors)
            words, mask = self.teacher.aligner.encode_text(texts)
        with _without_dropout(aligner):
            own_regions = aligner.embed_regions(vectors)
            own_words, _ = aligner.encode_text(texts)
        moved = 1 - functional.cosine_similarity(own_regions, regions, dim=-1)
        apart = 1 - functional.cosine_similarity(own_words[mask], words[mask], dim=-1)
        weights = (own_words[mask].norm(dim=-1) - words[mask].norm(dim=-1)).abs()
        loss: Tensor = moved.mean() + apart.mean() + weights.mean()
        return loss


@contextmanager
def _without_dropout(module: Module) -> Iterator[Module]:
    """The module as it is used, not as it is trained."""
    was_training = module.training
    module.eval()
    try:
        yield module
    finally:
        module.train(was_training)


def mix_weights(
    model: nn.Module, before: Mapping[str, Tensor], share: float = SHARE
) -> None:
    """Go back a part of the way to the weights before training, in place.

    Wortsman et al., CVPR 2022.

    Args:
        model: has learnt.
        before: its state dict before that.
        share: of the way that stays gone.
    """
    state = model.state_dict()
    mixed = {
        name: torch.lerp(before[name], value, share)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }
    model.load_state_dict(mixed)


def with_kept(
    terms: Callable[[int], Mapping[str, Tensor]],
    kept: Callable[[int], Tensor],
    weight: float,
) -> Callable[[int], Mapping[str, Tensor]]:
    """Terms of a step with one more, which holds what is known."""

    def both(step: int) -> Mapping[str, Tensor]:
        return {**terms(step), "kept": weight * kept(step)}

    return both
