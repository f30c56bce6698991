"""`edgelearn profile`: the windows of a real board (sim), measured by a meter of which everything is known."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgelearn import boards, build, profiling
from edgelearn.boards import Board
from edgelearn.cli import main
from edgelearn.device import Link
from edgelearn.energy import external
from edgelearn.energy.external import External
from edgelearn.energy.synthetic import Synthetic
from edgelearn.errors import ConfigError, UsageError
from edgelearn.job import prepare
from edgelearn.paths import resource
from edgelearn.profiling import OwnTime, estimate, place_of
from edgelearn.runs import RunStore
from edgelearn.session import Session

PHASE = {"name", "seconds", "joules", "reason", "source", "period_s", "sigma"}
MEASURED = {"emulated": False}


def cli(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    code = main(["profile", *args, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """digits on sim, with a meter that tells 2 W all the time."""
    job = prepare("digits", "sim", steps=1000)
    with Session("sim") as session:
        meter = Synthetic(lambda t: 2.0, period_s=1e-4, noise_w=0.01)
        return profiling.measure(session.device, job, meter, (), "sim", None, 1000, 0.05)


def test_phases(measured: dict[str, Any]) -> None:
    assert [phase["name"] for phase in measured["phases"]] == [
        "load", "idle", "learn", "infer", "step", "link", "forward", "update"
    ]  # fmt: skip
    for phase in measured["phases"]:
        assert phase.keys() >= PHASE
        assert (phase["joules"] is None) == bool(phase["reason"])
    by_name = {phase["name"]: phase for phase in measured["phases"]}
    assert by_name["idle"]["watts"] == pytest.approx(2.0, rel=0.01)
    assert 0 < by_name["link"]["seconds"] < by_name["learn"]["seconds"]
    assert by_name["link"]["within"] == by_name["step"]["within"] == "learn"
    assert by_name["link"]["seconds"] + by_name["step"]["seconds"] == pytest.approx(by_name["learn"]["seconds"])


def test_a_sample_has_its_share_of_the_window_and_nothing_is_subtracted(measured: dict[str, Any]) -> None:
    learn = next(phase for phase in measured["phases"] if phase["name"] == "learn")
    sample = measured["per_sample"]["learn"]
    assert sample["joules"] == pytest.approx(2.0 * learn["seconds"] / 1000, rel=0.01)
    assert sample["seconds"] == pytest.approx(learn["seconds"] / 1000)
    assert 0 < sample["board_s"] < sample["seconds"]
    assert sample["sigma"] == pytest.approx(learn["sigma"] / 1000)
    assert measured["samples"] == {"learn": 1000, "infer": 397}


def test_what_the_board_does_not_count_is_said(measured: dict[str, Any]) -> None:
    infer = measured["per_sample"]["infer"]
    assert infer["board_s"] is None
    assert "learning alone" in infer["board_reason"]
    assert infer["seconds"] > 0
    assert infer["joules"] > 0


def test_memory_is_the_boards_own(measured: dict[str, Any]) -> None:
    assert measured["ram"]["measured"] == measured["ram"]["planned"] > 0


# --- the command ----------------------------------------------------------------------------------------------------------------------


def test_without_a_meter_there_are_reasons_and_no_zeros(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = cli(capsys, "digits", "--steps", "100", "--energy", "none")
    assert code == 0
    assert told["schema"] == "edgelearn.profile/1"
    assert told["energy"] == {"meter": "none", "source": "", "tried": []}
    assert all(p["seconds"] is None for p in told["phases"] if p["name"] in ("forward", "update"))
    for figures in (*told["phases"], *told["per_sample"].values()):
        assert figures["joules"] is None and figures["reason"]
    assert main(["profile", "digits", "--steps", "100", "--energy", "none"]) == 0
    assert "not measured" in capsys.readouterr().out


def test_auto_here(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever this computer has: a meter with joules, or every meter with its reason."""
    code, told = cli(capsys, "digits-tiny", "--steps", "300", "--idle", "0.1")
    assert code == 0
    served = [t["meter"] for t in told["energy"]["tried"] if not t["reason"]]
    assert served == ([] if told["energy"]["meter"] == "none" else [told["energy"]["meter"]])
    for phase in told["phases"]:
        assert phase["joules"] is None or phase["joules"] > 0


