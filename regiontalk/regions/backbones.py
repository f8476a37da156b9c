"""Backbones by timm name: one run gives the maps at strides 8, 16 and 32.

Any timm model that offers ``forward_intermediates`` fits in without code. Pixels (B, 3, S, S)
enter; three maps (B, C_k, S / 2^k, S / 2^k), k = 3, 4, 5, leave, the last being the network's own
final map (after its head convolution).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from regiontalk.regions.mobilenets import NETWORKS, MobileNet

STRIDES = (8, 16, 32)
# What timm calls the layers after the last map.
_HEADS = ("classifier.", "head.", "fc.", "pre_logits.")


class Backbone(nn.Module):
    """A timm network without its classifier."""

    net: Any  # timm's networks share no typed interface

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        same_padding: bool = False,
        light: bool = False,
    ) -> None:
        """Build the network.

        Args:
            name: a timm model name, such as ``mobilenet_edgetpu_100``, ``resnet50`` or ``vgg19``.
            pretrained: download the published weights (needs a network the first time).
            same_padding: TensorFlow's padding, for weights that were trained with it.
            light: take this package's own form of the network where it has one, which starts
                without timm.

        Raises:
            ValueError: no such model, or one without maps at strides 8, 16 and 32.
        """
        super().__init__()
        self._name, self._same_padding = name, same_padding
        net: Any
        if light and name in NETWORKS and not pretrained:
            net = MobileNet(name, same_padding=same_padding)
        else:
            net = timm_network(name, pretrained, same_padding)
        if isinstance(getattr(net, "pre_logits", None), nn.Module):
            # VGG's two layers before its classifier, which no map passes through
            net.pre_logits = nn.Identity()
        levels = _levels(name, net)
        self.net = net
        self._levels = [levels[8], levels[16]]
        fine, middle = (int(net.feature_info[row]["num_chs"]) for row in self._levels)
        self.channels = (fine, middle, int(net.num_features))
        # Swin, MambaOut
        self._channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at strides 8, 16 and 32 of pixels (B, 3, S, S)."""
        final, (fine, middle) = self.net.forward_intermediates(
            pixels, indices=self._levels
        )
        if self._channels_last:
            final = final.permute(0, 3, 1, 2)
        return fine, middle, final

    def light_copy(self) -> Backbone:
        """A folded backbone in this package's own form."""
        light = Backbone(self._name, same_padding=self._same_padding, light=True)
        fold_batch_norm(light)
        light.load_state_dict(self.state_dict())
        return light.eval()

    def use_int8(self) -> None:
        """Take the form that computes in whole numbers, empty, in place; a file fills it.

        Raises:
            ValueError: the network has no such form.
        """
        # here: a model in float needs none of it
        from regiontalk.regions.int8_mobilenets import Int8MobileNet

        if self._name not in NETWORKS:
            raise ValueError(
                f"backbone {self._name!r}: has no form in int8; one of {sorted(NETWORKS)} has"
            )
        self.net = Int8MobileNet(self._name, same_padding=self._same_padding)

    def freeze(self, stride: int) -> None:
        """Keep the layers up to the map at ``stride`` as they are; 0 lets every layer learn.

        Raises:
            ValueError: the network has no map there.
        """
        parameters = list(self.net.named_parameters())
        frozen = 0
        if stride:
            modules = {
                info["reduction"]: str(info["module"]) for info in self.net.feature_info
            }
            if stride not in modules:
                raise ValueError(
                    f"frozen stride: expected 0 or one of {sorted(modules)}, got {stride}"
                )
            last_module = f"{modules[stride]}."
            # parameters stand in the order of the layers
            frozen = 1 + max(
                row
                for row, (name, _) in enumerate(parameters)
                if name.startswith(last_module)
            )
        for row, (_, parameter) in enumerate(parameters):
            parameter.requires_grad_(row >= frozen)

    def load_weights(self, path: Path) -> None:
        """Start from a whole state dict of the same timm model, its classifier left out.

        Raises:
            ValueError: the file holds other tensors than the network.
        """
        load_local(self.net, path)


def _levels(name: str, net: Any) -> dict[int, int]:
    """Row of ``feature_info`` by stride.

    Raises:
        ValueError: not all of `STRIDES` are there, or no maps at all.
    """
    levels = {info["reduction"]: row for row, info in enumerate(net.feature_info)}
    if not hasattr(net, "forward_intermediates"):
        raise ValueError(
            f"backbone {name!r}: the timm that is installed gives no maps of it; "
            "pip install -U timm"
        )
    if not all(stride in levels for stride in STRIDES):
        raise ValueError(
            f"backbone {name!r}: expected maps at strides {STRIDES}, got {sorted(levels)}"
        )
    return levels


