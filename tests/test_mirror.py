"""The mirror's download: resumed where it stopped, used only if it is the pinned file."""

import functools
import hashlib
import http.server
import json
import threading

import pytest

from skmm_study.pools.folder import shipped_folder
from skmm_study.vision.cars import load_cars
from skmm_study.vision.mirror import PIN, fetch_cars, fetch_file, unpack_split
from skmm_study.vision.standin import write_standin

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under any name, in ranges; ``/cut`` hangs up half way."""

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.starts.append(start)
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        half = len(CONTENT) // 2 if self.path == "/cut" else len(CONTENT)
        self.wfile.write(CONTENT[start : max(half, start)])

    def log_message(self, *_):
        """Keeps the test's output clean."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.starts = []
        server.url = functools.partial("http://127.0.0.1:{}/{}".format, server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(ConnectionError, match="run again to go on"):
        fetch_file(server.url("cut"), path, pinned=SHA256)
    assert not path.exists()
    fetch_file(server.url("whole"), path, pinned=SHA256)
    assert server.starts == [0, len(CONTENT) // 2]
    assert path.read_bytes() == CONTENT
    fetch_file(server.url("whole"), path, pinned=SHA256)
    assert len(server.starts) == 2  # a whole file is not asked for again


def test_a_whole_partial_file_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "a.parquet.partial").write_bytes(CONTENT)
    fetch_file(server.url("whole"), tmp_path / "a.parquet", pinned=SHA256)
    assert (tmp_path / "a.parquet").read_bytes() == CONTENT


def test_another_file_than_pinned_is_removed(server, tmp_path):
    with pytest.raises(ValueError, match=f"a.parquet from .* has SHA-256 {SHA256}, pinned is 000"):
        fetch_file(server.url("whole"), tmp_path / "a.parquet", pinned="0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there_is_named(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match="broke off"):
        fetch_file(server.url("whole"), tmp_path / "a.parquet", pinned=SHA256)


def test_an_existing_folder_is_left_alone(tmp_path):
    write_standin(tmp_path, rng=0, classes=2, train_per_class=1, test_per_class=1, size=32)
    with pytest.raises(ValueError, match="exists already"):
        fetch_cars(tmp_path)


def test_size_and_licence_come_before_the_first_byte(server, tmp_path, capsys):
    pin = json.loads((shipped_folder() / PIN).read_text())
    pin["url"] = server.url("whole")
    for entries in pin["splits"].values():
        for entry in entries:
            entry["megabytes"] = 1
    (tmp_path / PIN).write_text(json.dumps(pin))
    with pytest.raises(ValueError, match="pinned is"):
        fetch_cars(tmp_path, pin=tmp_path / PIN)
    announced = capsys.readouterr().out
    assert "non-commercial" in announced
    assert "4 MB to download" in announced
    assert not (tmp_path / "stanford_cars").exists()


def test_the_pin_is_complete():
    pin = json.loads((shipped_folder() / PIN).read_text())
    files = [entry for split in ("train", "test") for entry in pin["splits"][split]]
    assert len(pin["revision"]) == 40
    assert len({entry["sha256"] for entry in files}) == len(files) == 4
    assert all(len(entry["sha256"]) == 64 for entry in files)


def test_parquet_rows_become_the_same_images_and_labels(tmp_path):
    """A stand-in, packed as the mirror packs, unpacks to itself, less the boxes."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_standin(tmp_path, rng=0, classes=2, train_per_class=3, test_per_class=2, size=32)
    for split in ("train", "test"):
        images = load_cars(tmp_path, split=split)
        info = {"info": {"features": {"label": {"names": list(images.class_names)}}}}
        contents = [(images.folder / name).read_bytes() for name in images.names]
        table = pa.table(
            {"image": [{"bytes": c, "path": None} for c in contents], "label": images.labels}
        ).replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
        parquet.write_table(table, tmp_path / "a.parquet")
        base = tmp_path / "unpacked/stanford_cars"
        unpack_split([tmp_path / "a.parquet"], base, split)
        (base / "standin.json").write_bytes((tmp_path / "stanford_cars/standin.json").read_bytes())
        again = load_cars(tmp_path / "unpacked", split=split)
        assert again.digests == images.digests
        assert (again.labels == images.labels).all()
        assert again.class_names == images.class_names
        assert again.boxes is None