def test_a_recording_that_is_written_meanwhile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A program beside us writes 3 W; each sample of the board has its share."""
    file, stop = tmp_path / "meter.csv", threading.Event()
    file.write_text("time(s),power(W)\n")

    def record() -> None:
        with file.open("a") as out:
            while not stop.wait(0.001):
                print(f"{time.time():.6f},3.0", file=out, flush=True)

    meter = threading.Thread(target=record)
    meter.start()
    try:
        code, told = cli(capsys, "digits", "--steps", "3000", "--energy", f"csv:{file}", "--idle", "0.2")
    finally:
        stop.set()
        meter.join()
    assert code == 0
    idle = next(phase for phase in told["phases"] if phase["name"] == "idle")
    if idle["joules"] is None:  # a busy computer keeps the thread waiting
        assert "missing" in idle["reason"] or "recorded only" in idle["reason"]
    else:
        assert idle["watts"] == pytest.approx(3.0)


def test_a_run_goes_on_from_what_it_has_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--steps", "1400", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["run"]
    code, told = cli(capsys, run, "--steps", "200", "--energy", "none")
    assert (code, told["from_step"], told["samples"]["learn"]) == (0, 1400, 200)
    with RunStore() as store:
        assert [r.id for r in store.list()] == [run], "nothing was recorded"
        newest = store.newest_checkpoint(run)
        assert newest is not None and newest.step == 1400


def test_a_boards_own_meter(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The sim board's is made up, and says so wherever there is a figure of it."""
    monkeypatch.setenv("EDGELEARN_SIM_POWER", "2.0")
    code, told = cli(capsys, "digits", "--steps", "3000", "--idle", "1.5")
    assert code == 0
    assert told["energy"]["tried"] == [{"meter": "telemetry", "reason": ""}]
    by_name = {phase["name"]: phase for phase in told["phases"]}
    for phase in by_name.values():
        assert phase["joules"] is None or "synthetic, nothing was measured" in phase["source"]
        assert phase["joules"] is not None or phase["reason"]
    if by_name["idle"]["joules"] is not None:  # a busy computer may keep us from asking
        assert by_name["idle"]["watts"] == pytest.approx(2.0, rel=0.01)
        assert by_name["idle"]["joules"] == pytest.approx(2.0 * by_name["idle"]["seconds"], rel=0.01)
    assert 0 < told["per_sample"]["infer"]["board_s"] < told["per_sample"]["infer"]["seconds"]
    assert main(["profile", "digits", "--steps", "100", "--idle", "0"]) == 0
    assert "synthetic" in capsys.readouterr().out


