"""Nets of PyTorch: what our interpreter makes of a sample is what torch makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn import imports
from edgelearn.errors import ConfigError
from tests.imports.reference import channels_last, features, samples

torch = pytest.importorskip("torch", reason="needs torch: pip install 'edgelearn[torch]'")
nn = torch.nn
F = torch.nn.functional


def settled(net: Any) -> Any:
    """In evaluation mode, with running statistics that are not the first ones."""
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                nn.init.uniform_(layer.weight, 0.5, 2)
                nn.init.uniform_(layer.bias, -1, 1)
    return net.eval()


def mlp() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 3))


def lenet() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3),
    )  # fmt: skip


def mobile() -> Any:
    def block(*layers: Any) -> list[Any]:
        return [*layers, nn.ReLU(inplace=True)]

    return nn.Sequential(
        *block(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4)),
        *block(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)),
        *block(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8, affine=False)), nn.Dropout(),
    )  # fmt: skip


def pools() -> Any:
    return nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.MaxPool2d(1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 2)),
        nn.Identity(), nn.Conv2d(5, 2, 1), nn.ReLU(),
    )  # fmt: skip


class Functional(nn.Module):
    """As people write them by hand: pool before the ReLU, ``padding="same"``, view, log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding="same"), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)

    def features(self, x: Any) -> Any:
        x = F.relu(F.max_pool2d(self.first(x), 2))
        x = F.relu(self.second(x))
        return F.relu(self.fc1(F.dropout(x.view(x.size(0), -1), training=self.training)))

    def forward(self, x: Any) -> Any:
        return F.log_softmax(self.fc2(self.features(x)), dim=1)


def vectors() -> Any:
    return nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


NETS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int]] = {  # net, shape of a sample, how much of it is kept
    "mlp": (mlp, (3, 6, 4), 5),
    "lenet": (lenet, (3, 8, 4), 8),
    "mobile": (mobile, (3, 8, 6), 10),
    "pools": (pools, (3, 4, 8), 9),
    "vectors": (vectors, (7,), 5),
}


@pytest.mark.parametrize("name", NETS)
def test_features_are_those_of_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, shape, kept = NETS[name]
    net = settled(make())
    ours, theirs = samples(shape)
    torch.export.save(torch.export.export(net, (torch.zeros(1, *shape),)), tmp_path / "net.pt2")
    found = imports.read(tmp_path / "net.pt2")
    with torch.no_grad():
        wanted = channels_last(net[:kept](torch.from_numpy(theirs)).numpy())
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(features(found, ours), wanted, atol=1e-4, rtol=1e-4)
    again = imports.from_torch(net, torch.zeros(1, *shape))
    assert (again.layers, again.input) == (found.layers, found.input)


def test_a_net_with_a_forward_of_its_own() -> None:
    torch.manual_seed(1)
    net = Functional().eval()
    ours, theirs = samples((3, 6, 6))
    found = imports.from_torch(net, torch.zeros(1, 3, 6, 6))
    with torch.no_grad():
        wanted = net.features(torch.from_numpy(theirs)).numpy()
    np.testing.assert_allclose(features(found, ours), wanted, atol=1e-4, rtol=1e-4)
    assert [str(layer) for layer in found.layers] == ["c4k3", "max2", "c6k3", "8"]
    assert "fc2" not in found.values
    assert found.text.splitlines()[-1].endswith("dropped")


def test_the_module_stays_as_it_is() -> None:
    net = lenet().train()
    net[1].eval()
    imports.from_torch(net, torch.zeros(1, 3, 8, 4))
    assert net.training
    assert not net[1].training


@pytest.mark.parametrize(
    ("upto", "layers"),
    [(1, ["c4k3", "max2"]), (2, ["c4k3", "max2", "c6k3s2"]), (4, ["c4k3", "max2", "c6k3s2", "9", "3"])],
)
def test_upto_says_how_much_is_kept(upto: int, layers: list[str]) -> None:
    torch.manual_seed(2)
    net = lenet().eval()
    found = imports.from_torch(net, torch.zeros(1, 3, 8, 4), upto=upto)
    assert [str(layer) for layer in found.layers] == layers
    assert found.activations[-1] == ("none" if upto == 4 else "relu")
    ours, theirs = samples((3, 8, 4))
    with torch.no_grad():
        wanted = channels_last(net[: {1: 3, 2: 5, 4: 9}[upto]](torch.from_numpy(theirs)).numpy())
    np.testing.assert_allclose(features(found, ours), wanted, atol=1e-4, rtol=1e-4)


def test_what_comes_after_upto_may_be_anything() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Any) -> Any:
            x = F.relu(self.first(x))
            return torch.sigmoid(x + self.second(x))

    with pytest.raises(ConfigError, match="the net branches") as caught:
        imports.from_torch(Residual(), torch.zeros(1, 1, 6, 6))
    assert caught.value.hint == "Keep what comes before it: upto = 1."
    assert [str(layer) for layer in imports.from_torch(Residual(), torch.zeros(1, 1, 6, 6), upto=1).layers] == ["c4k3"]


