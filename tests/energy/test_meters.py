"""Each meter against what it reads, made up: it says what was used, or why it cannot, and never 0 for unknown."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edgelearn.energy import ina3221, nvml, rapl
from edgelearn.energy.choose import BUILT_IN, Place, choose
from edgelearn.energy.counting import Counter, Register
from edgelearn.energy.meter import Mark, Meter, NoAnswer, Reading, clock_jumped
from edgelearn.energy.sampling import Sampler, Sensor, integrate
from edgelearn.energy.synthetic import Synthetic
from edgelearn.errors import UsageError
from tests.energy.fakes import FakeClock, FakeNvml, write


def unmeasured(reading: Reading, *words: str) -> None:
    """There are no joules, no uncertainty of them, and a reason with these words."""
    assert (reading.joules, reading.sigma, reading.watts, reading.peak_w) == (None, None, None, None)
    for word in words:
        assert word in reading.reason


def window(meter: Meter, clock: FakeClock, seconds: float, every: float | None = None) -> Reading:
    """A window of so many seconds; a sampler takes its samples at marks ``every`` so often."""
    begin = end = meter.mark()
    for _ in range(round(seconds / (every or seconds))):
        clock.sleep(every or seconds)
        end = meter.mark()
    return meter.between(begin, end)


# --- a meter of which everything is known ---------------------------------------------------------------------------------------------


def test_one_watt_for_ten_seconds_is_ten_joules() -> None:
    clock = FakeClock()
    reading = window(Synthetic(lambda t: 1.0, clock=clock, noise_w=0.05), clock, 10.0)
    assert reading.joules == pytest.approx(10.0, rel=0.01)
    assert reading.seconds == pytest.approx(10.0)
    assert reading.watts == pytest.approx(1.0, rel=0.01)
    assert reading.sigma is not None and 0 < reading.sigma < 0.02
    assert (reading.period_s, reading.reason) == (0.001, "")


def test_power_that_changes_is_integrated() -> None:
    clock = FakeClock(0.0)
    reading = window(Synthetic(lambda t: 2 * t, period_s=0.01, clock=clock), clock, 3.0)
    assert reading.joules == pytest.approx(9.0, rel=1e-3)
    assert reading.peak_w == pytest.approx(6.0, rel=0.01)


def test_sigma_is_the_spread_of_repeated_measurements() -> None:
    """Of white noise, where the theory is exact: standard deviation of many windows against what each says of itself."""
    clock = FakeClock()
    readings = [
        window(Synthetic(lambda t: 1.0, 0.01, clock, noise_w=0.2, seed=seed), clock, 2.0) for seed in range(200)
    ]
    spread = float(np.std([r.joules for r in readings if r.joules is not None]))
    assert np.mean([r.sigma for r in readings if r.sigma is not None]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        (lambda n: 1003000 < n < 1003500, "missing for 0.5"),
        (lambda n: n > 1005000, "recorded only 5 s of 10 s"),
        (lambda n: True, "took no sample"),
    ],
)
def test_samples_that_are_missing(dropped: object, words: str) -> None:
    clock = FakeClock()
    unmeasured(window(Synthetic(lambda t: 1.0, clock=clock, dropped=dropped), clock, 10.0), words)  # type: ignore[arg-type]


def test_few_missing_samples_cost_certainty() -> None:
    clock = FakeClock()
    whole = window(Synthetic(lambda t: t % 2, clock=clock), clock, 10.0)
    clock.now = 1000.0
    holed = window(Synthetic(lambda t: t % 2, clock=clock, dropped=lambda n: 1003000 < n < 1003050), clock, 10.0)
    assert holed.joules == pytest.approx(10, rel=0.01)
    assert holed.sigma is not None and whole.sigma is not None and holed.sigma > whole.sigma


def test_a_window_shorter_than_the_period() -> None:
    clock = FakeClock()
    unmeasured(window(Synthetic(lambda t: 1.0, period_s=0.1, clock=clock), clock, 0.05), "0.05 s is shorter", "0.1 s")


def test_values_that_are_no_numbers() -> None:
    clock = FakeClock()
    unmeasured(window(Synthetic(lambda t: float("nan"), clock=clock), clock, 1.0), "no numbers")


def test_a_clock_that_was_set() -> None:
    assert clock_jumped(Mark(0, 100), Mark(10, 110)) == ""
    assert "-3600" in clock_jumped(Mark(0, 5000), Mark(10, 1410))


# --- counters -----------------------------------------------------------------------------------------------------------------------


def counter(values: list[float], range_j: float | None = None, period_s: float = 0.1) -> Reading:
    """What a register says that gives these values, one a second."""
    clock, left = FakeClock(), list(values)
    meter = Counter("c", "c", (Register("c", lambda: left.pop(0), period_s, 1e-3, range_j),), clock=clock)
    begin = meter.mark()
    for _ in values[1:-1]:
        clock.sleep(1.0)
        meter.mark()
    clock.sleep(1.0)
    return meter.between(begin, meter.mark())


def test_a_counter_is_a_difference() -> None:
    reading = counter([100.0, 105.0])
    assert reading.joules == pytest.approx(5.0)
    assert reading.sigma == pytest.approx(5.0 * 0.1 / np.sqrt(6), rel=0.01)


def test_a_counter_that_wraps() -> None:
    assert counter([98.0, 3.0, 99.0, 4.0], range_j=100.0).joules == pytest.approx(5 + 96 + 5)


def test_a_counter_that_stands_still() -> None:
    unmeasured(counter([7.0, 7.0]), "did not advance")


def test_a_counter_that_was_reset() -> None:
    unmeasured(counter([50.0, 2.0]), "went back by 48 J")


# --- RAPL ---------------------------------------------------------------------------------------------------------------------------


def packages(root: Path, *joules: float) -> None:
    for i, value in enumerate(joules):
        zone = f"sys/class/powercap/intel-rapl:{i}"
        write(root, zone, name=f"package-{i}", energy_uj=round(1e6 * value), max_energy_range_uj=262_143_328_850)
        write(root, f"{zone}:0", name="core", energy_uj=10**9, max_energy_range_uj=10**12)
    psys = f"sys/class/powercap/intel-rapl:{len(joules)}"
    write(root, psys, name="psys", energy_uj=5 * 10**9, max_energy_range_uj=10**12)


def test_rapl_adds_packages_and_nothing_that_contains_another(tmp_path: Path) -> None:
    clock = FakeClock()
    packages(tmp_path, 10.0, 20.0)
    meter = rapl.open_meter(tmp_path, clock)
    begin = meter.mark()
    packages(tmp_path, 13.0, 24.0)
    write(tmp_path, "sys/class/powercap/intel-rapl:0:0", energy_uj=2 * 10**9)
    write(tmp_path, "sys/class/powercap/intel-rapl:2", energy_uj=9 * 10**9)
    clock.sleep(1.0)
    reading = meter.between(begin, meter.mark())
    meter.close()
    assert reading.joules == pytest.approx(7.0)
    assert "package-0 + package-1" in reading.source


def test_rapl_wraps_at_its_range(tmp_path: Path) -> None:
    clock = FakeClock()
    packages(tmp_path, 262_143.0)
    meter = rapl.open_meter(tmp_path, clock)
    begin = meter.mark()
    packages(tmp_path, 4.0)
    clock.sleep(1.0)
    assert meter.between(begin, meter.mark()).joules == pytest.approx(4.0 + 262_143.32885 - 262_143.0)
    meter.close()


def test_rapl_that_is_not_there_and_that_nobody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswer, match="no /sys/class/powercap"):
        rapl.open_meter(tmp_path)
    packages(tmp_path, 1.0)
    read = Path.read_text

    def refuse(self: Path, *args: str) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(self, *args)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NoAnswer, match=r"only root may read .* sudo chmod"):
        rapl.open_meter(tmp_path)


def test_rapl_that_goes_away(tmp_path: Path) -> None:
    clock = FakeClock()
    packages(tmp_path, 1.0)
    meter = rapl.open_meter(tmp_path, clock)
    begin = meter.mark()
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    clock.sleep(1.0)
    unmeasured(meter.between(begin, meter.mark()), "could not be read")
    meter.close()


# --- INA3221 ------------------------------------------------------------------------------------------------------------------------


def orin(root: Path, milliamps: int = 1000) -> None:
    """An Orin Nano's: VDD_IN feeds the other two."""
    rails = {
        "in1_label": "VDD_IN",
        "in2_label": "VDD_CPU_GPU_CV",
        "in3_label": "VDD_SOC",
        "in7_label": "sum of shunt voltages",
    }
    values = {
        "in1_input": 5000,
        "curr1_input": milliamps,
        "in2_input": 5000,
        "curr2_input": 400,
        "in3_input": 5000,
        "curr3_input": 300,
    }
    write(root, "sys/class/hwmon/hwmon0", name="cpu_thermal", temp1_input=40000)
    write(root, "sys/class/hwmon/hwmon1", name="ina3221", update_interval=20, shunt1_resistor=5000, **rails, **values)


