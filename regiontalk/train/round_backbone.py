"""Round a trained backbone to whole numbers, layer by layer (`regions.int8_mobilenets`).

Each layer reads what the rounded layers before it hand on and is fitted to what the
float network has there (`train.rounding`), so errors do not add up. Nothing is trained
and no label is read; the heads stay as they are. Late layers have more weights and
smaller maps, and see more photos.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.images.preprocessing import Preprocessing
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.extractor import OnePassExtractor
from regiontalk.regions.int8_mobilenets import (
    CENTRE,
    PIXEL_STEPS,
    Int8Between,
    Int8Conv2d,
    Int8Residual,
    add_bytes,
)
from regiontalk.regions.mobilenets import NETWORKS
from regiontalk.runtime.export import export_runtime
from regiontalk.train.keep import MEMORY, Memory, hand_over
from regiontalk.train.loop import Log
from regiontalk.train.photos import PictureStore
from regiontalk.train.rounding import (
    LARGEST_SUM,
    Pairs,
    balanced,
    least_squares,
    measure_moments,
    rectified_scale,
    round_rows,
    row_scales,
    stream_scales,
)

MIN_PHOTOS, MAX_PHOTOS = 8, 1000
_STAGE_CELLS = 400_000  # of the maps that a stage is fitted on
# of these, those that a layer's moments are taken from, for each of a row's weights
_MOMENT_CELLS = 400
_RANGE_CELLS = 60_000  # and those that its steps are chosen by
_TOWER_PHOTOS = 96  # that the head of the proposals is fitted on
_TOGETHER = 8  # photos a forward pass


class Steps(NamedTuple):
    """What the bytes of a map stand for: value = (byte - zero) * scale + offset.

    Attributes:
        scale: (C,) the step of each channel.
        offset: (C,) the value of the zero point.
        zero: the zero point.
    """

    scale: Tensor
    offset: Tensor
    zero: int

    def values(self, codes: Tensor) -> Tensor:
        """The values of bytes (N, C, h, w)."""
        centred = codes.float() - self.zero
        return centred * self.scale[:, None, None] + self.offset[:, None, None]


class Signal(NamedTuple):
    """What passes between two layers on N photos, in both networks.

    Attributes:
        codes: (N, C, h, w) bytes of the rounded network.
        steps: what they stand for.
        values: (N, C, h, w) of the float network.
    """

    codes: Tensor
    steps: Steps
    values: Tensor


@torch.no_grad()
def round_backbone(model: RegionModel, pixels: Tensor, log: Log) -> None:
    """Put the backbone of a model in whole numbers, in place.

    Args:
        model: folded here where it is not.
        pixels: (M, 3, S, S) uint8 of training photos; the first `MAX_PHOTOS` are read.
        log: takes a line a stage, with the noise of what leaves it.

    Raises:
        ValueError: as `check_roundable`, or too few photos.
    """
    check_roundable(model.config)
    if len(pixels) < MIN_PHOTOS:
        raise ValueError(
            f"photos to round the backbone by: expected at least {MIN_PHOTOS}, got {len(pixels)}"
        )
    device = next(model.parameters()).device
    backbone = model.folded().cpu().extractor.backbone
    exact = backbone.light_copy()
    backbone.use_int8()
    _Rounding(exact, backbone, pixels[:MAX_PHOTOS], log).run()
    round_tower(model.extractor, pixels)
    update = {"int8_backbone": True, "int8_proposals": True}
    model.config = model.config.model_copy(update=update)
    model.to(device).eval()


def check_roundable(config: ModelConfig) -> None:
    """Refuse a model whose backbone cannot be put in whole numbers.

    Raises:
        ValueError: its backbone has no such form or has it already, or its pixels are not in -1..1.
    """
    if config.int8_backbone:
        raise ValueError(f"model {config.name!r}: its backbone is in int8 already")
    extractor = config.extractor
    if extractor.backbone not in NETWORKS:
        raise ValueError(
            f"model {config.name!r}: expected a backbone that has a form in int8 "
            f"({', '.join(NETWORKS)}), got {extractor.backbone!r}"
        )
    if extractor.pixels != "unit":
        raise ValueError(
            f"model {config.name!r}: expected pixels in -1..1 (extractor.pixels = "
            f"'unit'), got {extractor.pixels!r}, whose zero is no byte"
        )


def read_pixels(
    examples: Sequence[Example], preprocessing: Preprocessing, seed: int, log: Log
) -> Tensor:
    """The bytes (M, 3, S, S) of up to `MAX_PHOTOS` photos drawn by a seed.

    Args:
        examples: with the photos; those that cannot be opened are left out.
        preprocessing: of the model.
        seed: of the draw.
        log: takes a line of how many there are, and one of those left out.
    """
    rows = range(len(examples))
    chosen = random.Random(seed).sample(rows, min(len(rows), MAX_PHOTOS))
    log(f"reading {len(chosen)} photos to round the backbone by")
    store = PictureStore([examples[row] for row in chosen], preprocessing)
    if store.broken:
        log(f"left out, {len(store.broken)} cannot be opened: {store.broken[0]}")
    is_grey = (store.pixels == store.pixels[:, :1, :1, :1]).flatten(1).all(1)
    return store.pixels[~is_grey]


def round_in_folder(
    folder: Path, examples: Sequence[Example], *, seed: int = 0, log: Log
) -> None:
    """Put the backbone of a model folder in whole numbers, in place, and make its graphs anew.

    Its memory, where it has one, stays: the maps differ by a hundredth of their energy.

    Raises:
        ValueError: as `round_backbone`, or the folder is no model.
    """
    model = RegionModel.from_folder(folder)
    check_roundable(model.config)
    has_memory = Memory.load(folder / MEMORY, model.extractor) is not None
    card = (folder / "README.md").read_text(encoding="utf-8")
    pixels = read_pixels(examples, model.preprocessing, seed, log)
    round_backbone(model, pixels, log)
    model.save_pretrained(folder, card)
    export_runtime(folder)
    if has_memory:
        # of the form in which it trains, and of the weights as they stand on disk
        start = RegionModel.from_folder(folder).trainable()
        hand_over(folder / MEMORY, start.extractor)


class _Rounding:
    """The way through both networks."""

    def __init__(
        self, exact: Backbone, rounded: Backbone, pixels: Tensor, log: Log
    ) -> None:
        self._exact, self._rounded = exact.net, rounded.net
        self._pixels, self._log = pixels, log

    def run(self) -> None:
        """Fill every layer of the rounded network."""
        pixels = self._pixels[: self._photos(self._pixels.shape[3] // 2)]
        # (byte - 127.5) / 127.5, with a whole zero point
        scale = torch.full((3,), 1 / PIXEL_STEPS)
        steps = Steps(scale, scale / 2, CENTRE)
        signal = Signal(pixels, steps, steps.values(pixels))
        signal = self._rectified("conv_stem", "bn1", signal)
        for number in range(len(self._exact.blocks)):
            signal = self._stage(number, self._enter(number, signal))
        outputs = _in_chunks(self._exact.conv_head, signal.values)
        scale = torch.ones(outputs.shape[1])
        self._fit("conv_head", signal, outputs, Steps(scale, scale * 0, 0))

    def _photos(self, side: int) -> int:
        """On how many photos layers are fitted whose maps have that side."""
        return min(len(self._pixels), max(MIN_PHOTOS, _STAGE_CELLS // side**2))

    def _enter(self, number: int, signal: Signal) -> Signal:
        """What enters a stage, on as many photos as it is fitted on."""
        pixels = self._pixels[: self._photos(signal.values.shape[3])]
        if len(pixels) == len(signal.values):
            return signal
        exact, rounded = self._exact, self._rounded
        exact_layers = [exact.conv_stem, exact.bn1, *exact.blocks[:number]]
        rounded_layers = [rounded.conv_stem, *rounded.blocks[:number]]
        values = _in_chunks(lambda codes: codes.float() / PIXEL_STEPS - 1, pixels)
        return Signal(
            _in_chunks(nn.Sequential(*rounded_layers), pixels),
            signal.steps,
            _in_chunks(nn.Sequential(*exact_layers), values),
        )

    def _stage(self, number: int, signal: Signal) -> Signal:
        """Fill the layers of a stage; what leaves it."""
        maps, values = [], signal.values
        for block in self._exact.blocks[number]:
            values = _in_chunks(block, values)
            maps.append(_sampled(values))
        scale, middles = stream_scales(maps)
        for row, middle in enumerate(middles):
            name = f"blocks.{number}.{row}"
            steps = Steps(scale, middle, CENTRE)
            if isinstance(self._rounded.get_submodule(name), Int8Residual):
                # what is added moves the middle from the one before to this one
                added = steps._replace(offset=middle - middles[row - 1])
                inside = self._block(name, signal, added)
                codes = add_bytes(signal.codes, inside.codes)
                signal = Signal(codes, steps, signal.values + inside.values)
            else:
                signal = self._block(name, signal, steps)
        self._fill_map(str(number), signal.steps)
        self._log(f"backbone, stage {number}: noise {_noise(signal):.1f} dB")
        return signal

    def _block(self, name: str, signal: Signal, steps: Steps) -> Signal:
        """Fill the layers of a block; what leaves them, before anything is added."""
        children = [
            child for child, _ in self._exact.get_submodule(name).named_children()
        ]
        layers = [f"{name}.{child}" for child in children[::2]]
        norms = [f"{name}.{child}" for child in children[1::2]]
        for layer, norm, following in zip(
            layers, norms, [*layers[1:], None], strict=True
        ):
            if self._rounded.get_submodule(layer).leave_zero == 0:
                # a depthwise convolution has a scale for each channel anyway
                is_dense = following is not None and (
                    self._rounded.get_submodule(following).groups == 1
                )
                signal = self._rectified(layer, norm, signal, is_balanced=is_dense)
            else:
                conv = self._exact.get_submodule(layer)
                outputs = _in_chunks(conv, signal.values)
                codes = self._fit(layer, signal, outputs, steps)
                signal = Signal(codes, steps, outputs)
        return signal

    def _rectified(
        self, name: str, norm: str, signal: Signal, *, is_balanced: bool = False
    ) -> Signal:
        """Fill a layer that is rectified; its steps are those that lose least."""
        outputs = _in_chunks(self._exact.get_submodule(name), signal.values)
        rectify = self._exact.get_submodule(norm)
        largest = getattr(rectify, "max_val", None)  # of ReLU6
        scale = rectified_scale(_sampled(outputs), largest)
        if is_balanced:
            scale = balanced(scale)
        steps = Steps(scale, torch.zeros_like(scale), 0)
        codes = self._fit(name, signal, outputs, steps)
        return Signal(codes, steps, rectify(outputs))

    def _fit(self, name: str, signal: Signal, outputs: Tensor, steps: Steps) -> Tensor:
        """Fill a layer so that it gives the float network's outputs in steps; its bytes."""
        layer = self._rounded.get_submodule(name)
        fill_layer(layer, self._exact.get_submodule(name), [(signal, outputs)], steps)
        return _in_chunks(layer, signal.codes)

    def _fill_map(self, stage: str, steps: Steps) -> None:
        """Tell what the bytes of a stage stand for, where its map is asked for."""
        if stage in self._rounded.maps:
            self._rounded.maps[stage].scale.copy_(steps.scale)
            self._rounded.maps[stage].offset.copy_(steps.offset)


