"""R22: a plan runs if its bytes are those that were signed, with this key, and no newer one has been taken."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn.errors import NotAuthorisedError
from edgelearn.job import Job, prepare
from edgelearn.link.messages import Message, pack
from edgelearn.pairing import keys
from edgelearn.pairing.session import Session
from tests.pairing.board import Board, connect

SIGNATURE, ROLLBACK, SIZE, LOCKED = -21, -22, -5, -20
PART = 300


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare("digits-tiny", "sim", steps=64)


class Insider:
    """Has the secret, so that its frames are taken, and not the key that signs."""

    def __init__(self, board: Board, key: keys.Key) -> None:
        self.board = board
        session = connect(board, key)._pairing._session
        assert session is not None
        self.session: Session = session

    def ask(self, name: str, data: bytes = b"", **fields: int | bytes) -> int:
        (reply,) = self.board.ask(self.session.seal(pack, pack(name, 1, data, (), **fields)))
        assert isinstance(reply, Message)
        return reply["code"]

    def sign(self, manifest: bytes, signature: bytes) -> int:
        counter, size = (int.from_bytes(manifest[i : i + 4], "little") for i in (0, 4))
        return self.ask("plan_sign", counter=counter, size=size, digest=manifest[8:], signature=signature)

    def send(self, plan: bytes) -> int:
        """The code of the first message that is refused, or of the last."""
        code = self.ask("plan_begin", size=len(plan), hash=int.from_bytes(plan[-4:], "little"))
        for off in range(0, len(plan), PART):
            code = code or self.ask("plan_data", plan[off : off + PART], off=off)
        return code or self.ask("plan_end")

    @property
    def runs(self) -> bool:
        (hello,) = self.board.ask(pack("hello", 1, proto=0x100, nonce=1))
        return hello["phase"] != 0


def with_crc(plan: bytes) -> bytes:
    return plan[:-4] + zlib.crc32(plan[:-4]).to_bytes(4, "little")


def flips(raw: bytes) -> list[bytes]:
    out = []
    for bit in range(8 * len(raw)):
        wrong = bytearray(raw)
        wrong[bit // 8] ^= 1 << bit % 8
        out.append(bytes(wrong))
    return out


def test_every_flipped_bit_is_refused(
    board: Board, key: keys.Key, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    insider, plan = Insider(board, key), job.plan
    manifest, signature = keys.manifest(key, plan), keys.sign(key, plan)
    accepted = {"manifest": 0, "signature": 0, "plan": 0, "plan, its CRC made right": 0}
    for wrong in flips(manifest):
        accepted["manifest"] += insider.sign(wrong, signature) != SIGNATURE or insider.send(plan) == 0
    for wrong in flips(signature):
        accepted["signature"] += insider.sign(manifest, wrong) != SIGNATURE or insider.send(plan) == 0
    assert insider.sign(manifest, signature) == 0
    for wrong in flips(plan):
        accepted["plan"] += insider.send(wrong) != SIGNATURE or insider.runs
    for wrong in flips(plan[:-4]):
        accepted["plan, its CRC made right"] += insider.send(with_crc(wrong + plan[-4:])) != SIGNATURE or insider.runs
    tried = 8 * (len(manifest) + len(signature) + 2 * len(plan) - 4)
    with capsys.disabled():
        print(f"\nR22: {sum(accepted.values())} of {tried:,} one-bit flips accepted: {accepted}")  # noqa: T201
    assert not any(accepted.values())
    assert insider.send(plan) == 0
    assert insider.runs


def test_a_plan_must_be_signed_with_this_key(board: Board, key: keys.Key, job: Job, tmp_path: Path) -> None:
    insider = Insider(board, key)
    assert insider.send(job.plan) == SIGNATURE
    other = keys.new(tmp_path / "another")
    assert insider.sign(keys.manifest(other, job.plan), keys.sign(other, job.plan)) == SIGNATURE
    assert insider.sign(keys.manifest(key, job.plan), keys.sign(key, job.plan)) == 0
    assert insider.send(prepare("digits-tiny", "sim", steps=65).plan) == SIGNATURE  # another one, of the same size


def test_a_signature_is_good_for_one_purpose(board: Board, key: keys.Key, job: Job) -> None:
    manifest = keys.manifest(key, job.plan)
    bare = bytes(keys._private(key.signing).sign(manifest))
    assert Insider(board, key).sign(manifest, bare) == SIGNATURE


def test_an_older_counter_is_refused_even_after_a_restart(board: Board, key: keys.Key, job: Job) -> None:
    newer = replace(key, counter=3)
    connect(board, newer).send_plan(job.plan)
    for restart in (False, True):
        if restart:
            board.boot(key)
        assert board.c.pairing_floor() == 3
        for counter, code in ((1, ROLLBACK), (2, ROLLBACK), (3, 0), (4, 0)):
            signer = replace(key, counter=counter)
            insider = Insider(board, key)
            assert insider.sign(keys.manifest(signer, job.plan), keys.sign(signer, job.plan)) == code
    assert board.c.pairing_floor() == 3  # a signature alone does not raise it: the plan has to run


def test_the_floor_counts_when_the_plan_comes(board: Board, key: keys.Key, job: Job) -> None:
    """Signed before, sent after a newer one was taken."""
    old = Insider(board, key)
    assert old.sign(keys.manifest(key, job.plan), keys.sign(key, job.plan)) == 0
    board.c.pairing_raise(7)
    assert old.send(job.plan) == ROLLBACK


def test_a_plan_is_refused_where_its_counter_cannot_be_kept(board: Board, key: keys.Key, job: Job) -> None:
    insider = Insider(board, key)
    newer = replace(key, counter=2)
    assert insider.sign(keys.manifest(newer, job.plan), keys.sign(newer, job.plan)) == 0
    board.c.pairing_limit_flash(0)
    assert insider.send(job.plan) == -15
    assert not insider.runs


def test_bytes_are_not_changed_between_check_and_use(board: Board, key: keys.Key, job: Job) -> None:
    """R7: once the plan runs, plan_data is refused; before, what came late counts for the hash as for the verifier."""
    insider = Insider(board, key)
    assert insider.sign(keys.manifest(key, job.plan), keys.sign(key, job.plan)) == 0
    assert insider.send(job.plan) == 0
    assert insider.ask("plan_data", b"\0" * 8, off=0) == -12
    assert insider.ask("plan_end") == 0


def test_the_host_says_what_is_wrong(board: Board, key: keys.Key, job: Job) -> None:
    connect(board, replace(key, counter=9)).send_plan(job.plan)
    another = prepare("digits-tiny", "sim", steps=65).plan
    with pytest.raises(NotAuthorisedError, match="higher counter"):
        connect(board, key).send_plan(another)
    forger = replace(key, signing=bytes(32))
    with pytest.raises(NotAuthorisedError, match="is paired with key"):
        connect(board, forger)
