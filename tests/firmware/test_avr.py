"""AVR: the images of the Uno and the Mega, what they need, and that they learn what every other board learns."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from edgelearn import avr, boards, images
from edgelearn.build import Image
from edgelearn.errors import ConfigError, DoesNotFitError, UsageError, WrongBoardError
from edgelearn.job import Job, image_of, prepare
from edgelearn.session import Session, connect
from edgelearn.stackbound import StackError

UNO, MEGA = "arduino-uno", "mega2560"
NEEDS_AVR = pytest.mark.qemu("avr-")
RAM_AT = 0x800000  # where the linker has it: what is below lies in flash

LISTING = """
00000100 <main>:
 100:\t0e 94 00 01 \tcall\t0x200\t; 0x200 <run_ops>
 104:\t08 95       \tret

00000200 <run_ops>:
 200:\tcf 93       \tpush\tr28
 202:\tdf 93       \tpush\tr29
 204:\tc8 56       \tsubi\tr28, 0x68\t; 104
 206:\td1 40       \tsbci\tr29, 0x01\t; 1
 208:\t09 95       \ticall
 20a:\tc8 59       \tsubi\tr28, 0x98\t; 152
 20c:\tde 4f       \tsbci\tr29, 0xFE\t; 254
 20e:\t08 95       \tret

000002fa <el_k_argmax>:
 2fa:\t1f 92       \tpush\tr1
 2fe:\t97 ff       \tsbrs\tr25, 7
 300:\t08 95       \tret

00000302 <hal_rx>:
 302:\t1f 92       \tpush\tr1
 304:\t1f 92       \tpush\tr1

00000320 <__vector_18>:
 320:\t1f 92       \tpush\tr1
 322:\t18 95       \treti
"""


def test_the_bound_is_the_deepest_way_and_one_interrupt() -> None:
    ways = 2 + (2 + 2 + 0x168) + (2 + 1)  # main, run_ops with its frame of 0x168, the only kernel
    assert avr.stack_bound(LISTING, long_calls=False) == ways + (2 + 1)
    assert avr.stack_bound(LISTING, long_calls=True) == ways + (2 + 1) + 4  # four calls deep


def test_recursion_has_no_bound() -> None:
    with pytest.raises(StackError, match="Recursion"):
        avr.stack_bound(LISTING.replace("push\tr28", "call\t0x100\t; 0x100 <main>"), long_calls=False)


def test_code_is_moved_until_nothing_that_skips_ends_a_page() -> None:
    assert avr.pad_for_emulator(LISTING) == 2
    assert avr.pad_for_emulator(LISTING.replace("2fe:", "2f8:")) == 0


def test_an_image_without_a_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="compiled in"):
        images.build(boards.load(UNO))
    assert images.ready(boards.load(UNO)) is None


def test_what_does_not_fit_2_kb_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match="arduino-uno has 2,048"):
        prepare("digits", UNO)


@pytest.fixture(scope="module")
def tiny() -> Job:
    return prepare("digits-tiny", UNO, steps=60)


@pytest.fixture(scope="module")
def image(tiny: Job) -> Image:
    return image_of(tiny.board, tiny.module)


@NEEDS_AVR
def test_2_kb_hold_state_arena_link_and_stack(tiny: Job, image: Image) -> None:
    board = tiny.board
    assert image.text + image.data <= board.flash
    assert image.data + image.bss <= board.link
    assert 0 < image.stack_bound <= image.stack == board.stack
    assert -(-tiny.state_bytes // 8) * 8 + tiny.arena_bytes <= image.pool_bytes
    assert image.data + image.bss + image.pool_bytes + image.stack <= board.ram


@NEEDS_AVR
def test_plan_and_tables_stay_in_flash(image: Image) -> None:
    listed = subprocess.run(["avr-nm", image.path], capture_output=True, text=True, check=True).stdout
    at = {name: int(address, 16) for address, name in re.findall(r"^([0-9a-f]{8}) \w (\S+)$", listed, re.MULTILINE)}
    for name in ("el_app_plan", "el_kernel_table", "el_signatures"):
        assert at[name] < 0x10000, "a pointer of 16 bits must reach it"
    assert all(at[name] >= RAM_AT for name in ("link", "el", "ring"))


@NEEDS_AVR
@pytest.mark.parametrize("board", [UNO, MEGA])
def test_nothing_in_an_image_hangs_the_emulator(board: str, image: Image) -> None:
    built = image if board == UNO else images.build(boards.load(board))
    code = subprocess.run(["avr-objdump", "-d", built.path], capture_output=True, text=True, check=True).stdout
    assert avr.pad_for_emulator(code) == 0
    for skip, skipped in re.findall(r"\t(sbr[sc]|sbi[sc]|cpse)\t.*\n.*\t(ret|reti|jmp|ijmp|call|icall)\b", code):
        raise AssertionError(f"QEMU 7.2 never returns from {skip} before {skipped}")


@NEEDS_AVR
def test_another_plan_is_refused(tiny: Job) -> None:
    with Session(UNO, "qemu") as session:
        with pytest.raises(UsageError, match="has not booted"):
            _ = session.client
        session.device.put(tiny, None)
        with pytest.raises(WrongBoardError, match="compiled in"):
            session.client.send_plan(prepare("digits-tiny", UNO, steps=120).plan)
        assert session.client.send_plan(tiny.plan) is False  # it runs this one
        with pytest.raises(ConfigError, match="no non-volatile memory"):
            session.client.save()


@NEEDS_AVR
@pytest.mark.slow
@pytest.mark.parametrize("rule", ["forward-forward", "noprop", "cascaded-forward"])
def test_rules_learn_the_same_on_16_bit_integers(rule: str, tmp_path: Path) -> None:
    recipe = tmp_path / "rule.toml"
    recipe.write_text(
        f'[model]\ninput = [8, 8]\nlayers = [8, 8]\nclasses = 10\n[rule]\nname = "{rule}"\n'
        '[data]\nname = "digits"\n[train]\ndtype = "int8"\nepochs = 1\n'
    )
    hashes = []
    for board, port in (("sim", "sim"), (MEGA, "qemu")):
        with connect(board, port) as session:
            hashes.append(session.train(prepare(recipe, board, steps=80)).data["state_sha256"])
    assert hashes[0] == hashes[1]