def fill_layer(
    layer: Int8Conv2d,
    conv: nn.Conv2d,
    maps: Sequence[tuple[Signal, Tensor]],
    steps: Steps,
) -> None:
    """Fill a layer so that it gives a float one's outputs in steps.

    Args:
        layer: empty.
        conv: the float one.
        maps: what enters, and the outputs (N, C', h', w') that should leave, of each size.
        steps: of the outputs.
    """
    pairs: Pairs = "neighbours" if conv.kernel_size[0] == 1 else "any"
    if conv.groups > 1:
        pairs = "none"
    weights = _in_steps(conv, maps[0][0].steps.scale, steps.scale)
    chunks = (_moment_chunks(layer, signal, outputs, steps) for signal, outputs in maps)
    moments = measure_moments(itertools.chain.from_iterable(chunks))
    weights = least_squares(weights, moments)
    scale = row_scales(weights, pairs)
    rounded = round_rows(weights, scale, moments.covariance, pairs)
    mean = (rounded * moments.input_mean[:, None]).sum(2)
    bias = moments.output_mean / scale - mean
    layer.weight.copy_(rounded.reshape(layer.weight.shape))
    layer.scale.copy_(scale.flatten())
    # as large as a sum can be: a channel that is off or full at every cell needs no more
    layer.bias.copy_(bias.flatten().round().clamp(-LARGEST_SUM, LARGEST_SUM))


