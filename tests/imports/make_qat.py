"""Makes tests/imports/data: nets trained quantised in Brevitas, on the digits, exported as QCDQ, and what Brevitas says of them.

Takes `pip install 'edgelearn[qat]'` and some seconds: `python -m tests.imports.make_qat [FOLDER]`. The tests read the files, so that they
need neither torch nor Brevitas; test_qat.py trains one of these nets anew where both are there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgelearn.data import datasets
from edgelearn.imports.extras import extra

DATA = Path(__file__).parent / "data"
EPOCHS, BATCH = 25, 32


def _parts(per_channel: bool) -> tuple[Any, Any, Any, Any]:
    """torch.nn, brevitas.nn, brevitas.quant, and how weights are quantised."""
    nn, qnn, quant = (extra(name, "Brevitas", "qat") for name in ("torch.nn", "brevitas.nn", "brevitas.quant"))
    return nn, qnn, quant, quant.Int8WeightPerChannelFloat if per_channel else quant.Int8WeightPerTensorFloat


def dense(per_channel: bool = False) -> Any:
    """64-32-10, weights with one scale for a layer, or one for each row."""
    nn, qnn, quant, weight = _parts(per_channel)
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=quant.Uint8ActPerTensorFloat),
        qnn.QuantLinear(64, 32, bias=True, weight_quant=weight), qnn.QuantReLU(),
        qnn.QuantLinear(32, 10, bias=False, weight_quant=weight),
    )  # fmt: skip


def conv(per_channel: bool = False, norm: bool = False) -> Any:
    """c8k3-p2-c12k3-p2-10, as ``dense``."""
    nn, qnn, quant, weight = _parts(per_channel)

    def layer(inp: int, out: int) -> list[Any]:
        made = qnn.QuantConv2d(inp, out, 3, padding=1, bias=not norm, weight_quant=weight)
        return [made, *([nn.BatchNorm2d(out)] if norm else []), qnn.QuantReLU(), nn.AvgPool2d(2)]

    return nn.Sequential(
        qnn.QuantIdentity(act_quant=quant.Uint8ActPerTensorFloat), *layer(1, 8), *layer(8, 12), nn.Flatten(),
        qnn.QuantLinear(48, 10, bias=False, weight_quant=weight),
    )  # fmt: skip


NETS: dict[str, tuple[Callable[[], Any], tuple[int, ...], bool]] = {  # net, shape of a sample, exported with dynamo
    "dense": (dense, (64,), False),
    "dense-rows": (lambda: dense(per_channel=True), (64,), True),
    "conv": (conv, (1, 8, 8), False),
    "conv-norm": (lambda: conv(per_channel=True, norm=True), (1, 8, 8), True),
}


def trained(name: str, epochs: int = EPOCHS) -> tuple[Any, Any]:
    """A net, trained on the digits, and the test samples as it reads them."""
    import torch

    make, shape, _ = NETS[name]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits, net = datasets.load("digits"), make()
    x, y = torch.from_numpy(digits.x_train).reshape(-1, *shape), torch.from_numpy(digits.y_train)
    adam = torch.optim.Adam(net.parameters(), 4e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(net(x[batch]), y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.eval(), torch.from_numpy(digits.x_test).reshape(-1, *shape)


def guesses(net: Any, x: Any) -> np.ndarray[Any, Any]:
    import torch

    with torch.no_grad():
        return net(x).argmax(1).numpy()


def main(folder: Path) -> None:
    export = extra("brevitas.export", "Brevitas", "qat").export_onnx_qcdq
    folder.mkdir(exist_ok=True)
    kept: dict[str, Any] = {}
    for name, (_, _, dynamo) in NETS.items():
        net, x = trained(name)
        path = str(folder / f"{name}.onnx")
        export(net, args=x[:1], export_path=path, opset_version=17, dynamo=dynamo, **external(dynamo))
        kept[name] = guesses(net, x).tolist()
        sys.stdout.write(f"{name}: {np.mean(np.array(kept[name]) == datasets.load('digits').y_test):.4f}\n")
    (folder / "guesses.json").write_text(json.dumps(kept) + "\n")


def external(dynamo: bool) -> dict[str, bool]:
    """torch's newer exporter puts weights into a second file, unless it is told not to."""
    return {"external_data": False} if dynamo else {}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