def test_weights_in_another_order_of_memory() -> None:
    torch.manual_seed(3)
    net = lenet().eval()
    plain = imports.from_torch(net, torch.zeros(1, 3, 8, 4))
    other = imports.from_torch(net.to(memory_format=torch.channels_last), torch.zeros(1, 3, 8, 4))
    for name, value in plain.values.items():
        assert (other.values[name] == value).all()


@pytest.mark.parametrize(
    ("layers", "op", "said"),
    [
        ([nn.Conv2d(1, 2, 3), nn.Sigmoid()], "aten.sigmoid.default 'sigmoid'", "nothing that a board's net can do"),
        ([nn.Conv2d(1, 2, 3), nn.ReLU6()], "aten.hardtanh.default", "nothing that"),
        ([nn.Conv2d(1, 2, 3), nn.LeakyReLU()], "aten.leaky_relu.default", "nothing that"),
        ([nn.Conv2d(1, 2, 3), nn.GELU()], "aten.gelu.default", "nothing that"),
        ([nn.Conv2d(1, 2, 3), nn.Tanh()], "aten.tanh.default", "nothing that"),
        ([nn.ConvTranspose2d(1, 2, 3), nn.ReLU()], "aten.conv_transpose2d", "nothing that"),
        ([nn.LayerNorm(8)], "aten.layer_norm.default", "nothing that"),
        ([nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)], "aten.group_norm.default", "nothing that"),
        ([nn.Upsample(scale_factor=2)], "aten.upsample_nearest2d", "nothing that"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2)], "aten.conv2d.default", "2 groups"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=4)], "aten.conv2d.default", "4 groups"),
        ([nn.Conv2d(1, 4, 3, dilation=2), nn.ReLU()], "aten.conv2d.default", "dilation 2, 2"),
        ([nn.Conv2d(1, 4, (3, 1)), nn.ReLU()], "aten.conv2d.default", "kernel of 3 by 1"),
        ([nn.Conv2d(1, 4, 3, stride=(1, 2)), nn.ReLU()], "aten.conv2d.default", "moves by 1 and 2"),
        ([nn.Conv2d(1, 4, 3, padding=(1, 0)), nn.ReLU()], "aten.conv2d.default", "pads by 0, 1"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2)], "aten.max_pool2d.default", "windows of 3 that move by 2"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2, padding=1)], "aten.max_pool2d.default", "pads its map"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(4)], "aten.avg_pool2d.default", "without a rest"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d((1, 2))], "aten.avg_pool2d.default", "windows of 1 by 2"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4)], "aten.adaptive_avg_pool2d", "to 4 by 4"),
        ([nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.ReLU()], "aten.relu.default", "after a pool that averages"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)], "aten.batch_norm.default", "does not directly follow"),
        ([nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3), nn.ReLU()], "aten.batch_norm.default", "does not directly follow"),
        ([nn.ReLU(), nn.Conv2d(1, 4, 3), nn.ReLU()], "aten.relu.default", "before any layer"),
        ([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()], "aten.conv2d.default 'conv2d' (node 1)", "no ReLU after it"),
        ([nn.Linear(8, 4), nn.ReLU()], "aten.linear.default", "reads a value of shape"),
        ([nn.Flatten(2), nn.Linear(64, 4), nn.ReLU()], "aten.flatten.using_ints", "something else than"),
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Softmax(1), nn.Conv2d(4, 4, 3)], "aten.softmax.int", "not the end"),
        ([nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.ReLU()], "aten.unflatten", "nothing that"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused_by_name(layers: list[Any], op: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        imports.from_torch(nn.Sequential(*layers), torch.zeros(1, 1, 8, 8))
    assert op in caught.value.message
    assert "(node " in caught.value.message
    assert said in caught.value.message
    assert caught.value.hint


def test_a_net_in_training_mode_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).train()
    torch.export.save(torch.export.export(net, (torch.zeros(2, 1, 8, 8),)), tmp_path / "net.pt2")
    with pytest.raises(ConfigError, match=r"aten.batch_norm.default .* is in training mode"):
        imports.read(tmp_path / "net.pt2")


def test_a_program_that_was_taken_apart_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(lenet().eval(), (torch.zeros(1, 3, 8, 4),)).run_decompositions()
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ConfigError, match=r"aten.convolution.default") as caught:
        imports.read(tmp_path / "net.pt2")
    assert "run_decompositions" in caught.value.hint


def test_what_cannot_be_exported_is_told() -> None:
    class Branching(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(ConfigError, match="cannot be exported"):
        imports.from_torch(Branching(), torch.zeros(1, 4))


def test_sizes_that_are_not_fixed_are_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    height = torch.export.Dim("height", min=4, max=64)
    program = torch.export.export(net, (torch.zeros(1, 1, 8, 8),), dynamic_shapes=({2: height},))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ConfigError, match=r"shape \(1, 1, \?, 8\)"):
        imports.read(tmp_path / "net.pt2")


def test_a_batch_that_is_not_fixed_is_none_of_our_business(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)).eval()
    program = torch.export.export(net, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, tmp_path / "net.pt2")
    assert imports.read(tmp_path / "net.pt2").input == (8, 8, 1)
