"""``edgelearn agent``: this computer as a board, for a host that trains it over TCP or a serial line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from edgelearn.agent.device import Device
    from edgelearn.agent.ports import SerialPort, TcpPort

app = typer.Typer(rich_markup_mode=None)
Listen = Annotated[
    str, typer.Option("--listen", metavar="WHERE", help="tcp://HOST:PORT, port 0 takes a free one; or /dev/ttyGS0.")
]
Board = Annotated[
    str | None,
    typer.Option("--board", metavar="ID", help="Which board this is; else the device tree says, or linux-pc."),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="A secret that clients must have too.")
]
Providers = Annotated[
    str | None,
    typer.Option("--providers", metavar="P,P", help="Of ONNX Runtime: cpu, cuda, tensorrt; or none: the C core."),
]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Of ONNX Runtime.")]
Baud = Annotated[int, typer.Option("--baud", metavar="N", min=300, help="Of a serial port that has one.")]
Keep = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Where 'save' keeps states (~/.local/state/edgelearn)."),
]
Energy = Annotated[
    str, typer.Option("--energy", metavar="METER", help="Told to clients: auto, nvml, ina3221[:RAIL], rapl, or none.")
]


@app.command()
def agent(
    listen: Listen = "tcp://127.0.0.1:7000",
    board: Board = None,
    token_file: TokenFile = None,
    providers: Providers = None,
    threads: Threads = 1,
    baud: Baud = 115200,
    state_dir: Keep = None,
    energy: Energy = "auto",
    as_json: options.Json = False,
) -> None:
    """Serve this computer as a board, over TCP or a serial line, until Ctrl-C."""
    _demand_posix()
    from edgelearn.agent import identity, meters, store
    from edgelearn.agent.device import Device
    from edgelearn.agent.engines import Engines
    from edgelearn.agent.ports import SERIAL_BUFFER, TCP_BUFFER

    who = identity.chosen(board)
    engines = Engines(tuple(providers.split(",")) if providers else (), threads)
    engines.warm()
    told = (lambda line: None) if as_json else _told
    buffer = TCP_BUFFER if listen.startswith("tcp://") else SERIAL_BUFFER
    meter = meters.OwnMeter(energy, meters.place(engines.providers))
    device = Device(who, engines, store.Store(state_dir or store.default_folder()), buffer, told, meter)
    port = _port(device, listen, token_file, baud, as_json)
    try:
        if as_json:
            output.emit("agent", {"board": who.id, "listen": port.name, "providers": list(engines.providers)})
        else:
            print(f"{who.id} listens on {port.name} until Ctrl-C:", flush=True)
            print(f"  edgelearn train digits --board {who.id} --port {port.name}", flush=True)
        port.serve()
    except KeyboardInterrupt:
        return
    finally:
        device.left()
        port.close()


def _port(device: Device, listen: str, token_file: Path | None, baud: int, quiet: bool) -> TcpPort | SerialPort:
    from edgelearn.agent.ports import SerialPort, TcpPort
    from edgelearn.errors import UsageError
    from edgelearn.link import token

    told = (lambda line: None) if quiet else _told
    if listen.startswith("tcp://"):
        return TcpPort(device, listen, None if token_file is None else token.read(token_file), told)
    if "/" not in listen:
        raise UsageError(f"'{listen}' is no place to listen.", "Write tcp://127.0.0.1:7000, or /dev/ttyGS0.")
    if token_file is not None:
        raise UsageError("A serial line takes no token: who has the cable has the board.", "Leave --token-file out.")
    return SerialPort(device, listen, baud, told)


def _demand_posix() -> None:
    from edgelearn.errors import UsageError

    if sys.platform == "win32":
        raise UsageError("An agent needs Linux.", "On this computer train with --board sim, or --board host.")


def _told(line: str) -> None:
    print(f"agent: {line}", file=sys.stderr, flush=True)