def test_ina3221_measures_the_total_rail_alone(tmp_path: Path) -> None:
    orin(tmp_path)
    clock = FakeClock()
    meter = ina3221.open_meter("", tmp_path, clock)
    reading = window(meter, clock, 2.0, every=0.02)
    meter.close()
    assert reading.watts == pytest.approx(5.0), "not 5 + 2 + 1.5"
    assert "VDD_IN: what feeds the whole board" in reading.source
    assert reading.period_s == 0.02
    step_w = 40e-6 / 5e-3 * 5.0  # of the shunt voltage, at 5 V
    assert reading.sigma == pytest.approx(step_w * reading.seconds / np.sqrt(12), rel=0.01)


def test_ina3221_by_name(tmp_path: Path) -> None:
    orin(tmp_path)
    meter = ina3221.open_meter("VDD_SOC", tmp_path)
    assert "one rail" in meter.source
    meter.close()
    with pytest.raises(NoAnswer, match="no rail VDD_X; there are VDD_IN, VDD_CPU_GPU_CV, VDD_SOC"):
        ina3221.open_meter("VDD_X", tmp_path)


def test_ina3221_without_a_total(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/hwmon/hwmon0", name="ina3221", in1_label="VDD_GPU_SOC", in1_input=5000, curr1_input=100)
    with pytest.raises(NoAnswer, match=r"whole board; there are VDD_GPU_SOC: name one, as in ina3221:VDD_GPU_SOC"):
        ina3221.open_meter("", tmp_path)
    with pytest.raises(NoAnswer, match="no ina3221"):
        ina3221.open_meter("", tmp_path / "elsewhere")


def test_ina238_has_its_label_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/hwmon/hwmon0", name="ina238", label="VIN", in1_input=19000, curr1_input=500)
    (rail,) = ina3221.rails(tmp_path)
    assert (rail.label, rail.watts()) == ("VIN", 9.5)


def test_ina3221_whose_rail_is_switched_off(tmp_path: Path) -> None:
    orin(tmp_path)
    clock = FakeClock()
    meter = ina3221.open_meter("", tmp_path, clock)
    begin = meter.mark()
    (tmp_path / "sys/class/hwmon/hwmon1/curr1_input").write_text("")
    clock.sleep(0.1)
    end = meter.mark()
    meter.close()
    unmeasured(meter.between(begin, end), "could not be read")


def test_a_sampler_takes_samples_by_itself(tmp_path: Path) -> None:
    orin(tmp_path)
    meter = ina3221.open_meter("", tmp_path)
    deadline = time.monotonic() + 10
    while len(meter._taken) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    meter.close()
    assert len(meter._taken) >= 5


# --- NVML ---------------------------------------------------------------------------------------------------------------------------


def test_nvml_counts_energy_and_finds_its_period() -> None:
    clock = FakeClock()
    fake = FakeNvml(clock, lambda t: 50.0)
    meter = nvml.open_meter(library=fake, clock=clock, sleep=clock.sleep)
    assert isinstance(meter, Counter)
    reading = window(meter, clock, 10.0)
    assert reading.joules == pytest.approx(500.0, rel=0.01)
    assert reading.period_s == pytest.approx(0.02, rel=0.1)
    assert "energy counter of GPU 0 (Fake 9000)" in reading.source
    unmeasured(window(meter, clock, 0.01), "shorter than the meter's period")
    fake.frozen = True
    unmeasured(window(meter, clock, 1.0), "did not advance")
    fake.offset_mj = -10_000
    unmeasured(window(meter, clock, 1.0), "went back")
    meter.close()
    assert fake.starts == 0


@pytest.mark.parametrize("why", ["refused", "frozen"])
def test_nvml_integrates_power_where_the_counter_does_not_work(why: str) -> None:
    clock = FakeClock()
    fake = FakeNvml(clock, lambda t: 20.0, refused=("energy",) if why == "refused" else ())
    fake.frozen = True
    meter = nvml.open_meter(library=fake, clock=clock, sleep=clock.sleep)
    assert isinstance(meter, Sampler)
    reading = window(meter, clock, 3.0, every=0.05)
    unmeasured(window(meter, clock, 0.5, every=0.05), "0.5 s is shorter")
    meter.close()
    assert reading.watts == pytest.approx(20.0)
    assert reading.period_s == 1.0
    assert ("Not Supported" if why == "refused" else "stood still") in reading.source


def test_nvml_on_a_jetson_is_no_zero() -> None:
    fake = FakeNvml(FakeClock(), lambda t: 0.0, refused=("energy", "power"))
    with pytest.raises(NoAnswer, match=r"neither energy nor power .*Not Supported"):
        nvml.open_meter(library=fake, clock=fake.clock, sleep=fake.clock.sleep)
    assert fake.starts == 0


@pytest.mark.parametrize("device", ["7", "x"])
def test_nvml_without_that_gpu(device: str) -> None:
    fake = FakeNvml(FakeClock(), lambda t: 1.0)
    with pytest.raises(NoAnswer, match=f"no GPU {device}"):
        nvml.open_meter(device, library=fake, clock=fake.clock, sleep=fake.clock.sleep)
    assert fake.starts == 0


def test_nvml_here() -> None:
    """On a computer with a GPU it measures; elsewhere it says why it does not."""
    meter, tried = choose("nvml", Place(("nvml",), ""))
    begin = meter.mark()
    time.sleep(1.2 if not tried[0].reason else 0)
    end = meter.mark()
    meter.close()
    reading = meter.between(begin, end)
    if tried[0].reason:
        unmeasured(reading, tried[0].reason)
    else:
        assert reading.joules is not None and reading.joules > 0


# --- which meter --------------------------------------------------------------------------------------------------------------------


def test_auto_takes_what_answers_and_says_what_it_tried(tmp_path: Path) -> None:
    packages(tmp_path, 1.0)
    meter, tried = choose("auto", Place(("ina3221", "rapl"), "there is no GPU", root=tmp_path))
    meter.close()
    assert meter.name == "rapl"
    assert [(t.meter, bool(t.reason)) for t in tried] == [("ina3221", True), ("rapl", False)]


def test_auto_with_no_answer_has_every_reason(tmp_path: Path) -> None:
    meter, tried = choose("auto", Place(("ina3221", "rapl"), "there is no GPU", root=tmp_path))
    assert {t.meter for t in tried} == set(BUILT_IN)
    reading = meter.between(meter.mark(), meter.mark())
    unmeasured(reading, "ina3221: ", "rapl: ", "nvml: there is no GPU")


def test_a_meter_of_this_computer_does_not_measure_another(tmp_path: Path) -> None:
    packages(tmp_path, 1.0)
    meter, _ = choose("rapl", Place((), "the board is far away", root=tmp_path))
    unmeasured(meter.between(meter.mark(), meter.mark()), "far away")


@pytest.mark.parametrize("name", ["wattmeter", "rapl:0", "csv", "csv:"])
def test_unknown_meters(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(name, Place(BUILT_IN, ""))
    assert caught.value.hint


def test_none_is_asked_for() -> None:
    meter, tried = choose("none", Place(BUILT_IN, ""))
    assert tried == ()
    unmeasured(meter.between(meter.mark(), meter.mark()), "no meter was asked for")


def test_two_samples_are_needed() -> None:
    unmeasured(integrate(Sensor("s", 0.5), [0.0, 0.5, 1.2], [1.0, 1.0, 1.0], 0.1, 1.0), "fewer than two")
