"""The bundled backbones against timm's networks of the same names."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch

from regiontalk.regions.backbones import Backbone, fold_batch_norm
from regiontalk.regions.mobilenets import NETWORKS, MobileNet, SameConv2d

EDGETPU = "mobilenet_edgetpu_100"
CASES = [
    pytest.param(EDGETPU, True, id="edgetpu, same padding"),
    pytest.param(EDGETPU, False, id="edgetpu, centred"),
    *(pytest.param(name, False, id=name) for name in NETWORKS if name != EDGETPU),
]


@pytest.mark.parametrize(("name", "same_padding"), CASES)
@pytest.mark.parametrize(
    "size", [pytest.param(64, id="64"), pytest.param(75, id="odd")]
)
def test_equals_timm(name: str, same_padding: bool, size: int) -> None:
    torch.manual_seed(0)
    judge = timm.create_model(
        name, num_classes=0, **({"pad_type": "same"} if same_padding else {})
    )
    own = MobileNet(name, same_padding=same_padding)
    # the order too: optimisers number tensors by it
    assert list(own.state_dict()) == list(judge.state_dict())
    own.load_state_dict(judge.state_dict())
    assert own.num_features == judge.num_features
    for ours, theirs in zip(own.feature_info, judge.feature_info, strict=True):
        assert ours == {key: theirs[key] for key in ours}
    pixels = torch.randn(2, 3, size, size)
    for training in (
        True,
        False,
    ):  # training first: it moves the running statistics of both
        final, maps = own.train(training).forward_intermediates(pixels, [2, 3])
        wanted, wanted_maps = judge.train(training).forward_intermediates(
            pixels, indices=[2, 3]
        )
        for ours, theirs in zip([final, *maps], [wanted, *wanted_maps], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "same_padding"), CASES)
def test_folding_keeps_the_outputs_and_the_names(name: str, same_padding: bool) -> None:
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 64, 64)
    light = Backbone(name, same_padding=same_padding, light=True)
    heavy = Backbone(name, same_padding=same_padding)
    light(pixels)  # running statistics that are not 0 and 1
    heavy.load_state_dict(light.state_dict())
    with torch.no_grad():
        before = light.eval()(pixels)
    for backbone in (light, heavy):
        fold_batch_norm(backbone.eval())
    assert list(light.state_dict()) == list(heavy.state_dict())
    with torch.no_grad():
        for wanted, ours, theirs in zip(
            before, light(pixels), heavy(pixels), strict=True
        ):
            torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_padding_by_hand() -> None:
    # 4 cells, kernel 3, stride 2: two outputs need (2 - 1) * 2 + 3 = 5 cells, so one zero, on the
    # right. Cells 1 2 3 4 0 with a kernel of ones give 1 + 2 + 3 = 6 and 3 + 4 + 0 = 7.
    conv = SameConv2d(1, 1, (1, 3), (1, 2), bias=False)
    conv.weight.data.fill_(1)
    assert conv(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])).flatten().tolist() == [6, 7]


def test_every_stage_halves_or_keeps() -> None:
    strides = [
        entry["reduction"]
        for entry in MobileNet(EDGETPU, same_padding=True).feature_info
    ]
    assert all(second == 2 * first for first, second in pairwise(strides))
