"""The whole model: extractor, aligner and generator with their vocabulary and preprocessing, and its folder on disk.

A folder holds ``config.json`` (format, kind, sizes), ``model.safetensors`` (fp16), ``vocabulary.json`` and a model card
``README.md``, and is enough by itself. Loading is strict; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regiontalk.align.model import Aligner, AlignerConfig
from regiontalk.align.pairs import Chain
from regiontalk.files import write_whole
from regiontalk.generate.half_precision import HalfGenerator
from regiontalk.generate.model import Generator, GeneratorConfig
from regiontalk.generate.search import Hypothesis, beam
from regiontalk.images.open import Preprocessing
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.crops import CropExtractor, CropNetwork
from regiontalk.regions.extractor import CELLS, ExtractorConfig, Maps, OnePassExtractor
from regiontalk.regions.features import GEOMETRY_SIZE, PLACE_SIZE, box_geometry
from regiontalk.regions.precomputed import GivenConfig, GivenExtractor
from regiontalk.text.vocabulary import Vocabulary, phrase_starts

FORMAT: Final = 1
FILES = ("config.json", "model.safetensors", "vocabulary.json", "README.md")


class Calibration(BaseModel):
    """Confidence = sigmoid of a weighted sum of what speaks for a caption.

    That is ``bias`` + ``per_word`` * mean log-probability a word + ``per_match`` * alignment of caption and box +
    ``per_box`` * log objectness of the box (0 for boxes that a user gave). Fitted on dev (docs/results.md); the
    defaults give the mean log-probability a plain meaning before that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bias: float = 2.0
    per_word: float = 1.0
    per_match: float = 0.0
    per_box: float = 0.0


class DecodingConfig(BaseModel):
    """How the model speaks unless the caller says otherwise; chosen on dev."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beams: int = Field(3, ge=1, description="K of the beam search")
    length_power: float = Field(0.7, ge=0, description="captions are ranked by log-probability / length ** power")
    max_words: int = Field(20, ge=1, description="longest caption")
    threshold: float = Field(0.3, ge=0, le=1, description="a region below this confidence gets no words")
    photo_threshold: float = Field(0.5, ge=0, le=1, description="a photo's sentence below this confidence is hedged")
    candidates: int = Field(0, ge=0, description="regions captioned, of which the most confident are returned")
    neutral_margin: float = Field(
        0.0, ge=0, description="man or woman is said where it is likelier than the other by so much in log-probability"
    )
    photo: Calibration = Calibration()
    region: Calibration = Calibration()
    beta: float = Field(0.0, ge=0, description="smoothing of word paths where snippets are inferred (eq. 12)")
    phrases: bool = Field(False, description="those paths change regions only where a phrase may begin")
    region_prior: float = Field(0.0, ge=0, description="weight of log objectness beside v . s (eq. 11)")


def write_captions(
    generator: Generator | HalfGenerator,
    decoding: DecodingConfig,
    condition: Tensor,
    annotations: Tensor | None = None,
    mask: Tensor | None = None,
    beams: int | None = None,
) -> list[Hypothesis]:
    """The best caption of each of R conditions (R, C), by beam search; ``beams`` None takes the model's own number."""
    step, state = generator.search_step(condition, annotations, mask)
    found = beam(
        step,
        state,
        len(condition),
        decoding.max_words,
        decoding.beams if beams is None else beams,
        length_power=decoding.length_power,
        keep=1,
    )
    return [hypotheses[0] for hypotheses in found]


