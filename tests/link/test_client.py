from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn.errors import ConfigError, LinkLostError, VersionError, WrongBoardError
from edgelearn.link.client import BoardRestarted, Client
from edgelearn.link.messages import NO_LABEL
from edgelearn.testing.faulty_pipe import KINDS, FaultyPipe
from tests.link.model_board import CLASSES, STATE_BYTES, ModelBoard, guess, initial_state, learnt

PLAN = bytes(range(256)) * 3 + b"\1\2\3\4"
Sample = tuple[bytes, int]


def samples(board: ModelBoard, n: int, seed: int = 0) -> list[Sample]:
    random = Random(seed)
    return [(random.randbytes(board.input_bytes), random.randrange(CLASSES)) for _ in range(n)]


def expected(data: list[Sample], seed: int = 1) -> tuple[bytes, list[int]]:
    """State and predictions after learning all of it once, in order."""
    state, guesses = initial_state(seed), []
    for sample, label in data:
        guesses.append(guess(state, sample))
        state = learnt(state, sample, label)
    return state, guesses


def ready(board: ModelBoard, pipe: FaultyPipe | None = None, lost_s: float = 5.0) -> Client:
    client = Client(pipe or board, lost_s=lost_s)
    client.connect("model")
    client.send_plan(PLAN)
    client.init(1)
    return client


def learn(client: Client, data: list[Sample], first: int = 0) -> list[int]:
    guesses: list[int] = []
    client.learn(lambda step: data[step], first, len(data), lambda step, new: guesses.extend(new))
    return guesses


def test_a_whole_conversation() -> None:
    board = ModelBoard()
    client = ready(board)
    data = samples(board, 100)
    state, guesses = expected(data)
    assert client.hello.board == "model"
    assert learn(client, data) == guesses
    assert (client.step, client.read_state(STATE_BYTES)) == (100, state)
    assert client.infer([sample for sample, _ in data]) == [zlib.crc32(sample) % CLASSES for sample, _ in data]
    assert client.send_plan(PLAN) is False
    assert client.write_state(initial_state(7)) == 0
    assert client.read_state(STATE_BYTES) == initial_state(7)
    assert (client.stats().samples, client.stats().bad_frames, client.retries) == (100, 0, 0)
    assert client.bytes_tx > 0 < client.bytes_rx


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 900),
    rx_buffer=st.sampled_from([0, 1, 64, 100, 512, 4096]),
    max_frame=st.sampled_from([64, 100, 371]),
    stride=st.sampled_from([7, 100, 4096]),
)
def test_any_board_gets_all_of_it_and_never_more_than_it_can_hold(
    size: int, rx_buffer: int, max_frame: int, stride: int
) -> None:
    board = ModelBoard(size, rx_buffer, max_frame, stride)
    data = samples(board, 12, size)
    client = ready(board)
    state, guesses = expected(data)
    assert learn(client, data) == guesses
    assert board.state == state
    assert client.infer([s for s, _ in data]) == [zlib.crc32(s) % CLASSES for s, _ in data]
    assert (board.overruns, client.retries) == (0, 0)


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 200),
    rate=st.sampled_from([1e-3, 3e-3, 1e-2]),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 1 << 16),
)
def test_each_sample_is_learnt_exactly_once_over_a_bad_line(
    size: int, rate: float, kinds: list[str], seed: int
) -> None:
    board = ModelBoard(size)
    data = samples(board, 30, seed)
    client = ready(board, FaultyPipe(board, rate, kinds, seed))
    state, guesses = expected(data)
    assert learn(client, data) == guesses
    assert board.samples == len(data)
    assert client.read_state(STATE_BYTES) == state
    assert client.infer([s for s, _ in data[:5]]) == [zlib.crc32(s) % CLASSES for s, _ in data[:5]]


def test_a_large_sample_moves_at_one_bad_byte_in_a_hundred() -> None:
    board = ModelBoard(784, 2048)
    client = ready(board, FaultyPipe(board, 1e-2, seed=3))
    data = samples(board, 20)
    state, guesses = expected(data)
    assert learn(client, data) == guesses
    assert board.state == state
    assert client.retries > 20


def test_a_receive_ring_smaller_than_announced_loses_bytes_but_no_sample() -> None:
    board = ModelBoard(64, 4096)
    client = ready(board)
    board.ring_bytes = 300
    data = samples(board, 60)
    state, guesses = expected(data)
    assert learn(client, data) == guesses
    assert board.state == state
    assert board.overruns > 0


