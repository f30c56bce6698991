"""R23: the secret is in the key file and in the board's image, and in nothing else that is written or said."""

from __future__ import annotations

import os
import re
import shutil
import traceback
from pathlib import Path

import pytest

from edgelearn import images
from edgelearn.cli import main
from edgelearn.errors import ConfigError, EdgeLearnError, StorageFullError, UsageError
from edgelearn.pairing import fetch, image, keys
from edgelearn.paths import cache_dir


def halves(key: keys.Key) -> list[bytes]:
    """What must not be found: both secrets, raw, as text, and as the C source has them."""
    raw = [key.signing, key.secret]
    return [*raw, *(r.hex().encode() for r in raw), *(", ".join(map(hex, r)).encode() for r in raw)]


def test_no_secret_anywhere(
    key_file: Path, key: keys.Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Everything that a user can make: runs, exports, a report, JSON, an error with its traceback, the caches, the processes."""
    cache, built = tmp_path / "cache", image.sim_program().parent
    for folder in (fetch.folder(), built):
        shutil.copytree(folder, cache / folder.relative_to(cache_dir()))
    monkeypatch.setenv("EDGELEARN_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    with_key = ["--key", str(key_file)]
    assert main(["pair", str(key_file)]) == main(["pair", str(key_file), "--json"]) == 0
    assert main(["train", "digits-tiny", "--steps", "300", *with_key, "--json"]) == 0
    run = re.findall(r'"run": "([^"]+)"', capfd.readouterr().out)[0]
    assert main(["train", "digits-tiny", "--steps", "300", *with_key]) == 0
    assert main(["eval", run, *with_key]) == main(["infer", run, *with_key]) == 0
    assert main(["doctor", "sim", "--port", "sim", *with_key, "--json"]) == 0
    assert main(["export", run, "--format", "plan,c", "-o", "exported"]) == 0
    assert main(["report", run, "-o", "report.html"]) == 0
    assert main(["--debug", "eval", "no-such-run", *with_key]) != 0
    said = capfd.readouterr()
    written = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file != key_file}
    assert len(written) > 10
    for name, raw in (written | {"said": (said.out + said.err).encode()}).items():
        assert not [secret for secret in halves(key) if secret in raw], name
    assert key.id in said.out  # which is no secret


def test_no_secret_in_texts_and_tracebacks(key: keys.Key) -> None:
    try:
        raise ValueError(f"{key} {key!r}")
    except ValueError as error:
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert not [secret for secret in halves(key) if secret in told.encode()]


def test_the_sim_board_has_its_key_neither_in_arguments_nor_in_environment(key_file: Path, key: keys.Key) -> None:
    from edgelearn.device import Link
    from edgelearn.session import Session

    with Session("sim", key_file=key_file) as session:
        assert isinstance(session.device, Link)
        pid = session.client._link.transport.pid  # type: ignore[attr-defined]
        seen = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    assert b"el-sim" in seen
    assert not [secret for secret in halves(key) if secret in seen]


# --- key files


def test_a_key_file_is_the_owners_alone(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert keys.raise_counter(key_file).counter == 2
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert keys.read(key_file).counter == 2
    for mode in (0o640, 0o604, 0o644):
        key_file.chmod(mode)
        with pytest.raises(ConfigError, match="Others may read the key file") as caught:
            keys.read(key_file)
        assert f"chmod 600 {key_file}" in caught.value.hint


def test_a_key_is_not_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(UsageError, match="already"):
        keys.new(key_file)
    assert key_file.read_bytes() == before


def test_a_key_keeps_what_it_is_when_its_counter_is_raised(key_file: Path, key: keys.Key) -> None:
    raised = keys.raise_counter(key_file)
    assert (raised.signing, raised.secret, raised.id) == (key.signing, key.secret, key.id)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "counter = 1", 'signing = "00"\nsecret = "00"\ncounter = 1', "\xff",
        *(f'signing = "{"ab" * 32}"\nsecret = "{"cd" * 32}"\ncounter = {n}' for n in (0, -1, 2**32, '"1"', "true", 1.5)),
        f'signing = 7\nsecret = "{"cd" * 32}"\ncounter = 1',
    ],
)  # fmt: skip
def test_what_is_no_key_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text, encoding="latin-1")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is no pairing key") as caught:
        keys.read(file)
    assert "abab" not in str(caught.value)


def test_where_nothing_can_be_written(tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageFullError):
        keys.new(tmp_path / "no" / "folder" / "key")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = key_file.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError, match="No space"):
        keys.raise_counter(key_file)
    assert key_file.read_bytes() == before


# --- images


@pytest.mark.qemu
@pytest.mark.slow
def test_an_image_with_a_key_is_in_a_folder_of_the_owners(image_key_file: Path) -> None:
    from edgelearn import boards

    key = keys.read(image_key_file)
    made = images.build_paired(boards.load("microbit"), key)
    assert made.path.parent.stat().st_mode & 0o077 == 0
    assert key.secret in made.path.read_bytes()  # it has to be somewhere: who reads the flash has it
    assert key.signing not in made.path.read_bytes()
    default = images.build(boards.load("microbit"))
    assert not [word for word in (b"edgelearn pair 1", b"edgelearn plan 1") if word in default.path.read_bytes()]


# --- fetching


def test_only_the_pinned_files_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(b"something else")
    with pytest.raises(EdgeLearnError, match="has SHA-256"):
        fetch.fetch(archive)
    assert not fetch.folder().exists()
    with pytest.raises(EdgeLearnError, match="has not been fetched"):
        fetch.sources()


def test_files_that_were_changed_are_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fetch.sources()
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    fetch.folder().mkdir(parents=True)
    for file in found:
        (fetch.folder() / file.name).write_bytes(file.read_bytes())
    (fetch.folder() / "monocypher.c").write_bytes(found[0].read_bytes() + b" ")
    with pytest.raises(EdgeLearnError, match="is not the file that was fetched"):
        image.sim_program()