def test_a_meter_that_was_made_up_wrongly(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_SIM_POWER", "much")
    code, told = cli(capsys, "digits", "--steps", "100")
    assert code == 8
    assert "'much' is no power in watts" in told["error"]["message"]


def test_telemetry_of_a_board_without_a_meter(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = cli(capsys, "digits", "--steps", "100", "--energy", "telemetry")
    assert code == 0
    assert "tells of no meter" in told["per_sample"]["learn"]["reason"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("digits", "--energy", "wattmeter"), 2, "no meter 'wattmeter'"),
        (("digits", "--energy", "csv:/nowhere.csv"), 3, "Cannot read /nowhere.csv"),
        (("digits", "--energy", "ppk2"), 2, "does not drive a Power Profiler Kit"),
        (("digits", "--energy", "ppk2:/dev/null,volts=3"), 3, "/dev/null is there already"),
        (("nothing",), 3, "neither a recipe nor a run"),
        (("digits", "--port", "replay:x"), 2, "neither time nor energy"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, message: str) -> None:
    found, told = cli(capsys, *args)
    assert found == code
    assert message in told["error"]["message"]
    assert told["error"]["hint"]


def test_the_host_has_no_link(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'edgelearn[torch]'")
    code, told = cli(capsys, "digits", "--board", "host", "--dtype", "f32", "--steps", "64", "--energy", "none")
    assert code == 0
    link = next(phase for phase in told["phases"] if phase["name"] == "link")
    assert link["seconds"] is None and "this computer's clock" in link["reason"]
    assert told["per_sample"]["learn"]["board_s"] > 0
    assert told["ram"]["allocator"]["peak"] is None and told["ram"]["allocator"]["reason"]


# --- what a meter of this computer measures -------------------------------------------------------------------------------------------


class MarkedDevice(Link):
    """A board with a marker pin, or without; it does what its meter's file shows."""

    def __init__(self, has_pin: bool) -> None:
        self.has_pin, self.pin = has_pin, list[int]()

    @property
    def client(self) -> Any:
        return self

    def marker(self, what: int) -> bool:
        self.pin.append(what)
        return self.has_pin


@pytest.mark.parametrize(
    ("options", "has_pin", "pin"), [(",marker=D0", True, [1, 0]), (",marker=D0", False, [1]), ("", True, [])]
)
def test_a_marker_pin_is_high_while_the_board_learns(
    tmp_path: Path, options: str, has_pin: bool, pin: list[int]
) -> None:
    file = tmp_path / "meter.csv"
    file.write_text("time(s),power(W),D0\n1,1,0\n2,1,0\n")
    device = MarkedDevice(has_pin)
    watch = profiling.Watch(External(external.options(f"{file}{options}")), device)
    for phase in ("load", "learn", "infer"):
        with watch.phase(phase):
            assert phase == "learn" or device.pin in ([], pin)
    assert device.pin == pin


class Emulated(Link):
    """A board in QEMU, as far as a meter asks."""

    def __init__(self) -> None:
        self.emulated = True


@pytest.mark.parametrize(
    ("board", "port", "meters", "reason"),
    [
        ("sim", None, ("ina3221", "rapl"), "runs on the CPU"),
        ("sim", "tcp://10.0.0.7:7000", (), "other end of a line"),
        ("nrf52840dk", "/dev/ttyACM0", (), "other end of a line"),
        ("microbit", "qemu", (), "emulator"),
        ("host", "cpu", ("ina3221", "rapl"), "on the CPU"),
        ("linux-pc", "tcp://192.168.1.20:7000", (), "other end of a line"),
    ],
)
def test_meters_measure_what_they_are_built_into(
    board: str, port: str | None, meters: tuple[str, ...], reason: str
) -> None:
    device: Any = None
    place = place_of(device, boards.load(board), port)
    assert tuple(place.meters) == meters
    assert reason in place.otherwise


def test_an_emulator_found_by_default() -> None:
    assert place_of(Emulated(), boards.load("mps2-an386"), None).meters == ()


def test_an_agent_on_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "identify", lambda: boards.load("linux-pc"))
    device: Any = None
    assert "rapl" in place_of(device, boards.load("linux-pc"), "tcp://127.0.0.1:7000").meters
    assert place_of(device, boards.load("jetson-orin-nano"), "tcp://127.0.0.1:7000").meters == ()


# --- estimates ------------------------------------------------------------------------------------------------------------------------


def test_an_estimate_is_called_one_and_names_its_data_sheet() -> None:
    guess = estimate(boards.load("microbit"), OwnTime(2e-3), "/dev/ttyACM0", MEASURED)
    assert guess["kind"] == "estimate"
    assert guess["joules"] == pytest.approx(4.4e-3 * 3.0 * 2e-3)
    assert "nRF51822 product specification" in guess["reference"]


@pytest.mark.parametrize(
    ("board", "own", "port", "costs", "reason"),
    [
        ("nrf52840dk", OwnTime(1e-3), "/dev/ttyACM0", MEASURED, "no active_ua"),
        ("microbit", OwnTime(1e-3), "qemu", {"emulated": True}, "emulator's"),
        ("microbit", OwnTime(1e-3), "tcp://x:1", MEASURED, "emulator's"),
        ("microbit", OwnTime(None, "stopped"), "/dev/ttyACM0", MEASURED, "stopped"),
    ],
)
def test_no_estimate_without_a_figure(board: str, own: OwnTime, port: str, costs: dict[str, Any], reason: str) -> None:
    guess = estimate(boards.load(board), own, port, costs)
    assert guess["joules"] is None
    assert reason in guess["reason"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("supply_mv = 3_000\n", "", "go together"), ('"active_ua, supply_mv: ', '"', "which data sheet")],
)
def test_a_current_needs_its_voltage_and_its_source(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "boards" / "microbit.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        boards.read(tmp_path / "mine.toml")
    assert message in caught.value.message


def test_every_current_has_a_reference() -> None:
    known: list[Board] = [board for board in boards.all_boards() if board.active_ua]
    assert known
    assert all(board.reference("active_ua") for board in known)


# --- on an emulated board -------------------------------------------------------------------------------------------------------------


@pytest.mark.qemu
def test_an_emulated_board_has_times_of_its_emulator_and_no_energy() -> None:
    told = profiling.profile("digits-tiny", "mps2-an386", "qemu", steps=60)
    sample = told["per_sample"]["learn"]
    assert told["emulated"] and sample["board_s"] > 0
    assert "emulator's clock" in sample["board_source"]
    assert sample["joules"] is None and "emulator" in sample["reason"]
    assert sample["estimate"]["joules"] is None
    assert next(phase for phase in told["phases"] if phase["name"] == "link")["seconds"] is None


def with_defines(tmp_path: Path, board: str, *more: str) -> str:
    """A board file of the user's own: that of ``board``, with more ``defines``."""
    text = (Path(__file__).resolve().parents[2] / "boards" / f"{board}.toml").read_text()
    head, found, rest = text.partition("defines = [")
    assert found
    file = tmp_path / "metered.toml"
    file.write_text(head + found + "".join(f'"{define}", ' for define in more) + rest)
    return str(file)


@pytest.mark.qemu
def test_an_image_with_a_meter(tmp_path: Path) -> None:
    """One that is made up, for nothing of an emulator can be measured."""
    board = with_defines(tmp_path, "mps2-an386", "SYNTHETIC_UW=15000")
    told = profiling.profile("digits-tiny", board, "qemu", steps=300, idle_s=1.5)
    assert told["energy"]["meter"] == "telemetry" and "synthetic" in told["energy"]["source"]
    by_name = {phase["name"]: phase for phase in told["phases"]}
    for phase in (by_name[name] for name in ("load", "idle", "learn", "infer")):
        # the guest's clock stops where this computer is busy: then there is a reason
        assert phase["joules"] is None or phase["watts"] == pytest.approx(0.015, rel=0.01)
        assert phase["joules"] is not None or phase["reason"]
    assert "emulator's clock" in told["per_sample"]["infer"]["board_source"]


@pytest.mark.qemu
def test_a_board_whose_meter_does_not_answer_works_without(tmp_path: Path) -> None:
    """QEMU has another chip at the pins of the two-wire interface."""
    wiring = ("INA219", "SHUNT_MOHM=100", "SCL_PIN=0", "SDA_PIN=30", "MARKER_PIN=3")
    told = profiling.profile("digits-tiny", with_defines(tmp_path, "microbit", *wiring), "qemu", steps=30)
    assert told["samples"]["learn"] == 30
    assert "tells of no meter" in told["per_sample"]["learn"]["reason"]


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("defines", "message"),
    [
        (("INA219",), "the shunt of its meter is missing"),
        (("INA219", "INA226", "SHUNT_MOHM=100"), "a board has one meter"),
        (("INA226", "SHUNT_MOHM=100", "INA_AVERAGE=5"), "INA_AVERAGE is a power of two"),
        (("INA226", "SHUNT_MOHM=0"), "SHUNT_MOHM is 1 to 65535"),
        (("INA219", "SHUNT_MOHM=100", "INA_GAIN=4"), "INA_GAIN is 0 to 3"),
    ],
)
def test_a_meter_that_makes_no_sense(tmp_path: Path, defines: tuple[str, ...], message: str) -> None:
    """The port refuses it, in words that the build finds."""
    board, firmware = boards.load(with_defines(tmp_path, "microbit", *defines)), resource("firmware")
    port = firmware / "ports/nrf5x/port.c"
    includes = [f"-I{firmware / folder}" for folder in build.INCLUDES]
    command = [f"{board.prefix}gcc", "-fsyntax-only", *build.flags(board), *includes, str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = next((match for line in done.stderr.splitlines() if (match := build.REFUSED.search(line))), None)
    assert found is not None and message in (found[1] or found[2])


def test_a_clock_that_wraps_is_no_time() -> None:
    job = prepare("digits", "sim", steps=10)
    with Session("sim") as session:
        session.device.put(job, None)
        assert isinstance(session.device, Link)
        stats = session.device.client.stats()
    window = profiling.Window("learn", 0.0, 0.0, profiling.Reading(None, 4300.0, ""))
    assert "wraps" in profiling._board_time(stats, stats, 10, window, MEASURED).reason
    short = replace(window, reading=profiling.Reading(None, 1.0, ""))
    assert "did not advance" in profiling._board_time(stats, stats, 10, short, MEASURED).reason
    late = replace(stats, busy_us=5)
    early = replace(stats, busy_us=(1 << 32) - 5)
    assert profiling._board_time(early, late, 10, short, MEASURED).seconds == pytest.approx(1e-6)


def test_a_run_of_the_host_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'edgelearn[torch]'")
    assert main(["train", "digits", "--board", "host", "--dtype", "f32", "--steps", "64", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["run"]
    with pytest.raises(UsageError, match="no more samples"):
        profiling.profile(run)
