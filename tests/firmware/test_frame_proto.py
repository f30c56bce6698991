"""The board's end of the link, frame by frame: docs/link.md is the specification, messages.py the other party."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.link import messages
from tests.firmware.host import FIRMWARE, LINK, Board, compile_host, encode, fake_plan

ERR = {"VERSION": -3, "CRC": -4, "SIZE": -5, "MEMORY": -7, "LABEL": -11, "PHASE": -12, "STEP": -13, "NO_NV": -14}
ERR |= {"UNKNOWN": -16, "PLAN_FIXED": -17}
PLAN = fake_plan()
HELLO = messages.pack("hello", 1, proto=messages.PROTOCOL, nonce=40)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("link") / "link.so"
    return compile_host(out, LINK, "-shared", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover")


@pytest.fixture
def board(library: Path) -> Board:
    return Board(library)


@pytest.fixture
def ready(board: Board) -> Board:
    board.deploy(PLAN)
    return board


def sample(board: Board, step: int, off: int = 0, data: bytes = bytes(16), label: int = 3) -> list[messages.Message]:
    return board.send(encode(messages.pack("sample", step, data, step=step, off=off, label=label)))


def learn(board: Board, step: int, data: bytes = bytes(16)) -> messages.Message:
    (ack,) = sample(board, step, data=data)
    return ack


def guesses(ack: messages.Message) -> list[int]:
    return list(struct.unpack(f"<{len(ack.data) // 2}H", ack.data))


# --- frames


def test_the_generated_header_is_fresh() -> None:
    subprocess.run([sys.executable, str(FIRMWARE / "gen/generate.py"), "--check"], check=True)


@given(data=st.binary(min_size=16, max_size=16), seed=st.integers(0, 2**32 - 1))
def test_any_bytes_pass_both_ways(library: Path, data: bytes, seed: int) -> None:
    board = Board(library)
    board.deploy(fake_plan(state=300), seed)
    board.ask("state_write", data * 18, off=12)
    assert board.ask("state_read", off=12, len=288).data == data * 18


@pytest.mark.parametrize("n", [252, 253, 254, 255, 256, 300])
@pytest.mark.parametrize("fill", [0, 1, 255])
def test_full_cobs_blocks(library: Path, n: int, fill: int) -> None:
    board = Board(library)
    board.deploy(fake_plan(state=400))
    assert board.ask("state_write", bytes([fill]) * n, off=0)["code"] == 0
    assert board.ask("state_read", off=0, len=n).data == bytes([fill]) * n


def test_bytes_arrive_one_by_one(board: Board) -> None:
    answers = [reply for byte in encode(HELLO) for reply in board.send(bytes([byte]))]
    assert [reply.name for reply in answers] == ["hello_r"]


def test_damaged_frames_are_dropped_and_counted(board: Board) -> None:
    good = encode(HELLO)
    for at in range(len(good) - 1):
        assert board.send(good[:at] + bytes([good[at] ^ 0x41 or 1]) + good[at + 1 :]) == []
    assert len(board.send(good)) == 1
    assert board.ask("stats")["bad_frames"] == len(good) - 1


def test_every_one_bit_error_is_noticed(board: Board) -> None:
    good = encode(HELLO)
    for bit in range(8 * len(good)):
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << bit % 8
        assert board.send(bytes(wrong) + b"\0") == []


def test_noise_costs_at_most_one_frame(board: Board) -> None:
    noise = random.Random(1)
    for _ in range(300):
        board.send(noise.randbytes(noise.randrange(600)))
        board.send(b"\0")
        assert [reply.name for reply in board.send(encode(HELLO))] == ["hello_r"]


def test_zeros_between_frames_are_no_damage(board: Board) -> None:
    assert len(board.send(b"\0\0" + encode(HELLO) + b"\0\0\0")) == 1
    assert board.ask("stats")["bad_frames"] == 0


def test_a_frame_that_is_too_long_is_dropped(board: Board) -> None:
    frame = messages.pack("state_write", 1, bytes(messages.MAX_FRAME), off=0)
    assert board.send(encode(frame)) == []
    assert len(board.send(encode(HELLO))) == 1


def test_answers_that_end_in_a_zero_are_whole(ready: Board) -> None:
    """The last byte of a CRC may be one: then a block of no bytes ends the frame."""
    zeros = 0
    for number in range(1500):
        assert ready.ask("state_write", struct.pack("<I", number), off=8)["code"] == 0
        answer = ready.ask("state_read", off=8, len=4)
        assert answer.data == struct.pack("<I", number)
        frame = messages.pack("state_data", answer.seq, answer.data, off=8, step=answer["step"])
        zeros += zlib.crc32(frame) >> 24 == 0
    assert zeros > 0


@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_a_frame_is_as_long_as_the_buffer_and_no_longer(library: Path, more: int) -> None:
    board = Board(library)
    board.deploy(fake_plan(state=400))
    room = messages.MAX_FRAME - len(messages.pack("state_write", 1, b"", off=0))
    frame = messages.pack("state_write", 1, b"\xa5" * (room + more), off=0)
    assert len(frame) == messages.MAX_FRAME + more
    assert [reply["code"] for reply in board.send(encode(frame))] == ([] if more > 0 else [0])
    assert board.ask("stats")["bad_frames"] == (more > 0)


# --- requests


def test_hello_tells_who_and_takes_the_first_nonce(board: Board) -> None:
    first = board.ask("hello", proto=messages.PROTOCOL, nonce=40)
    assert (first["boot_id"], first["phase"], first["rx_buffer"], first["max_frame"]) == (41, 0, 512, 371)
    assert first.fields["board"] == b"fake".ljust(16, b"\0")
    assert board.ask("hello", proto=messages.PROTOCOL, nonce=99)["boot_id"] == 41


def test_the_plan_comes_in_parts_and_repeats_do_no_harm(board: Board) -> None:
    (hash_,) = struct.unpack("<I", PLAN[-4:])
    assert board.ask("plan_begin", size=24, hash=hash_).fields == {"code": 0, "detail": 0}
    assert board.ask("plan_data", PLAN[:10], off=0)["detail"] == 10
    assert board.ask("plan_data", PLAN[:10], off=0).fields == {"code": 0, "detail": 10}
    assert board.ask("plan_data", PLAN[20:], off=20)["code"] == ERR["SIZE"]
    assert board.ask("plan_end")["code"] == ERR["SIZE"]
    assert board.ask("plan_data", PLAN[10:] + b"x", off=10)["code"] == ERR["SIZE"]
    assert board.ask("plan_data", PLAN[10:], off=10)["detail"] == 24
    assert [board.ask("plan_end")["code"] for _ in range(2)] == [0, 0]
    assert board.ask("hello", proto=messages.PROTOCOL, nonce=1).fields["plan_hash"] == hash_


def test_the_running_plan_is_kept(ready: Board) -> None:
    learn(ready, 0)
    assert ready.ask("plan_begin", size=24, hash=struct.unpack("<I", PLAN[-4:])[0]).fields == {"code": 0, "detail": 1}
    assert ready.ask("plan_end")["code"] == 0
    assert ready.ask("results")["step"] == 1


def test_a_plan_that_is_not_the_announced_one_is_refused(board: Board) -> None:
    board.ask("plan_begin", size=24, hash=1)
    board.ask("plan_data", PLAN, off=0)
    assert [board.ask("plan_end")["code"] for _ in range(2)] == [ERR["CRC"]] * 2
    assert board.ask("init", seed=1)["code"] == ERR["PHASE"]


def test_a_plan_too_large_changes_nothing(ready: Board) -> None:
    assert ready.ask("plan_begin", size=2**32 - 1, hash=1)["code"] == ERR["MEMORY"]
    assert learn(ready, 0)["step"] == 1


def test_a_compiled_in_plan_refuses_others(library: Path) -> None:
    board = Board(library, PLAN)
    assert board.ask("init", seed=1)["code"] == 0
    assert board.ask("plan_begin", size=24, hash=1)["code"] == ERR["PLAN_FIXED"]
    assert board.ask("plan_begin", size=24, hash=struct.unpack("<I", PLAN[-4:])[0])["detail"] == 1
    assert board.ask("stats")["plan"] == 0


@pytest.mark.parametrize("request_", [m for m in messages.MESSAGES if m.sender == "host"], ids=lambda m: m.name)
def test_every_request_is_answered_before_there_is_a_plan(board: Board, request_: messages.MessageType) -> None:
    fields = {name: messages.PROTOCOL if name == "proto" else 0 for name, _ in request_.fields}
    reply = board.ask(request_.name, **fields)
    served = {"hello", "stats", "plan_begin"}
    assert request_.name in served or reply["code"] == ERR["PHASE"]


@pytest.mark.parametrize("request_", [m for m in messages.MESSAGES if m.sender == "host"], ids=lambda m: m.name)
def test_short_bodies_and_unknown_tlvs(ready: Board, request_: messages.MessageType) -> None:
    fields = {name: messages.PROTOCOL if name == "proto" else 0 for name, _ in request_.fields}
    whole = messages.pack(request_.name, 1, b"", (), **fields)
    if request_.fields:
        cut = whole[:2] + struct.pack("<H", len(whole) - 5) + whole[4:-1]
        assert ready.send(encode(cut))[0].fields["code"] == ERR["SIZE"]
    if request_.tail == "tlv":
        required = messages.pack(request_.name, 1, b"", ((0x81, b"?"),), **fields)
        assert ready.send(encode(required))[0].fields["code"] == ERR["VERSION"]
        optional = messages.pack(request_.name, 1, b"", ((0x01, b"?"), (2, b"")), **fields)
        assert ready.send(encode(optional))[0].fields.get("code") not in (ERR["VERSION"], ERR["SIZE"])


def test_unknown_messages_are_refused_and_answers_are_not_answered(board: Board) -> None:
    (reply,) = board.send(encode(struct.pack("<BBH", 0x7E, 9, 0)))
    assert (reply.seq, reply["code"]) == (9, ERR["UNKNOWN"])
    assert board.send(encode(messages.pack("status", 1, code=0, detail=0))) == []


# --- samples


def test_a_sample_is_learnt_once(ready: Board) -> None:
    assert learn(ready, 0)["step"] == 1
    again = learn(ready, 0)
    assert (again["code"], again["step"], again["off"]) == (ERR["STEP"], 1, 0)
    assert learn(ready, 5)["code"] == ERR["STEP"]
    assert ready.ask("stats")["samples"] == 1


def test_parts_are_learnt_in_order_only(ready: Board) -> None:
    data = bytes(range(16))
    assert sample(ready, 0, 0, data[:6]) == []
    (gap,) = sample(ready, 0, 12, data[12:])
    assert (gap["code"], gap["step"], gap["off"]) == (ERR["STEP"], 0, 6)
    assert sample(ready, 0, 6, data[6:12]) == []
    (done,) = sample(ready, 0, 12, data[12:])
    assert (done["code"], done["step"], done["off"]) == (0, 1, 0)
    state = ready.ask("state_read", off=0, len=12).data
    assert struct.unpack("<I", state[8:])[0] == zlib.crc32(data) ^ 3


def test_off_zero_restarts_and_too_much_is_refused(ready: Board) -> None:
    assert sample(ready, 0, 0, bytes(10)) == []
    assert sample(ready, 0, 0, bytes(10)) == []
    assert sample(ready, 0, 10, bytes(7))[0]["code"] == ERR["SIZE"]
    assert sample(ready, 0, 10, bytes(6))[0]["code"] == ERR["STEP"]
    assert learn(ready, 0)["code"] == 0


@pytest.mark.parametrize("other", ["stats", "state_read", "infer"])
def test_whatever_uses_the_arena_drops_half_a_sample(ready: Board, other: str) -> None:
    sample(ready, 0, 0, bytes(10))
    requests = {"stats": {}, "state_read": {"off": 0, "len": 4}, "infer": {"id": 1, "off": 0}}
    ready.ask(other, bytes(16) if other == "infer" else b"", **requests[other])
    assert sample(ready, 0, 10, bytes(6))[0]["code"] == ERR["STEP"]


def test_asking_for_results_keeps_half_a_sample(ready: Board) -> None:
    sample(ready, 0, 0, bytes(10))
    assert ready.ask("results")["off"] == 10
    assert sample(ready, 0, 10, bytes(6))[0]["step"] == 1


def test_a_wrong_label_is_refused_for_good(ready: Board) -> None:
    (ack,) = sample(ready, 0, label=10)
    assert (ack["code"], ack["step"]) == (ERR["LABEL"], 0)


def test_the_last_eight_predictions_ride_on_every_ack(ready: Board) -> None:
    for step in range(11):
        ack = learn(ready, step, bytes([step]) * 16)
        assert guesses(ack) == [s % 10 for s in range(max(0, step - 7), step + 1)]
    assert guesses(ready.ask("results")) == [s % 10 for s in range(3, 11)]


def test_inference_in_parts(ready: Board) -> None:
    assert ready.send(encode(messages.pack("infer", 1, b"\x07" + bytes(9), id=4, off=0))) == []
    lost = ready.ask("infer", bytes(6), id=5, off=10)
    assert (lost["code"], lost["id"]) == (ERR["STEP"], 5)
    done = ready.ask("infer", bytes(6), id=4, off=10)
    assert (done["code"], done["label"], done["id"]) == (0, 7, 4)


# --- state


def test_state_goes_out_and_comes_back(ready: Board) -> None:
    for step in range(3):
        learn(ready, step)
    state = ready.ask("state_read", off=0, len=1000).data
    assert len(state) == 32
    ready.ask("init", seed=1)
    assert ready.ask("state_write", state[:8], off=0)["code"] == 0
    assert learn(ready, 0)["code"] == ERR["PHASE"]
    assert ready.ask("state_done", crc=zlib.crc32(state))["code"] == ERR["CRC"]
    assert ready.ask("state_write", state[8:], off=8)["code"] == 0
    assert [ready.ask("state_done", crc=zlib.crc32(state))["detail"] for _ in range(2)] == [3, 3]
    assert guesses(ready.ask("results")) == []
    assert guesses(learn(ready, 3)) == [0]


@pytest.mark.parametrize(("off", "n"), [(33, 0), (32, 1), (2**32 - 1, 2), (0, 33)])
def test_nothing_is_written_beside_the_state(ready: Board, off: int, n: int) -> None:
    assert ready.ask("state_write", bytes(n), off=off)["code"] == ERR["SIZE"]
    assert learn(ready, 0)["code"] == 0


def test_no_memory_to_save_to(ready: Board) -> None:
    assert ready.ask("save")["code"] == ready.ask("load")["code"] == ERR["NO_NV"]
