"""The real server over real sockets: who is let in, what it says, and how much of it anybody can take."""

from __future__ import annotations

import base64
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from edgelearn.errors import PortBusyError, UsageError
from edgelearn.runs import RunStore
from edgelearn.serve import server as serving
from edgelearn.serve.server import MAX_AT_ONCE, Server
from tests.serve.conftest import get, raw, record, served

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
SECRET = b"0123456789abcdef"


class Tags(HTMLParser):
    """The elements of a page, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


# --- what is served -------------------------------------------------------------------------------------------------------------------


def test_the_list_and_the_page_of_a_run(server: Server, learnt: tuple[Path, str]) -> None:
    status, headers, text = get(server, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert learnt[1] in text
    link = next(link for link in Tags(text).links if link.startswith("run?"))
    status, _, text = get(server, f"/{link}")
    assert status == 200
    assert "test accuracy" in text
    assert "Link and time" in text  # a part of the report's own code
    status, _, text = get(server, f"/compare?id={learnt[1]}")
    assert status == 200


def test_json_is_what_once_prints(server: Server, learnt: tuple[Path, str]) -> None:
    told = json.loads(get(server, "/runs.json")[2])
    assert told["schema"] == "edgelearn.serve/1"
    assert [run["id"] for run in told["runs"]] == [learnt[1]]
    assert "store" not in told
    (run,) = json.loads(get(server, f"/run.json?id={learnt[1]}")[2])["runs"]
    with RunStore(learnt[0]) as store:
        result = store.get(learnt[1]).result or {}
    assert run["accuracy"] == result["accuracy"]
    assert run["step"] == 1200


def test_every_answer_has_a_strict_policy(server: Server) -> None:
    for target in ("/", "/serve.js", "/no-such-page", "/runs.json"):
        _, headers, _ = get(server, target)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_what_is_known_is_not_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore(path) as store:
        record(store, {"accuracy": 0.5})
    with served(path) as server:
        deadline = time.monotonic() + 20
        while not (tag := get(server, "/")[1].get("ETag")):  # none while the file is still fresh
            assert time.monotonic() < deadline
        assert get(server, "/", If_None_Match=tag)[::2] == (304, "")
        with RunStore(path) as store:
            new = record(store, {"accuracy": 0.25})
        status, _, text = get(server, "/", If_None_Match=tag)
        assert status == 200
        assert new in text


def test_the_store_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "none" / "runs.sqlite"
    with served(path) as server:
        assert "There are no runs yet" in get(server, "/")[2]
        assert json.loads(get(server, "/runs.json")[2])["runs"] == []
        assert get(server, "/run?id=x")[0] == 404
        assert not path.parent.exists()  # looking makes nothing
        with RunStore(path) as store:
            run = record(store, {"accuracy": 0.5})
        assert run in get(server, "/")[2]


def test_it_opens_the_store_to_read_only(
    learnt: tuple[Path, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, *a, **k: (asked.append(str(name)), connect(name, *a, **k))[1])
    for target in ("/", f"/run?id={learnt[1]}", "/runs.json"):
        assert get(server, target)[0] == 200
    assert len(asked) >= 3
    assert all(name.endswith("?mode=ro") for name in asked)


def test_a_damaged_store_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    path.write_bytes(b"no database" * 1000)
    with served(path) as server:
        status, _, text = get(server, "/")
    assert status == 500
    assert "runs.sqlite is no run store, or damaged" in text
    assert str(tmp_path) not in text  # where it lies is nobody's business


def test_long_lists_are_turned(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore(path) as store:
        runs = [record(store, {"accuracy": 0.5}) for _ in range(60)]
    with served(path) as server:
        first, second = get(server, "/")[2], get(server, "/?page=2")[2]
        for odd in ("0", "99", "-1", "x", "9" * 50):
            assert get(server, f"/?page={odd}")[0] == 200
    assert first.count('class="status"') == 50
    assert second.count('class="status"') == 10
    assert all((run in first) != (run in second) for run in runs)


# --- hostile runs -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A store whose run has the worst of names."""
    path = tmp_path / "runs.sqlite"
    names = {"rule": EVIL, "board": EVIL, "recipe": EVIL, "rule_text": EVIL, "dtype": EVIL}
    with RunStore(path) as store:
        run = record(
            store, {"notes": [EVIL], "error": EVIL, "health": [{"message": EVIL}], "accuracy": float("nan")}, **names
        )
    db = sqlite3.connect(path)
    db.execute("UPDATE runs SET id = ? WHERE id = ?", (f"../../{EVIL}%2e%2e/&id=x#", run))
    db.commit()
    db.close()
    with served(path) as server:
        yield server, f"../../{EVIL}%2e%2e/&id=x#"


def test_hostile_names_are_text(hostile: tuple[Server, str]) -> None:
    server, name = hostile
    status, _, text = get(server, "/")
    page = Tags(text)
    assert status == 200
    assert page.elements.count("script") == 1  # ours
    assert "img" not in page.elements
    assert f"run?{urlencode({'id': name})}" in page.links
    status, _, text = get(server, f"/run?{urlencode({'id': name})}")
    assert status == 200
    assert Tags(text).elements.count("script") == 1
    assert "img" not in Tags(text).elements
    assert json.loads(get(server, "/runs.json")[2])["runs"][0]["accuracy"] is None  # and no NaN, which is no JSON


