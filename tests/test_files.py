"""Files: whole or absent, claimed by one process at a time, whatever becomes of it."""

import hashlib
import multiprocessing
import os
import time

import pytest

from skmm_study.storage import files
from skmm_study.storage.files import claim, sha256, write_whole

FORK = multiprocessing.get_context("fork")


@pytest.mark.parametrize("content", [b"\x00\r\n", "Σ\n"])
def test_what_is_written_is_read(tmp_path, content):
    """To the byte, whatever lay there before, and with nothing beside it."""
    path = tmp_path / "new" / "a.txt"
    for _ in range(2):
        write_whole(path, content)
        expected = content if isinstance(content, bytes) else content.encode()
        assert path.read_bytes() == expected
        assert list(path.parent.iterdir()) == [path]
    assert sha256(path) == sha256(expected) == hashlib.sha256(expected).hexdigest()


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def hold(path, held, seconds):
    with claim(path, wait=True):
        held.set()
        time.sleep(seconds)


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_claim_ends_with_its_holder(tmp_path, end):
    """Refused while another process holds it, granted to who waits, and free after a kill."""
    path, held = tmp_path / "a.lock", FORK.Event()
    holder = FORK.Process(target=hold, args=(path, held, 0.3 if end == "exit" else 60))
    holder.start()
    assert held.wait(30)
    with claim(path) as mine:
        assert not mine
    if end == "kill":
        holder.kill()
    with claim(path, wait=True) as mine:
        assert mine
    holder.join(30)
    assert not path.exists()


def count(path, total):
    for _ in range(50):
        with claim(path, wait=True):
            value = int(total.read_text())
            time.sleep(0.0005)
            total.write_text(str(value + 1))


def test_claims_exclude_each_other(tmp_path):
    """No addition is lost, although the lock's file comes and goes."""
    total = tmp_path / "total"
    total.write_text("0")
    team = [FORK.Process(target=count, args=(tmp_path / "a.lock", total)) for _ in range(3)]
    for process in team:
        process.start()
    for process in team:
        process.join(60)
    assert int(total.read_text()) == 150
    assert os.listdir(tmp_path) == ["total"]
