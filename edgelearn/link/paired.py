"""The host's end of a paired board: a session is agreed when we connect, then frames are sealed and plans signed."""

from __future__ import annotations

from edgelearn.errors import EdgeLearnError, NotAuthorisedError, VersionError
from edgelearn.link.exchange import Exchange
from edgelearn.link.messages import BY_NAME, Message, pack
from edgelearn.link.refusals import ERR_LOCKED, ERR_UNKNOWN, OK, refusal
from edgelearn.pairing import keys, session

_OPEN = frozenset(BY_NAME[name].code for name in ("hello", "results", "pair"))
_STATS = BY_NAME["stats"].code
_SIGN_S = 3.0  # between repetitions of what takes a Cortex-M0 a second
_SEALED = session.OVERHEAD + 4 + BY_NAME["plan_sign"].fixed.size


class Pairing:
    """Nothing but a door that stands open, where there is no ``key``."""

    def __init__(self, link: Exchange, key: keys.Key | None) -> None:
        self._link, self._key = link, key
        self._session: session.Session | None = None
        self._paired: session.Paired | None = None
        link.seal = self.seal

    def open(self, paired: session.Paired | None, board: bytes, chip: bytes, max_frame: int) -> None:
        """Agrees on a new session with the board that said ``paired`` of itself.

        Raises:
            NotAuthorisedError: it belongs to another key or to none, or it does not have the secret.
        """
        name, key = self._link.transport.name, self._key
        self._session, self._paired = None, paired
        session.demand(paired, key, name)
        if key is None:
            return
        if max_frame < _SEALED:
            problem = f"The board takes frames of {max_frame} bytes; a signed plan needs {_SEALED}."
            raise VersionError(problem, "Build its image again: edgelearn flash BOARD --key FILE")
        ours = session.nonce()
        reply = self._link.ask_again("pair", lambda seq: pack("pair", seq, nonce=ours))
        if reply.name != "pair_r":
            raise self._refused(reply["code"])
        theirs, tag = _raw(reply, "nonce"), _raw(reply, "tag")
        self._session = session.agree(key, ours, theirs, tag, board, chip, name)

    @property
    def overhead(self) -> int:
        """Bytes that sealing adds to a frame."""
        return 0 if self._session is None else session.OVERHEAD

    def seal(self, frame: bytes) -> bytes:
        """``frame`` as this board wants it."""
        return frame if self._session is None or _is_open(frame) else self._session.seal(pack, frame)

    def sign(self, plan: bytes) -> int:
        """Announces a plan with its signature; returns the board's code."""
        if self._key is None or self._session is None:
            return OK
        made = keys.manifest(self._key, plan) + keys.sign(self._key, plan)

        def frame(seq: int) -> bytes:
            return pack(
                "plan_sign", seq, counter=int.from_bytes(made[:4], "little"), size=len(plan),
                digest=made[8:40], signature=made[40:],
            )  # fmt: skip

        return self._link.ask_again("plan_sign", frame, every=_SIGN_S)["code"]

    def locked_out(self) -> NotAuthorisedError:
        """The error to raise when the board does not take our orders, though it has not restarted."""
        name = self._link.transport.name
        if self._session is None:
            return session.locked(name, self._paired)
        problem = f"The board at {name} has begun another session with somebody who has its key."
        return NotAuthorisedError(problem, "Let that one finish, then run the command again.")

    def _refused(self, code: int) -> EdgeLearnError:
        if code == ERR_UNKNOWN:
            return NotAuthorisedError(
                f"The board at {self._link.transport.name} says that it is paired, and knows nothing of it.",
                "Write its image anew: edgelearn flash BOARD --key FILE",
            )
        return self.locked_out() if code == ERR_LOCKED else refusal(code, "pair")


def _is_open(frame: bytes) -> bool:
    """May everybody ask this? Of ``stats`` the bare question, which moves no pin."""
    return frame[0] in _OPEN or (frame[0] == _STATS and len(frame) == 4)


def _raw(reply: Message, name: str) -> bytes:
    value = reply.fields[name]
    return value if isinstance(value, bytes) else b""
