from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import io
import shutil
import threading
import zipfile

import pytest

from nnrec.core.errors import DataError
from nnrec.data.sources import download
from nnrec.data.sources.download import ensure
from nnrec.data.sources.movielens import read_movielens

RATINGS = "userId,movieId,rating,timestamp\n1,10,4.5,964981247\n"
SMALL = {"ml-latest-small/ratings.csv": RATINGS, "ml-latest-small/README.txt": "terms"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder and the address of a local server that serves it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def zipped(members: dict[str | zipfile.ZipInfo, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def publish(folder, content: bytes, release: str = "ml-latest-small") -> str:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    (folder / f"{release}.zip").write_bytes(content)
    (folder / f"{release}.zip.md5").write_text(f"MD5 ({release}.zip) = {md5}\n")
    return md5


def refused(target, base_url, *parts: str, release: str = "ml-latest-small", md5: str | None = None) -> None:
    with pytest.raises(DataError) as raised:
        ensure(release, target, base_url=base_url, md5=md5)
    for part in parts:
        assert part in str(raised.value), str(raised.value)
    assert not target.exists()
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_fetched_once_with_notice_and_nothing_else_left(site, tmp_path, capsys):
    folder, url = site
    publish(folder, zipped(SMALL))
    target = tmp_path / "data" / "ml-latest-small"
    assert ensure("ml-latest-small", target, base_url=url) == target
    assert (target / "ratings.csv").read_text() == RATINGS
    assert [path.name for path in target.parent.iterdir()] == ["ml-latest-small"]
    notice = capsys.readouterr().err
    assert "Harper & Konstan (2015)" in notice and f"{url}/ml-latest-small-README.html" in notice
    (folder / "ml-latest-small.zip").unlink()
    assert ensure("ml-latest-small", target, base_url=url) == target  # present: nothing is fetched
    assert capsys.readouterr().err == ""


def test_ml_10m_is_put_under_its_own_name(site, tmp_path):
    folder, url = site
    md5 = publish(folder, zipped({"ml-10M100K/ratings.dat": "1::10::4.5::978300700\n"}), "ml-10m")
    target = tmp_path / "data" / "ml-10m"
    assert ensure("ml-10m", target, base_url=url, md5=md5) == target
    assert (target / "ratings.dat").is_file()


def test_reader_fetches_when_told_to(site, tmp_path, monkeypatch):
    folder, url = site
    publish(folder, zipped(SMALL))
    monkeypatch.setattr(download, "ensure", functools.partial(ensure, base_url=url))
    assert len(read_movielens("ml-latest-small", tmp_path / "ml-latest-small", download=True)) == 1


def test_wrong_checksum(site, tmp_path):
    folder, url = site
    publish(folder, zipped(SMALL), "ml-1m")  # not the published ml-1m
    target = tmp_path / "data" / "ml-1m"
    parts = (
        "published checksum (md5 c4d9eecfca2ab87c1945afe126590906)",
        f"fetch {url}/ml-1m.zip by hand",
        "NNREC_DATA",
    )
    refused(target, url, *parts, release="ml-1m")
    publish(folder, zipped(SMALL))
    (folder / "ml-latest-small.zip.md5").write_text("not found")
    refused(tmp_path / "data" / "ml-latest-small", url, ".md5 holds no checksum")


def test_no_server_and_no_such_file(site, tmp_path):
    _, url = site
    target = tmp_path / "data" / "ml-1m"
    refused(target, url, "404", release="ml-1m")
    parts = ("http://127.0.0.1:9/ml-1m.zip cannot be fetched", f"unpack it as {target}", "data_root=", "NNREC_DATA")
    refused(target, "http://127.0.0.1:9", *parts, release="ml-1m")


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("ml-latest-small/link")
    member.external_attr = 0o120777 << 16
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../evil", "'../evil', which would land outside"),
        ("ml-latest-small/../../evil", "would land outside"),
        ("/tmp/evil", "'/tmp/evil', which would land outside"),
        ("..\\evil", "would land outside"),
        ("C:/evil", "would land outside"),
        (link(), "is a link or a special file"),
    ],
)
def test_unsafe_member(site, tmp_path, member, message):
    folder, url = site
    publish(folder, zipped(SMALL | {member: "evil"}))
    refused(tmp_path / "data" / "ml-latest-small", url, message)
    assert not list(tmp_path.rglob("evil"))


def test_absurd_size_damaged_zip_and_other_layout(site, tmp_path, monkeypatch):
    folder, url = site
    target = tmp_path / "data" / "ml-latest-small"
    publish(folder, b"this is no zip")
    refused(target, url, "not a sound zip file")
    publish(folder, zipped({"other.txt": "x"}))
    refused(target, url, "holds no ratings.csv")
    publish(folder, zipped(SMALL))
    monkeypatch.setattr(download, "MAX_UNPACKED", 10)
    refused(target, url, "would unpack to 56 bytes, more than 10")  # 32 + 19 characters of ratings, 5 of terms


def test_full_disk(site, tmp_path, monkeypatch):
    folder, url = site
    target = tmp_path / "data" / "ml-latest-small"
    publish(folder, zipped(SMALL))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3))
    refused(target, url, f"The disk of {target.parent} is full; nothing was left there")
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def no_room(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", no_room)
    refused(target, url, "is full")


def test_interrupted_while_unpacking(site, tmp_path, monkeypatch):
    folder, url = site
    publish(folder, zipped(SMALL))
    target = tmp_path / "data" / "ml-latest-small"

    def interrupted(archive, place):
        (place / "half").write_text("made")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(zipfile.ZipFile, "extractall", interrupted)
        ensure("ml-latest-small", target, base_url=url)
    assert not list(target.parent.iterdir())
    assert ensure("ml-latest-small", target, base_url=url) == target


def test_folder_in_the_way_is_left_alone(site, tmp_path):
    _, url = site
    target = tmp_path / "ml-1m"
    target.mkdir()
    (target / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="exists but holds no ratings.dat: complete it, or move it away"):
        ensure("ml-1m", target, base_url=url)
    assert (target / "mine.txt").read_text() == "keep"


def test_place_that_cannot_be_written(site, tmp_path):
    _, url = site
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="ml-1m cannot be stored in .*by hand"):
        ensure("ml-1m", tmp_path / "file" / "ml-1m", base_url=url)
