"""Known answers, on both sides: RFC 8032 (Ed25519) and BLAKE2b, keyed and not."""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path

import pytest

from edgelearn.pairing import keys

# RFC 8032, section 7.1, TEST 1 to 3: private key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
# RFC 7693, appendix A: BLAKE2b-512 of "abc".
ABC = "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
# BLAKE2's own list (blake2-kat.json): blake2b, keyed with 00 01 .. 3f, of nothing and of 00.
KEYED = {
    b"": "10ebb67700b1868efb4417987acf4690ae9d972fb7a590c2f02871799aaa4786b5e996e8f0f4eb981fc214b005f42d2ff4233499391653df7aefcbc13fc51568",
    b"\0": "961f6dd1e4dd30f63901690c512e78e4b45e4742ed197c3c5e45c549fd25f2e4187b0bc9fe30492b16b0d0bc4ef9b0f3"
    "4c7003fac09a5ef1532e69430234cebd",
}  # fmt: skip


@pytest.mark.parametrize(("private", "public", "message", "signature"), RFC_8032)
def test_ed25519(library: Path, private: str, public: str, message: str, signature: str) -> None:
    c, raw = ctypes.CDLL(str(library)), bytes.fromhex(message)
    signer = keys._private(bytes.fromhex(private))
    assert signer.public_key().public_bytes_raw().hex() == public
    assert signer.sign(raw).hex() == signature
    ours, theirs = bytes.fromhex(signature), bytes.fromhex(public)
    assert c.crypto_ed25519_check(ours, theirs, raw, ctypes.c_size_t(len(raw))) == 0
    for bit in range(0, 512, 7):
        wrong = bytearray(ours)
        wrong[bit // 8] ^= 1 << bit % 8
        assert c.crypto_ed25519_check(bytes(wrong), theirs, raw, ctypes.c_size_t(len(raw))) != 0


def blake2b(library: Path, size: int, key: bytes, message: bytes) -> str:
    c, out = ctypes.CDLL(str(library)), (ctypes.c_uint8 * size)()
    sizes = ctypes.c_size_t(size), ctypes.c_size_t(len(key)), ctypes.c_size_t(len(message))
    c.crypto_blake2b_general(out, sizes[0], key, sizes[1], message, sizes[2])
    return bytes(out).hex()


def test_blake2b(library: Path) -> None:
    assert blake2b(library, 64, b"", b"abc") == hashlib.blake2b(b"abc").hexdigest() == ABC
    for message, known in KEYED.items():
        key = bytes(range(64))
        assert blake2b(library, 64, key, message) == hashlib.blake2b(message, key=key).hexdigest() == known


@pytest.mark.parametrize("size", [8, 16, 32])
def test_blake2b_as_it_is_used(library: Path, size: int) -> None:
    for n in (0, 1, 127, 128, 129, 371):
        message, key = bytes(i & 0xFF for i in range(n)), bytes(range(32))
        assert blake2b(library, size, key, message) == hashlib.blake2b(message, key=key, digest_size=size).hexdigest()