class ModelConfig(BaseModel):
    """The parts of one model; ``config.json`` is this record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    kind: Literal["regiontalk"] = "regiontalk"
    name: str = Field("unnamed", description="what results call the model")
    extractor: ExtractorConfig = ExtractorConfig()
    aligner: AlignerConfig = AlignerConfig()
    generator: GeneratorConfig = GeneratorConfig()
    decoding: DecodingConfig = DecodingConfig()
    given: GivenConfig | None = Field(None, description="region vectors come from somebody else, not from the photo")
    folded: bool = Field(False, description="batch norms are folded into their convolutions, for use only")


class RegionModel(nn.Module):
    """Extractor, aligner and generator in one module."""

    def __init__(
        self,
        *,
        config: ModelConfig,
        vocabulary: Vocabulary,
        backbone: Backbone | None = None,
        crops: CropNetwork | None = None,
    ) -> None:
        """Build from sizes; the backbone and the crops' network may come ready with their weights."""
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        sizes = config.extractor
        usual = Preprocessing(size=sizes.size, fit=sizes.fit)
        half = (0.5, 0.5, 0.5)
        self.preprocessing = usual if sizes.pixels == "imagenet" else replace(usual, mean=half, std=half)
        self.extractor = self._extractor(backbone, crops)
        self.aligner = Aligner(features=self.extractor.vector_size, vocabulary=len(vocabulary), config=config.aligner)
        self.generator = Generator(
            features=self.condition_size(),
            annotation=(self.extractor.vector_size if config.generator.regions else self.extractor.cell_size)
            + (PLACE_SIZE if config.generator.places else 0),
            vocabulary=vocabulary,
            config=config.generator,
        )

    def _extractor(self, backbone: Backbone | None, crops: CropNetwork | None) -> OnePassExtractor:
        """The extractor that the settings describe, on ready networks where there are any."""
        sizes = self.config.extractor
        if self.config.given is not None:
            return GivenExtractor(given=self.config.given, config=sizes)
        backbone = backbone or Backbone(sizes.backbone, same_padding=sizes.same_padding)
        if sizes.crops is None:
            return OnePassExtractor(backbone=backbone, config=sizes)
        return CropExtractor(backbone=backbone, network=crops or CropNetwork(sizes.crops), config=sizes)

    def regions(self, usual: int) -> int:
        """How many boxes compete beside the whole photo: the usual number, or as many as a model reads given ones."""
        return usual if self.config.given is None else self.config.given.regions

    def chain(self, beta: float | None = None) -> Chain:
        """How this model's snippets are inferred; ``beta`` None takes its own."""
        decoding = self.config.decoding
        words = self.vocabulary.words

        def starts(sentence: Sequence[int]) -> list[bool]:
            return phrase_starts([words[number] for number in sentence])

        smoothing = decoding.beta if beta is None else beta
        return Chain(smoothing, decoding.region_prior, starts if decoding.phrases else None)

    def condition_size(self) -> int:
        """C, the length of what the generator is conditioned on."""
        embedded = self.config.generator.source == "embedding"
        source = self.config.aligner.size if embedded else self.extractor.vector_size
        vectors = source * (2 if self.config.generator.with_photo else 1)
        return vectors + (GEOMETRY_SIZE if self.config.generator.geometry else 0)

    def conditions(
        self, maps: Maps, boxes_xyxy: Tensor, seen_xyxy: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the generator reads of boxes: conditions (B*N, C) and annotation vectors (B*N, P, F) or None.

        Args:
            maps: of B photos.
            boxes_xyxy: (B, N, 4) network pixels.
            seen_xyxy: (B, P, 4), what attention looks at where that is regions; None proposes them.

        Raises:
            ValueError: the model was trained on given features, where nothing teaches the generator.
        """
        if self.config.given is not None:
            raise ValueError(
                f"model {self.config.name!r}: expected one that writes captions; this one was trained on given "
                "features, and only aligns and locates"
            )
        size = self.config.extractor.size
        whole = boxes_xyxy.new_tensor([0, 0, size, size]).expand(len(boxes_xyxy), 1, 4)
        vectors = self.extractor.vectors(maps, torch.cat([whole, boxes_xyxy], 1))
        condition = self.condition(vectors[:, 1:], vectors[:, :1], boxes_xyxy).flatten(0, 1)
        if not self.config.generator.attention:
            return condition, None
        return condition, self._annotations(maps, boxes_xyxy, seen_xyxy).flatten(0, 1)

    def condition(self, vectors: Tensor, photo_vectors: Tensor, boxes_xyxy: Tensor) -> Tensor:
        """What the generator reads of boxes, from their region vectors.

        Args:
            vectors: (B, N, F) of the boxes.
            photo_vectors: (B, 1, F) of the whole photos.
            boxes_xyxy: (B, N, 4) network pixels.

        Returns:
            (B, N, C).
        """
        config = self.config.generator
        if config.source == "embedding":
            vectors, photo_vectors = self.aligner.regions(vectors), self.aligner.regions(photo_vectors)
        parts = [vectors]
        if config.with_photo:
            parts.append(photo_vectors.expand_as(vectors))
        if config.geometry:
            parts.append(box_geometry(boxes_xyxy, self.config.extractor.size).to(vectors.dtype))
        return torch.cat(parts, -1)

    def _annotations(self, maps: Maps, boxes_xyxy: Tensor, seen_xyxy: Tensor | None) -> Tensor:
        """What attention looks at: (B, N, P, F), the cells of each box, or for all boxes the photo's regions."""
        config = self.config.generator
        if not config.regions:
            grids, bins = self.extractor.grids(maps, boxes_xyxy, CELLS), CELLS
            where = boxes_xyxy
        else:
            where = self.extractor.propose(maps, config.regions)[0] if seen_xyxy is None else seen_xyxy
            grids, bins = self.extractor.vectors(maps, where)[:, :, None], 1
        if config.places:
            grids = torch.cat([grids, self.extractor.places(where, bins).to(grids.dtype)], -1)
        if config.regions:
            grids = grids.squeeze(2)[:, None].expand(-1, boxes_xyxy.shape[1], -1, -1)
        return grids

    def save_pretrained(self, folder: Path, card: str) -> None:
        """Write the model folder: fp16 weights, sizes, words and the model card.

        Every file is written under another name first, ``config.json`` last, so that a folder without it is no model.
        """
        save_folder(folder, self, self.config, self.vocabulary, card)

    @classmethod
    def from_folder(cls, folder: Path) -> RegionModel:
        """Read what `save_pretrained` wrote, ready for use: fp32, evaluation mode, batch norm folded.

        Raises:
            ValueError: a file is missing, has another format, or holds tensors of other names or shapes.
        """
        config, vocabulary = open_folder(folder, ModelConfig)
        sizes = config.extractor
        with Unfilled():
            looks = config.given is None  # else there is nothing to build
            backbone = Backbone(sizes.backbone, same_padding=sizes.same_padding, light=True) if looks else None
            model = cls(config=config, vocabulary=vocabulary, backbone=backbone)
        if config.folded:
            model.extractor.fold()
        load_strictly(model, folder / "model.safetensors")
        return model.eval()

    def folded(self) -> RegionModel:
        """This model with every batch norm folded into its convolution: the form that is saved for use."""
        if not self.config.folded:
            self.extractor.fold()
            self.config = self.config.model_copy(update={"folded": True})
        return self.eval()


def reachable(device: str | torch.device) -> torch.device:
    """A device on which this torch can compute.

    >>> reachable("cpu")
    device(type='cpu')

    Raises:
        ValueError: an unknown name, or a device that is not there.
    """
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each backend has its own
        first = (str(error).splitlines() or [""])[0].rstrip(".")
        raise ValueError(
            f"device: expected cpu, or an accelerator that torch reaches, got {device!r} ({first})"
        ) from error


Config = TypeVar("Config", bound=BaseModel)


def save_folder(folder: Path, module: nn.Module, config: BaseModel, vocabulary: Vocabulary, card: str) -> None:
    """Write the four files of any model, ``config.json`` last."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: _half(value) for key, value in module.state_dict().items()}
    write_whole(folder / "model.safetensors", lambda path: _save_tensors(tensors, path))
    write_whole(folder / "vocabulary.json", vocabulary.save)
    write_whole(folder / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    write_whole(folder / "config.json", lambda path: path.write_text(config.model_dump_json(indent=2) + "\n"))


def open_folder(folder: Path, record: type[Config]) -> tuple[Config, Vocabulary]:
    """The settings and the words of a model folder.

    Raises:
        ValueError: a file is missing, or its settings are not those of such a model.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: not a complete model folder; missing {', '.join(missing)}")
    try:
        config = record.model_validate_json((folder / "config.json").read_bytes())
    except ValidationError as error:
        found = describe_errors(error, record)
        # another kind of model has other settings throughout: its kind says it all
        kind = next((text for text in found.split("; ") if text.startswith("kind: ")), None)
        raise ValueError(f"{folder / 'config.json'}: {kind or found}") from error
    return config, Vocabulary.load(folder / "vocabulary.json")


def describe_errors(error: ValidationError, record: type[BaseModel]) -> str:
    """All of pydantic's findings in one line: ``key: what was expected, got what``.

    >>> try:
    ...     Calibration.model_validate({"bias": "much", "per_letter": 1})
    ... except ValidationError as error:
    ...     print(describe_errors(error, Calibration).partition("; ")[2])
    per_letter: unknown key; expected one of bias, per_word, per_match

    Args:
        error: what validation raised.
        record: the class that was validated, for the names of its keys.
    """
    lines = []
    for item in error.errors():
        where, text = [str(part) for part in item["loc"]], item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = f"unknown key; expected one of {', '.join(_keys(record, where[:-1]))}"
        elif where and isinstance(item["input"], str | int | float | None):
            text += f", got {item['input']!r}"
        lines.append(": ".join([*([".".join(where)] if where else []), text]))
    return "; ".join(lines)


def _keys(record: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys of the record that stands at ``path`` inside another; the field may be optional."""
    for name in path:
        annotation = record.model_fields[name].annotation
        kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        record = next(kind for kind in kinds if issubclass(kind, BaseModel))
    return list(record.model_fields)


def _half(value: Tensor) -> Tensor:
    """Floating tensors as fp16 on the CPU; a value that fp16 cannot hold is an error, not an infinity."""
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value
    if value.abs().max() > torch.finfo(torch.float16).max:
        raise ValueError(f"weights: expected values that fp16 can hold, got {float(value.abs().max()):g}")
    return value.half()


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file; where it cannot be written an OSError, as from any other file."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


class Unfilled(TorchFunctionMode):
    """Gives new weights no values, because a file fills them next.

    The meta device would do the same, but its arithmetic imports torch's compiler, which takes seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_strictly(model: nn.Module, path: Path) -> None:
    """Put a file's tensors in the place of a model's own; the first name or shape that differs is an error."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file ({error})") from error
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    floating = {key: value.is_floating_point() for key, value in model.state_dict().items()}
    if odd := sorted(set(wanted) ^ set(tensors)):
        raise ValueError(f"{path}: expected the tensors that config.json describes, first difference: {odd[0]}")
    for key, shape in wanted.items():
        if tuple(tensors[key].shape) != shape:
            raise ValueError(f"{path}: {key}: expected shape {shape}, got {tuple(tensors[key].shape)}")
        if tensors[key].is_floating_point() != floating[key]:
            raise ValueError(
                f"{path}: {key}: expected {'fractions' if floating[key] else 'integers'}, got {tensors[key].dtype}"
            )
    state = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    model.load_state_dict(state, assign=True)


def fingerprint(module: nn.Module, without: str | None = None) -> str:
    """A hash of every weight (SHA-256, in hexadecimal), by which what a module made is never taken for another's.

    Args:
        module: whose weights.
        without: tensors with this in their name are passed over.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if without is not None and without in name:
            continue
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