def _in_steps(conv: nn.Conv2d, enter_scale: Tensor, leave_scale: Tensor) -> Tensor:
    """Weights (G, R, K) from steps of what enters to steps of what leaves."""
    by_input = enter_scale[:, None, None]
    if conv.groups > 1:  # each channel enters its own row
        by_input = by_input[:, None]
    weights = conv.weight * by_input / leave_scale[:, None, None, None]
    return weights.reshape(conv.groups, -1, weights[0].numel())


@torch.no_grad()
def round_tower(extractor: OnePassExtractor, pixels: Tensor) -> None:
    """Put the tower of the proposal head in whole numbers, in place.

    Args:
        extractor: its backbone is in whole numbers already.
        pixels: as of `round_backbone`.
    """
    head = extractor.proposals
    photos = pixels[:_TOWER_PHOTOS].float() / PIXEL_STEPS - 1
    maps = [extractor.backbone(chunk) for chunk in torch.split(photos, _TOGETHER)]
    by_size = [torch.cat(levels) for levels in zip(*maps, strict=True)]
    exact = head.pyramid((by_size[0], by_size[1], by_size[2]))
    rounded, layers = exact, list(head.tower)
    head.use_int8()
    for layer, new_layer in zip(layers, head.tower, strict=True):
        outputs = [_in_chunks(layer, values) for values in exact]
        if isinstance(new_layer, Int8Between) and isinstance(layer, nn.Conv2d):
            _fill_between(new_layer, layer, rounded, outputs)
        rounded = [_in_chunks(new_layer, values) for values in rounded]
        exact = outputs


