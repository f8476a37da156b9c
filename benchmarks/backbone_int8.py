"""What everyday photos lose when the backbone computes in int8, and which of its layers lose it.

    python benchmarks/backbone_int8.py --model mini --train DATA --data DATA/coco \
        --data DATA/coco_more/dev_captions.json --class-words DATA/coco_more/class_words.json

Convolutions of an EfficientNet-Lite are rounded as ONNX Runtime would compute them:
weights to 8 bits with a scale for each channel, what enters a convolution and what
leaves a linear one to 8 bits between the extremes that 32 training photos show; sums of
a residual stay in float. Each row leaves more layers in float. Noise is the share of
the region map's energy that is wrong, in decibels, on 24 photos of the data. Nothing is
trained.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.names import evaluate_names, read_class_words
from regiontalk.evaluate.result import Figure
from regiontalk.metrics.bootstrap import Interval
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.runtime.torch_engine import TorchPredictor

RANGE_PHOTOS, NOISE_PHOTOS = 32, 24
IsFloat = Callable[[str], bool]
ROWS: dict[str, IsFloat] = {
    "float": lambda name: True,
    "int8": lambda name: False,
    "int8 but stem and first stage": lambda name: _is_early(name, 1),
    "and but the layer that ends a stage's first block": lambda name: (
        _is_early(name, 1) or name.endswith(".0.conv_pwl")
    ),
    "and but the second stage": lambda name: (
        _is_early(name, 2) or name.endswith(".0.conv_pwl")
    ),
}


def _is_early(name: str, stages: int) -> bool:
    """Whether a layer is the stem or of the first stages."""
    return name == "conv_stem" or any(
        name.startswith(f"blocks.{stage}.") for stage in range(stages)
    )


class Range(nn.Module):
    """Rounds numbers to 256 steps between the extremes it has seen."""

    def __init__(self) -> None:
        """Nothing seen, nothing rounded."""
        super().__init__()
        self.low, self.high = 0.0, 0.0
        self.learns = self.rounds = False

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        if self.learns:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
        if not self.rounds:
            return values
        scale = (self.high - self.low) / 255
        zero = round(-self.low / scale)
        return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)


class RoundedConv(nn.Module):
    """A convolution in float, or rounded."""

    def __init__(self, conv: nn.Conv2d, *, is_linear: bool) -> None:
        """Take a convolution; of a linear one the result is rounded as well."""
        super().__init__()
        self.conv, self.is_linear = conv, is_linear
        self.enter, self.leave = Range(), Range()
        self.exact = conv.weight.detach().clone()

    def round(self, rounds: bool) -> None:
        """Round from now on, or no more."""
        self.enter.rounds, self.leave.rounds = rounds, rounds and self.is_linear
        scale = self.exact.abs().amax((1, 2, 3)).clamp_min(1e-6) / 127
        zeros = torch.zeros(len(scale))
        rounded = torch.fake_quantize_per_channel_affine(
            self.exact, scale, zeros, 0, -127, 127
        )
        self.conv.weight.data = rounded if rounds else self.exact

    def forward(self, features: Tensor) -> Tensor:
        """As the convolution."""
        result: Tensor = self.leave(self.conv(self.enter(features)))
        return result


def roundable(model: RegionModel) -> dict[str, RoundedConv]:
    """Replace the backbone's convolutions; each by its name."""
    net: nn.Module = model.extractor.backbone.net
    convolutions = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    layers: dict[str, RoundedConv] = {}
    for name, conv in convolutions:
        parent, _, own_name = name.rpartition(".")
        is_linear = own_name == "conv_pwl" or name == "blocks.0.0.conv_pw"
        layers[name] = RoundedConv(conv, is_linear=is_linear)
        setattr(net.get_submodule(parent), own_name, layers[name])
    return layers


@torch.no_grad()
def learn_ranges(
    layers: dict[str, RoundedConv], model: RegionModel, pixels: Tensor
) -> None:
    """See what enters and leaves every layer on photos (B, 3, S, S)."""
    for is_learning in (True, False):
        for layer in layers.values():
            layer.enter.learns = layer.leave.learns = is_learning
        if is_learning:
            model.extractor.in_chunks(pixels, 8)


def read_pixels(captioner: RegionCaptioner, examples: Sequence[Example]) -> Tensor:
    """Network input (B, 3, S, S) of photos."""
    photos = [captioner.open(example.photo) for example in examples]
    to_pixels = captioner.preprocessing.to_pixels
    return torch.from_numpy(
        np.stack([to_pixels(photo.image, photo.size_wh) for photo in photos])
    )


def decibels(rounded: Tensor, exact: Tensor) -> float:
    """The energy of the error as a share of the exact one."""
    share = (rounded - exact).square().mean() / exact.square().mean()
    return float(10 * torch.log10(share))


def read_all(folders: Sequence[Path]) -> list[Example]:
    """The photos of several data sets."""
    examples: list[Example] = []
    for folder in folders:
        examples += read_split(folder, "all")[0]
    return examples


def show(figures: Mapping[str, Figure]) -> str:
    """Figures without their intervals, in a line."""
    shown = []
    for name, figure in figures.items():
        value = figure.value if isinstance(figure, Interval) else figure
        shown.append(f"{name} -" if value is None else f"{name} {value:.3f}")
    return ", ".join(shown)


@torch.no_grad()
def main() -> None:
    """Print a row for each choice of layers."""
    arguments = parse_arguments()
    model = RegionModel.from_folder(resolve_model(arguments.model))
    captioner = RegionCaptioner(predictor=TorchPredictor(model, "cpu"))
    layers = roundable(model)
    training, _ = read_split(arguments.train, "train")
    chosen = random.Random(0).sample(list(training), RANGE_PHOTOS)
    learn_ranges(layers, model, read_pixels(captioner, chosen))
    examples = read_all(arguments.data)
    class_words = read_class_words(arguments.class_words, examples)
    pixels = read_pixels(captioner, examples[:NOISE_PHOTOS])
    exact = model.extractor.in_chunks(pixels, 8).regions
    for title, is_float in ROWS.items():
        for name, layer in layers.items():
            layer.round(not is_float(name))
        noise = decibels(model.extractor.in_chunks(pixels, 8).regions, exact)
        figures = evaluate_names(captioner, examples, class_words).figures["model"]
        print(f"{title}: noise {noise:.1f} dB, {show(figures)}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--class-words", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
