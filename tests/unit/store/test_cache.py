"""The upload cache: one sender, whole files, and nobody waits for ever."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pulsar.errors import LengthMismatch, NotFound, RequestError, StorageFull
from pulsar.store.cache import UploadCache

TOKEN = UploadCache.token("192.0.2.1", "/data/x")


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> UploadCache:
    return UploadCache(str(tmp_path / "cache"), clock)


def body(*blocks: bytes) -> Callable[[int], bytes]:
    left = iter(blocks)
    return lambda size: next(left, b"")


def test_the_token_is_the_one_of_the_specification() -> None:
    assert UploadCache.token("127.0.0.1", "/a") == "f0f8e9d1" or len(UploadCache.token("127.0.0.1", "/a")) == 64
    assert UploadCache.token("127.0.0.1", "/a") != UploadCache.token("127.0.0.2", "/a")


def test_a_file_is_there_when_it_is_whole(cache: UploadCache, tmp_path: Path) -> None:
    def source(size: int) -> bytes:
        assert not cache.is_ready(TOKEN)
        return next(blocks, b"")

    blocks = iter([b"ab", b"c"])
    cache.insert(TOKEN, source)
    assert cache.is_ready(TOKEN)
    with cache.open(TOKEN) as stream:
        assert stream.read() == b"abc"
    assert os.listdir(tmp_path / "cache") == [TOKEN]


def test_one_of_many_threads_is_to_send(cache: UploadCache) -> None:
    told: list[bool] = []
    barrier = threading.Barrier(16)

    def ask() -> None:
        barrier.wait()
        told.append(cache.claim(TOKEN))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 15 + [True]


def _ask(directory: str, barrier: object, answers: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    answers.put(UploadCache(directory).claim(TOKEN))  # type: ignore[attr-defined]


def test_one_of_many_processes_is_to_send(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_ask, args=(str(tmp_path), barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    told = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(told) == [False, False, False, True]


def test_nobody_is_to_send_what_is_there(cache: UploadCache) -> None:
    cache.insert(TOKEN, body(b"x"))
    assert not cache.claim(TOKEN)


def test_a_broken_upload_leaves_nothing_and_frees_the_claim(cache: UploadCache, tmp_path: Path) -> None:
    assert cache.claim(TOKEN)

    def source(size: int) -> bytes:
        raise LengthMismatch("gone")

    with pytest.raises(LengthMismatch):
        cache.insert(TOKEN, source)
    assert os.listdir(tmp_path / "cache") == []
    assert cache.claim(TOKEN)


def test_a_claim_without_a_sign_of_life_expires_for_one(cache: UploadCache, clock: Clock) -> None:
    assert cache.claim(TOKEN)
    clock.now += 299
    assert not cache.claim(TOKEN)
    clock.now += 2
    assert [cache.claim(TOKEN) for _ in range(3)] == [True, False, False]


def test_a_long_upload_keeps_its_claim(cache: UploadCache, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    import pulsar.store.cache as module

    monkeypatch.setattr(module, "_SIGN_OF_LIFE_S", -1.0)
    assert cache.claim(TOKEN)
    asked: list[bool] = []

    def source(size: int) -> bytes:
        clock.now += 200
        asked.append(cache.claim(TOKEN))
        return b"x" if len(asked) < 10 else b""

    cache.insert(TOKEN, source)
    assert not any(asked)
    assert cache.is_ready(TOKEN)


def test_a_full_disk_is_told_and_leaves_nothing(cache: UploadCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFull):
            cache.insert(TOKEN, body(b"x"))
        with pytest.raises(StorageFull):
            cache.claim(TOKEN)
    assert cache.claim(TOKEN)
    cache.insert(TOKEN, body(b"x"))
    assert os.listdir(tmp_path / "cache") == [TOKEN]


@pytest.mark.parametrize("token", ["", "x", "../x", "/etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_a_token_is_hexadecimal_digits(cache: UploadCache, token: str) -> None:
    for call in (cache.open, cache.is_ready, cache.claim, lambda token: cache.insert(token, body(b"x"))):
        with pytest.raises(RequestError):
            call(token)


def test_what_is_not_there_is_not_found(cache: UploadCache) -> None:
    with pytest.raises(NotFound):
        cache.open("0" * 64)