def _fill_between(
    between: Int8Between,
    conv: nn.Conv2d,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> None:
    """Fill a layer that rectified maps of several sizes enter, and which should give outputs."""
    entering = torch.cat([_sampled(values) for values in inputs], 1)
    between.enter_scale.copy_(rectified_scale(entering, None).half())
    zero = torch.zeros_like(between.enter_scale)
    enter_steps = Steps(between.enter_scale, zero, 0)
    leaving = torch.cat([_sampled(values) for values in outputs], 1)
    scale, (middle,) = stream_scales([leaving])
    leave_steps = Steps(scale.half().float(), middle.half().float(), CENTRE)
    signals = [
        Signal(_in_chunks(between.codes, values), enter_steps, values)
        for values in inputs
    ]
    maps = list(zip(signals, outputs, strict=True))
    fill_layer(between.conv, conv, maps, leave_steps)
    between.leave.scale.copy_(leave_steps.scale)
    between.leave.offset.copy_(leave_steps.offset)


def _moment_chunks(
    layer: Int8Conv2d, signal: Signal, outputs: Tensor, steps: Steps
) -> Iterator[tuple[Tensor, Tensor]]:
    """What enters a layer's rows (G, K, S) and should leave them (G, R, S), a few photos each."""
    kernel, groups = layer.weight.shape[2], layer.groups
    cells = outputs.shape[2] * outputs.shape[3]
    wanted = _MOMENT_CELLS * layer.weight[0].numel()
    outputs = outputs[: max(_TOGETHER, wanted // cells)]
    scale, offset = steps.scale[:, None, None], steps.offset[:, None, None]
    for first in range(0, len(outputs), _TOGETHER):
        rows = slice(first, min(first + _TOGETHER, len(outputs)))
        centred = signal.codes[rows].float() - layer.enter_zero
        padded = functional.pad(centred, layer.padding(centred))
        inputs = functional.unfold(padded, kernel, stride=layer.stride)
        targets = ((outputs[rows] - offset) / scale).flatten(2)
        yield _grouped(inputs, groups), _grouped(targets, groups)


def _grouped(values: Tensor, groups: int) -> Tensor:
    """Values (N, G * K, S) of N photos as (G, K, N * S)."""
    photos, channels, cells = values.shape
    by_group = values.reshape(photos, groups, channels // groups, cells)
    return by_group.permute(1, 2, 0, 3).flatten(2)


def _sampled(values: Tensor) -> Tensor:
    """Values (C, S) of some cells of maps (N, C, h, w), evenly spaced."""
    photos, _, height, width = values.shape
    stride = max(1, photos * height * width // _RANGE_CELLS)
    cells = values.flatten(2)[:, :, :: stride | 1]  # odd: not always the same columns
    return cells.transpose(0, 1).flatten(1)


def _noise(signal: Signal) -> float:
    """What the bytes of a signal get wrong of its variance, in decibels."""
    wrong = variance = 0.0
    mean = signal.values.mean((0, 2, 3), keepdim=True)[0]
    for codes, values in zip(signal.codes, signal.values, strict=True):
        wrong += float((signal.steps.values(codes[None])[0] - values).square().sum())
        variance += float((values - mean).square().sum())
    return 10 * torch.log10(torch.tensor(wrong / max(variance, 1e-12))).item()


def _in_chunks(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """A function of N rows, a few at a time."""
    return torch.cat([function(chunk) for chunk in torch.split(values, _TOGETHER)])