def load_local(net: nn.Module, path: Path) -> None:
    """Fill a network without its classifier from a whole state dict.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not safetensors, or holds other tensors than the network.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a safetensors file with the network's weights; no such file"
        )
    try:
        network_keys = net.state_dict().keys()
        state = {
            key: value
            for key, value in load_file(path).items()
            if key in network_keys or not key.startswith(_HEADS)
        }
        net.load_state_dict(state)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file ({error})") from error
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(
            f"{path}: expected the weights of this backbone; {first}"
        ) from error


_TIMM_NAME = re.compile(r"[\w.-]+")


def timm_network(name: str, pretrained: bool, same_padding: bool = False) -> Any:
    """The network that timm knows by that name, without its classifier.

    Published weights come from the Hugging Face Hub, with its progress bar, its checksums and its
    cache: what was downloaded once needs no network again.

    Raises:
        ValueError: no such model, or its published weights are neither in the cache nor can be
            downloaded.
    """
    import timm  # here, because it takes seconds

    # "hf-hub:..." and "local-dir:..." are read from elsewhere
    if not _TIMM_NAME.fullmatch(name):
        raise ValueError(
            f"backbone {name!r}: expected a timm model name, such as resnet50"
        )
    options: dict[str, Any] = {"pad_type": "same"} if same_padding else {}
    try:
        if not pretrained:
            return timm.create_model(name, num_classes=0, **options)
        # first whole, then without its classifier: timm asks for every tensor only where nothing is
        # left out
        network: Any = timm.create_model(name, pretrained=True, **options)
        network.reset_classifier(0)
        return network
    except OSError as error:
        # the Hub's client raises it where there is no network, or no such file on the Hub
        raise _unreachable(name, error) from error
    except RuntimeError as error:
        if timm.is_model(name):  # weights that do not fit, or none published
            raise ValueError(
                f"backbone {name!r}: its published weights cannot be used ({error})"
            ) from error
        close_names = get_close_matches(name, timm.list_models(), n=8, cutoff=0.3)
        hint = ", ".join(close_names) or "see timm.list_models()"
        raise ValueError(
            f"backbone {name!r}: expected a timm model name, such as {hint}"
        ) from error
    except TypeError as error:
        raise ValueError(
            f"backbone {name!r}: has no choice of padding; set same_padding = false"
        ) from error


def published_torchvision(name: str) -> dict[str, Tensor]:
    """The published state dict of a torchvision network.

    From the cache or the network, its checksum compared.

    Raises:
        ValueError: it is neither in the cache nor can be downloaded, or what came is not what was
            published.
    """
    from torchvision.models import get_model_weights

    try:
        state: dict[str, Tensor] = get_model_weights(name).DEFAULT.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    except OSError as error:
        raise _unreachable(name, error) from error
    except RuntimeError as error:  # the checksum
        raise ValueError(
            f"backbone {name!r}: its published weights cannot be used ({error})"
        ) from error
    return state


def _unreachable(name: str, error: OSError) -> ValueError:
    """The error for published weights that are not here and cannot be fetched."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(
        f"backbone {name!r}: its published weights are not in the cache and cannot be "
        f"downloaded ({reason}); name a local file with --weights FILE.safetensors, or "
        "go online once"
    )


def depthwise_in_float32(module: nn.Module) -> None:
    """Let depthwise convolutions that learn compute in float32 under autocast, in place.

    On a processor their gradient in bfloat16 takes three times as long as in float32; all other
    convolutions gain.
    """
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels > 1:
            conv.forward = _Float32(conv)  # type: ignore[method-assign, assignment]


@torch.no_grad()
def silence_dead_channels(module: nn.Module) -> None:
    """Give channels that never vary the gain 0 and the variance 1, in place.

    The outputs stay the same. Published weights hold channels whose variance is 0.
    Divided by its root, the first step of a convolution before them would be magnified
    thirtyfold; like this they stay calm until they have learnt something.
    """
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
            dead = norm.running_var == 0
            norm.weight[dead] = 0.0
            norm.running_var[dead] = 1.0


class _Float32:
    """The forward pass of a convolution, in float32 while its weight learns."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self._conv = conv

    def __call__(self, features: Tensor) -> Tensor:
        conv = self._conv
        forward = type(conv).forward
        learns = torch.is_grad_enabled() and conv.weight.requires_grad
        if not learns:
            return forward(conv, features)
        with torch.autocast(features.device.type, enabled=False):
            return forward(conv, features.float())


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch norm that is registered right after a convolution into it, in place.

    The outputs stay the same. An inference-only form: fewer tensors on disk and fewer
    passes over memory.
    """
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (_, first), (second_name, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                fold_pair(first, second)
                setattr(parent, second_name, getattr(second, "act", nn.Identity()))


@torch.no_grad()
def fold_pair(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, scale_also: Sequence[nn.Conv2d] = ()
) -> None:
    """A batch norm as an affine map of its input.

    W' = W g / sigma and b' = b g / sigma + beta - mu g / sigma.

    Args:
        conv: takes the scale and the shift.
        norm: with running statistics.
        scale_also: bias-free convolutions whose outputs are added to ``conv``'s before the norm;
            they take the scale.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("batch norm: expected running statistics, got none")
    mean, variance = norm.running_mean, norm.running_var
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    old_bias = torch.zeros_like(mean) if conv.bias is None else conv.bias
    for scaled_conv in (conv, *scale_also):
        scaled_conv.weight.mul_(scale[:, None, None, None])
    conv.bias = nn.Parameter(old_bias * scale + norm.bias - mean * scale)