@pytest.mark.parametrize(
    "target",
    [
        "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/run/../../etc/passwd", "/serve.js/..",
        "/style.css%00", "/serve.py", "/./serve.js", "/edgelearn/serve/server.py",
    ],
)  # fmt: skip
def test_no_path_leads_out(server: Server, target: str) -> None:
    status, _, text = get(server, target)
    assert status == 404
    assert "root:" not in text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/run?id=../../etc/passwd", 404), ("/run?id=2", 404), ("/run?id=", 400), ("/run", 400), ("/run?id=a&id=b", 400),
        ("/run?id=%ff", 400), ("/compare", 400), ("/compare?" + "&".join(["id=x"] * 9), 400), ("/run?" + "&a=1" * 50, 400),
        ("/run.json?id=nobody", 404), ("/run.json", 400),
    ],
)  # fmt: skip
def test_what_makes_no_sense(server: Server, target: str, status: int) -> None:
    found, _, text = get(server, target)
    assert found == status
    assert "Traceback" not in text
    assert "defect" not in text


# --- who may ask ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7080", "localhost.evil.example", "", "127.0.0.1.evil.example"]
)
def test_a_foreign_name_reads_nothing(server: Server, learnt: tuple[Path, str], host: str) -> None:
    status, _, text = get(server, "/", Host=host)
    assert status == 403
    assert learnt[1] not in text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9000", "localhost", "LOCALHOST:80", "[::1]:7080", "192.168.0.7"]
)
def test_its_own_names_and_addresses_are_let_in(server: Server, host: str) -> None:
    assert get(server, "/", Host=host)[0] == 200


def test_two_hosts_are_none(server: Server) -> None:
    told = raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO"])
def test_it_only_reads(server: Server, method: str) -> None:
    told = raw(server, f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".encode())
    assert told.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD" in told


def test_head_has_no_body(server: Server) -> None:
    told = raw(server, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: " in head
    assert body == b""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_others_need_a_token(learnt: tuple[Path, str], host: str) -> None:
    with pytest.raises(UsageError, match="everybody on the network could read"):
        Server(learnt[0], host, 0)


def test_a_token_is_asked_for(learnt: tuple[Path, str]) -> None:
    basic = "Basic " + base64.b64encode(b"anybody:" + SECRET).decode()
    wrong = "Basic " + base64.b64encode(b"anybody:" + SECRET[:-1] + b"x").decode()
    with served(learnt[0], host="0.0.0.0", secret=SECRET) as server:
        for target in ("/", "/runs.json", "/style.css", "/nothing"):
            status, headers, text = get(server, target)
            assert status == 401
            assert headers["WWW-Authenticate"].startswith("Basic ")
            assert learnt[1] not in text
        assert get(server, "/", Authorization=basic)[0] == 200
        assert get(server, "/", Authorization=f"Bearer {SECRET.decode()}")[0] == 200
        for bad in (
            wrong,
            "Basic",
            "Basic !!!",
            "Bearer",
            f"Digest {SECRET.decode()}",
            SECRET.decode(),
            "Basic " + "A" * 2000,
        ):
            assert get(server, "/", Authorization=bad)[0] == 401
        assert get(server, f"/?token={SECRET.decode()}")[0] == 401


def test_a_taken_port_is_named(learnt: tuple[Path, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortBusyError, match="Cannot listen on"):
        Server(learnt[0], port=taken.getsockname()[1])


# --- bounds -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"a" * 20000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 20000, 431),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_a_request_is_bounded(server: Server, sent: bytes, status: int) -> None:
    assert raw(server, sent).startswith(f"HTTP/1.1 {status} ".encode())


def test_slow_clients_are_let_go_and_others_served(learnt: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads, each sending a byte now and then, as Slowloris does."""
    monkeypatch.setattr(serving, "HEAD_S", 1.0)
    stop = threading.Event()
    with served(learnt[0]) as server:
        streams = [socket.create_connection(("127.0.0.1", server.server_address[1])) for _ in range(MAX_AT_ONCE + 8)]

        def drip() -> None:
            while not stop.wait(0.2):
                for stream in streams:
                    try:
                        stream.send(b"G")
                    except OSError:
                        continue

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert get(server, "/")[0] == 200
            for stream in streams:
                stream.settimeout(30)
            assert streams[0].recv(12) == b"HTTP/1.1 408"
        finally:
            stop.set()
            dripping.join()
            for stream in streams:
                stream.close()


def test_a_hundred_at_once_all_get_their_answer(server: Server, learnt: tuple[Path, str]) -> None:
    targets = ["/", f"/run?id={learnt[1]}", "/runs.json", "/serve.js"]
    before = threading.active_count()
    most = 0
    with ThreadPoolExecutor(100) as pool:
        waiting = [pool.submit(get, server, targets[i % 4]) for i in range(100)]
        while not all(one.done() for one in waiting):
            serving_now = sum(
                thread.name.startswith("Thread-") and "process_request" in thread.name
                for thread in threading.enumerate()
            )
            most = max(most, serving_now)
            time.sleep(0.001)
    assert [one.result()[0] for one in waiting] == [200] * 100
    assert most <= MAX_AT_ONCE
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    for sent in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.server_address[1])) as stream:
            stream.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )  # closes with a reset
            stream.sendall(sent)
    assert get(server, "/")[0] == 200


@pytest.mark.slow
def test_a_client_that_does_not_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SEND_S", 0.5)
    path = tmp_path / "runs.sqlite"
    with RunStore(path) as store:
        run = record(store, {"text": "x" * 40_000_000})  # more than the system takes for a client
    with served(path) as server, socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(("127.0.0.1", server.server_address[1]))
        stream.sendall(f"GET /run.json?id={run} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        deadline = time.monotonic() + 60
        while not any("process_request_thread" in thread.name for thread in threading.enumerate()):
            assert time.monotonic() < deadline
        while any("process_request_thread" in thread.name for thread in threading.enumerate()):
            assert time.monotonic() < deadline, "it still waits for its client"
            time.sleep(0.05)
        assert get(server, "/")[0] == 200
