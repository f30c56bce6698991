"""``edgelearn sim``: a simulated or emulated board for other programs, over TCP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from edgelearn.link.children import Child

app = typer.Typer(rich_markup_mode=None)
Listen = Annotated[str, typer.Option("--listen", metavar="tcp://HOST:PORT", help="Where; port 0 takes a free one.")]


Baud = Annotated[
    int | None,
    typer.Option("--baud", metavar="N", min=1, help="Take N/10 bytes per second and drop what does not fit; sim only."),
]
Buffer = Annotated[int | None, typer.Option("--rx-buffer", metavar="BYTES", min=64, help="Receive ring; sim only.")]


@app.command()
def sim(
    board: options.Board = "sim",
    listen: Listen = "tcp://127.0.0.1:0",
    baud: Baud = None,
    rx_buffer: Buffer = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> None:
    """Serve a simulated or emulated board over TCP, until Ctrl-C."""
    from edgelearn import boards, images
    from edgelearn.device import sim_with
    from edgelearn.link import listen as listening
    from edgelearn.pairing import keys

    chosen = boards.load(board)
    key = None if key_file is None else keys.read(key_file)
    program, secret = sim_with(key, chosen, "sim" if "sim" in chosen.ports else None)

    def image() -> Path:
        return (images.build(chosen) if key is None else images.build_paired(chosen, key)).path

    given = {"--baud": baud, "--rx-buffer": rx_buffer}
    arguments = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    child, where = listening.listen(chosen, listen, image, program, arguments, secret)
    try:
        if as_json:
            output.emit("sim", {"board": chosen.id, "listen": where})
        else:
            print(f"{chosen.id} listens on {where} until Ctrl-C:", flush=True)
            with_key = "" if key_file is None else f" --key {key_file}"
            print(f"  edgelearn train digits --board {chosen.id} --port {where}{with_key}", flush=True)
        _wait(child)
    finally:
        child.stop()


def _wait(child: Child) -> None:
    """Until Ctrl-C, which is how this verb ends well.

    Raises:
        LinkLostError: the board ended by itself.
    """
    try:
        child.process.wait()
    except KeyboardInterrupt:
        return
    raise child.failure("ended")
