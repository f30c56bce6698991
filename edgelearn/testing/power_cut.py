"""``PowerCutFlash``: flash with the rules of real flash, whose power can be cut at any operation.

What an erase or a program does that was cut, is: nothing, all, or some of its bits. A board that is built in Python takes it as its own
memory (``hal``), so that the firmware's ``el_save`` and ``el_load`` run against it:

    flash = PowerCutFlash(nv_bytes=8192, page=1024)
    hal = flash.hal()
    lib.el_open(context, ctypes.byref(hal), ...)  # edgelearn.host.native.library()
    flash.cut(at=17, done="half")  # the 18th operation from now is the last
    lib.el_save(context)
    flash.restore()
    lib.el_load(context)  # the old state or the new one, whole
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from random import Random
from typing import Literal, get_args

from edgelearn.host.hal import BOARD_BYTES, Hal, NvAt, NvBytes

Done = Literal["nothing", "half", "all"]
Order = Literal["forward", "backward", "shuffled"]
WORD = 4  # bytes that are programmed in one operation
OK, FAILED = 0, -15  # EL_OK, EL_ERR_NV


class PowerCutFlash:
    """Erased bytes read 0xFF; programming can only clear bits, a word of four bytes at a time; only whole pages are erased.

    Args:
        nv_bytes: its size. page: bytes that are erased at once.
        order: in which order the words of one call are programmed. seed: of what is left to chance.

    Attributes:
        content: what a read finds.
        operations: words programmed and pages erased so far, those that were cut included.
        wear: how often each page was erased.
        faults: what a driver did against the rules, in words; flash that is programmed so keeps something else.
    """

    def __init__(self, nv_bytes: int = 8192, page: int = 1024, order: Order = "forward", seed: int = 0) -> None:
        if page <= 0 or page % WORD or nv_bytes <= 0 or nv_bytes % page:
            raise ValueError(f"nv_bytes must be whole pages, and a page whole words of {WORD} bytes")
        if order not in get_args(Order):
            raise ValueError(f"order must be one of {get_args(Order)}")
        self.content = bytearray(b"\xff" * nv_bytes)
        self.operations = 0
        self.wear = [0] * (nv_bytes // page)
        self.faults: list[str] = []
        self._page, self._order, self._random = page, order, Random(seed)
        self._programmed: set[int] = set()  # words, since their page was erased
        self._cut: tuple[int, Done] | None = None
        self._off = False
        self._bad: set[int] = set()
        self._stuck: dict[int, tuple[int, int]] = {}  # byte: bits that stick, and their values

    # -- what happens to it

    def cut(self, at: int, done: Done = "nothing") -> None:
        """Cuts the power during the operation that comes after ``at`` more, of which ``done`` gets done."""
        if at < 0 or done not in get_args(Done):
            raise ValueError(f"at must not be negative, and done one of {get_args(Done)}")
        self._cut = (self.operations + at, done)

    def restore(self) -> None:
        """The power is back."""
        self._cut, self._off = None, False

    def stick(self, bit: int, value: int) -> None:
        """From now on a bit has this value, whatever is written."""
        bits, values = self._stuck.get(bit // 8, (0, 0))
        mask = 1 << bit % 8
        self._stuck[bit // 8] = (bits | mask, values | mask if value else values & ~mask)
        self._keep_stuck(bit // 8)

    def break_page(self, page: int) -> None:
        """From now on the flash refuses to erase or program a page."""
        self._bad.add(page)

    # -- what a driver does

    def read(self, off: int, n: int) -> bytes:
        """``n`` bytes from ``off`` on."""
        self._check(off, n)
        return bytes(self.content[off : off + n])

    def erase(self, off: int) -> bool:
        """Erases the page that starts at ``off``; False: it failed."""
        self._check(off, self._page)
        if off % self._page:
            raise ValueError(f"{off} is not where a page starts")
        page = off // self._page
        done = self._begin()
        if done is None or page in self._bad:
            return False
        self.wear[page] += 1
        for at in range(off, off + self._page):
            self._change(at, self._some(done, 0xFF & ~self.content[at]))
        if done == "all":
            self._programmed.difference_update(range(off // WORD, (off + self._page) // WORD))
        return not self._off

    def program(self, off: int, data: bytes) -> bool:
        """Clears the bits that are clear in ``data``; False: it failed."""
        self._check(off, len(data))
        if off % WORD or len(data) % WORD:
            raise ValueError(f"{len(data)} bytes at {off} are not whole words of {WORD}")
        for i in self._words(len(data) // WORD):
            done = self._begin()
            if done is None or (off + i * WORD) // self._page in self._bad:
                return False
            self._program_word(off + i * WORD, data[i * WORD : (i + 1) * WORD], done)
        return not self._off

    def hal(self, board: str = "") -> Hal:
        """A board that has this memory, and nothing else. Keep it as long as the core may use it."""
        return Hal(
            board=board.encode()[:BOARD_BYTES],
            nv_bytes=len(self.content),
            nv_page=self._page,
            nv_read=NvBytes(self._hal_read),
            nv_erase=NvAt(lambda _, off: OK if self.erase(off) else FAILED),
            nv_prog=NvBytes(lambda _, off, at, n: OK if self.program(off, ctypes.string_at(at, n)) else FAILED),
        )

    # -- how

    def _hal_read(self, _: int, off: int, out: int, n: int) -> int:
        ctypes.memmove(out, self.read(off, n), n)
        return OK

    def _check(self, off: int, n: int) -> None:
        if off < 0 or n < 0 or off + n > len(self.content):
            raise ValueError(f"{n} bytes at {off} are beyond the {len(self.content)} of the flash")

    def _begin(self) -> Done | None:
        """How much of the next operation gets done; None: there is no power."""
        if self._off:
            return None
        cut, self.operations = self._cut, self.operations + 1
        if cut is None or self.operations <= cut[0]:
            return "all"
        self._off = True
        return cut[1]

    def _words(self, n: int) -> Iterator[int]:
        words = list(range(n))
        if self._order == "backward":
            words.reverse()
        elif self._order == "shuffled":
            self._random.shuffle(words)
        return iter(words)

    def _program_word(self, off: int, word: bytes, done: Done) -> None:
        if off // WORD in self._programmed:
            self.faults.append(f"word at {off} programmed twice since it was erased")
        self._programmed.add(off // WORD)
        for at, wanted in enumerate(word, off):
            if wanted & ~self.content[at]:
                self.faults.append(f"byte at {at}: {wanted:#04x} wanted over {self.content[at]:#04x}, without an erase")
            self._change(at, self._some(done, self.content[at] & ~wanted))

    def _some(self, done: Done, bits: int) -> int:
        """Of the bits that would change, those that do."""
        return bits if done == "all" else bits & self._random.randrange(256) if done == "half" else 0

    def _change(self, at: int, bits: int) -> None:
        self.content[at] ^= bits
        if at in self._stuck:
            self._keep_stuck(at)

    def _keep_stuck(self, at: int) -> None:
        bits, values = self._stuck[at]
        self.content[at] = self.content[at] & ~bits | values & bits