@pytest.mark.parametrize("resets_at", [0, 1, 17, 39])
def test_a_restarted_board_is_noticed_and_can_be_rewound(resets_at: int) -> None:
    board = ModelBoard()
    client = ready(board)
    data = samples(board, 40)
    state, _ = expected(data)
    half, _ = expected(data[: resets_at // 2])

    def source(step: int) -> Sample:
        if step == resets_at and client.hello.boot_id == first_boot:
            board.restart()
        return data[step]

    first_boot = client.hello.boot_id
    with pytest.raises(BoardRestarted) as caught:
        client.learn(source, 0, 40, lambda *_: None)
    assert caught.value.hello.boot_id == client.hello.boot_id != first_boot
    client.send_plan(PLAN)
    assert client.write_state(half) == resets_at // 2
    client.learn(source, resets_at // 2, 40, lambda *_: None)
    assert board.state == state


@pytest.mark.parametrize("call", [lambda c: c.read_state(STATE_BYTES), lambda c: c.infer([bytes(16)] * 3)])
def test_a_restart_is_noticed_by_every_call_that_needs_the_state(call: Callable[[Client], object]) -> None:
    board = ModelBoard()
    client = ready(board)
    board.restart()
    with pytest.raises(BoardRestarted):
        call(client)


@pytest.mark.parametrize("where", ["source", "ack"])
@pytest.mark.parametrize("size", [16, 700])
def test_ctrl_c_leaves_a_client_that_goes_on(where: str, size: int) -> None:
    board = ModelBoard(size, 400, stride=50)
    client = ready(board)
    data = samples(board, 50)
    state, guesses = expected(data)
    got: list[int] = []
    armed = True

    def interrupt(here: str, step: int) -> None:
        nonlocal armed
        if armed and here == where and step >= 23:
            armed = False
            raise KeyboardInterrupt

    def source(step: int) -> Sample:
        interrupt("source", step)
        return data[step]

    def on_ack(step: int, new: list[int]) -> None:
        got.extend(new)
        interrupt("ack", step)

    with pytest.raises(KeyboardInterrupt):
        client.learn(source, 0, 50, on_ack)
    assert client.step == len(got) == board.step
    assert client.read_state(STATE_BYTES) == expected(data[: client.step])[0]
    client.learn(source, client.step, 50, on_ack)
    assert (got, board.state) == (guesses, state)


def test_half_a_sample_of_an_earlier_call_is_not_completed_by_the_next_one() -> None:
    board = ModelBoard(700, 400)
    client = ready(board)
    old, new = samples(board, 3, 1), samples(board, 3, 2)
    calls = iter([old[0], KeyboardInterrupt()])

    def broken(step: int) -> Sample:
        item = next(calls)
        if isinstance(item, BaseException):
            raise item
        board.ring_bytes = 380  # the rest of the sample does not arrive
        return item

    with pytest.raises((KeyboardInterrupt, LinkLostError, StopIteration)):
        Client.learn(client, broken, 0, 3, lambda *_: None)
    board.ring_bytes = 400
    first = client.step
    learn(client, new, first)
    assert board.state == expected(old[:first] + new[first:])[0]


def test_predictions_that_the_board_has_forgotten_are_said_to_be_unknown() -> None:
    board = ModelBoard(stride=1)
    client = ready(board)
    data = samples(board, 6)
    board.forgets = True
    assert learn(client, data) == [NO_LABEL] * 6


def test_a_board_that_others_have_trained_is_not_trained_on() -> None:
    board = ModelBoard()
    learn(ready(board), samples(board, 20))
    client = Client(board)
    client.connect()
    with pytest.raises(ConfigError, match="stands at step 20"):
        learn(client, samples(board, 30))


def test_silence_is_reported_in_time() -> None:
    board = ModelBoard()
    client = ready(board, lost_s=0.05)
    board.deaf = True
    with pytest.raises(LinkLostError, match="has not answered"):
        client.learn(lambda step: (bytes(16), 0), 0, 5, lambda *_: None)
    with pytest.raises(LinkLostError):
        client.infer([bytes(16)])


def test_refusals_become_errors_with_a_remedy() -> None:
    board = ModelBoard()
    with pytest.raises(WrongBoardError, match="'model', not 'microbit'"):
        Client(board).connect("microbit")
    client = ready(board)
    with pytest.raises(ConfigError, match="label"):
        client.learn(lambda step: (bytes(16), 10), 0, 1, lambda *_: None)
    with pytest.raises(ConfigError, match="does not fit"):
        client.learn(lambda step: (bytes(17), 1), 0, 1, lambda *_: None)
    with pytest.raises(ConfigError, match="waits for more"):
        client.learn(lambda step: (bytes(15), 1), 0, 1, lambda *_: None)
    with pytest.raises(ConfigError, match="non-volatile"):
        client.save()
    with pytest.raises(VersionError, match="does not know"):
        client.load()
    with pytest.raises(ConfigError, match="stands at step 0"):
        client.learn(lambda step: (bytes(16), 1), 5, 6, lambda *_: None)
    learn(client, samples(board, 3))
    assert board.samples == 3


def test_nothing_is_asked_before_hello() -> None:
    with pytest.raises(ConfigError, match="connect"):
        Client(ModelBoard()).infer([bytes(16)])
