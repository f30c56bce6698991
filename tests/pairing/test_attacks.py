"""R21: who has no key, another one, an old session or an old frame changes nothing, ten thousand times."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn import state
from edgelearn.errors import NotAuthorisedError
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, prepare
from edgelearn.link.frame import Decoder
from edgelearn.link.messages import MESSAGES, pack
from edgelearn.pairing import keys
from edgelearn.pairing.session import Session, agree
from tests.pairing.board import ENTROPY, Board, connect

LOCKED, SIGNATURE, ROLLBACK = -20, -21, -22
ATTACKS = 10_000
OPEN = ("hello", "stats", "results", "pair")
ORDERS = [m for m in MESSAGES if m.sender == "host" and m.name not in OPEN]


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare("digits-tiny", "sim", steps=64)


def deployed(board: Board, key: keys.Key, job: Job) -> Session:
    """The board has its plan and has learnt a little; returns the owner's session."""
    client = connect(board, key)
    client.send_plan(job.plan)
    client.init(1)
    client.learn(lambda step: (job.x_train[step].tobytes(), int(job.data.y_train[step])), 0, 8, lambda *_: None)
    session = client._pairing._session
    assert session is not None
    return session


def order(rng: random.Random, seq: int, job: Job) -> bytes:
    """One that the board would obey, or a random one."""
    kind = rng.choice(ORDERS)
    fields = {name: rng.randrange(256 ** {"B": 1, "H": 2, "I": 4}[letter]) for name, letter in kind.fields}
    likely: dict[str, dict[str, int]] = {
        "sample": {"step": 8, "off": 0, "label": 3}, "state_write": {"off": 0}, "infer": {"id": 1, "off": 0},
        "state_read": {"off": 0, "len": 8}, "plan_begin": {"size": len(job.plan)},
    }  # fmt: skip
    data = job.x_train[0].tobytes() if kind.tail == "data" else b""
    return pack(kind.name, seq, data, (), **fields | likely.get(kind.name, {}))


def frames(stream: list[bytes]) -> list[bytes]:
    return Decoder().feed(b"".join(stream))


def test_nobody_else_writes(board: Board, key: keys.Key, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    first = deployed(board, key, job)
    board.boot(key)  # the session before the restart, too, is one that nothing of may be taken
    session = deployed(board, key, job)
    recorded = [frame for frame in frames(board.sent) if frame[0] == 0x11]
    rng = random.Random(21)
    other = Session(rng.randbytes(32))

    def unpaired(seq: int) -> bytes:
        return order(rng, seq, job)

    def wrong_key(seq: int) -> bytes:
        return other.seal(pack, order(rng, seq, job))

    def replayed(seq: int) -> bytes:
        return rng.choice(recorded)

    def ended_session(seq: int) -> bytes:
        return first.seal(pack, order(rng, seq, job))

    def old_counter(seq: int) -> bytes:
        return Session(session.key, rng.randrange(session.counter)).seal(pack, order(rng, seq, job))

    def cut_tag(seq: int) -> bytes:
        sealed = Session(session.key, session.counter).seal(pack, order(rng, seq, job))
        keep = rng.randrange(16)
        cut = sealed[: 8 + keep] + bytes(16 - keep) + sealed[24:]
        return cut if cut != sealed else short_tag(seq)  # a tag may end in zeros: then this one is the owner's

    def short_tag(seq: int) -> bytes:
        body = Session(session.key, session.counter).seal(pack, order(rng, seq, job))[4:]
        cut = body[: 4 + rng.randrange(16)] + body[20:]
        return bytes((0x11, seq)) + len(cut).to_bytes(2, "little") + cut

    def flipped(seq: int) -> bytes:
        sealed = bytearray(Session(session.key, session.counter).seal(pack, order(rng, seq, job)))
        bit = rng.randrange(32, 8 * len(sealed))
        sealed[bit // 8] ^= 1 << bit % 8
        return bytes(sealed)

    ways: list[Callable[[int], bytes]] = [
        unpaired, wrong_key, replayed, ended_session, old_counter, cut_tag, short_tag, flipped,
    ]  # fmt: skip
    before, accepted, tried = board.fingerprint, 0, Counter[str]()
    for i in range(ATTACKS):
        way = ways[i % len(ways)]
        answers = board.ask(way(i & 0xFF))
        tried[way.__name__] += 1
        accepted += board.fingerprint != before or any(a.fields.get("code") == 0 or a.name != "status" for a in answers)
    with capsys.disabled():
        print(f"\nR21: {accepted} of {ATTACKS:,} accepted: {', '.join(f'{n:,} {k}' for k, n in tried.items())}")  # noqa: T201
    assert accepted == 0
    good = session.seal(pack, pack("init", 1, seed=7))  # the owner's session has outlived them all
    assert [a["code"] for a in board.ask(good)] == [0]
    assert board.fingerprint != before


def test_telemetry_stays_open(board: Board, key: keys.Key, job: Job) -> None:
    deployed(board, key, job)
    stranger = connect(board, None)
    assert stranger.hello.paired is not None
    assert (stranger.hello.paired.key, stranger.hello.step) == (key.id, 8)
    assert stranger.stats().samples == 8
    with pytest.raises(NotAuthorisedError, match=key.id):
        stranger.marker(1)
    with pytest.raises(NotAuthorisedError, match=key.id):
        stranger.init(1)
    with pytest.raises(NotAuthorisedError, match=key.id):
        stranger.send_plan(job.plan)


def test_what_is_learnt_is_what_an_open_board_learns(board: Board, key: keys.Key, job: Job) -> None:
    deployed(board, key, job)
    twin = Interpreter(job.module, 1)
    for step in range(8):
        twin.learn(job.x_train[step], int(job.data.y_train[step]))
    client = connect(board, key)
    assert state.decode(job.module, client.read_state(job.state_bytes)).sha256(job.module) == twin.sha256()


def test_another_offer_does_not_end_a_session(board: Board, key: keys.Key, job: Job) -> None:
    session = deployed(board, key, job)
    for i in range(300):
        (reply,) = board.ask(pack("pair", i & 0xFF, nonce=bytes((i & 0xFF, i >> 8)) * 8))
        assert reply.name == "pair_r"
    assert [a["code"] for a in board.ask(session.seal(pack, pack("init", 1, seed=7)))] == [0]


def test_who_has_the_key_takes_over_and_the_first_is_told(board: Board, key: keys.Key, job: Job) -> None:
    first = connect(board, key)
    first.send_plan(job.plan)
    second = connect(board, key)
    second.init(1)
    with pytest.raises(NotAuthorisedError, match="another session"):
        first.init(2)


def test_an_offer_that_was_lost_is_the_same_when_asked_again(board: Board) -> None:
    offers = [board.ask(pack("pair", 1, nonce=bytes(16)))[0].fields for _ in range(2)]
    assert offers[0] == offers[1]


def nonces(board: Board, key: keys.Key) -> Iterator[bytes]:
    for _ in range(20):
        board.boot(key)
        for i in range(3):
            (reply,) = board.ask(pack("pair", 1, nonce=bytes([i + 1]) * 16))
            nonce = reply.fields["nonce"]
            assert isinstance(nonce, bytes)
            yield nonce


def test_no_nonce_comes_twice_over_restarts(board: Board, key: keys.Key) -> None:
    assert len(set(nonces(board, key))) == 60


def test_a_board_that_could_repeat_itself_offers_nothing(board: Board, key: keys.Key) -> None:
    board.boot(key, memory=False)
    assert [a["code"] for a in board.ask(pack("pair", 1, nonce=bytes(16)))] == [-14]
    board.boot(key, memory=False, entropy=ENTROPY)
    assert [a.name for a in board.ask(pack("pair", 1, nonce=bytes(16)))] == ["pair_r"]
    board.boot(key)
    board.c.pairing_limit_flash(0)  # it cannot count this start
    assert [a["code"] for a in board.ask(pack("pair", 1, nonce=bytes(16)))] == [-15]


def test_a_board_without_the_secret_is_found_out(library: Path, key: keys.Key, tmp_path: Path) -> None:
    impostor = Board(library, replace(key, secret=bytes(32)))
    with pytest.raises(NotAuthorisedError, match="does not have the secret"):
        connect(impostor, key)
    with pytest.raises(NotAuthorisedError, match="is paired with key"):
        connect(impostor, keys.new(tmp_path / "another"))


def test_sessions_are_bound_to_board_and_chip(key: keys.Key) -> None:
    made = {
        agree_without_tag(key, board, chip)
        for board in (b"sim".ljust(16, b"\0"), b"microbit".ljust(16, b"\0"))
        for chip in (bytes(8), b"12345678")
    }
    assert len(made) == 4


def agree_without_tag(key: keys.Key, board: bytes, chip: bytes) -> bytes:
    """The tag that this board would have to show: another for each."""
    made = hashlib.blake2b(b"edgelearn pair 1" + bytes(32) + board + chip, key=key.secret, digest_size=32).digest()
    tag = hashlib.blake2b(b"B" + bytes(4), key=made, digest_size=16).digest()
    assert agree(key, bytes(16), bytes(16), tag, board, chip, "here").key == made
    return tag
