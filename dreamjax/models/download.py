"""Downloads: a file that is whole and checked, or absent; what broke off goes on later.

    download(address, folder / "file", check) -> what check(path) returned

The bytes go to `file.dreamjax-part`; beside it `file.dreamjax-part.json` says of which
address, with which ETag, and how long it will be, so that another process, too, can go
on with it by Range and If-Range. It becomes `file` only after `check`. Callers see to
it that one process at a time has the file (`dreamjax.models.source` does).
"""

import contextlib
import email.utils
import http.client
import json
import os
import re
import shutil
import ssl
import stat
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from tqdm import tqdm

from dreamjax import __version__
from dreamjax.errors import printable
from dreamjax.files import write_text
from dreamjax.json_file import loads, read_bytes

T = TypeVar("T")

LIMIT = 4 << 30
"""Bytes; the largest file taken, whatever a server says or sends."""

PLAIN_HTTP = ("dl.caffe.berkeleyvision.org", "localhost", "127.0.0.1", "::1")
"""Hosts that may be asked without TLS: Caffe's server has no other door."""

TIMEOUT = 30.0  # seconds without a byte
TRIES, TRIES_UNREACHED = 5, 3  # in a row; offline should be said soon
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; doubled from one try to the next
PROGRESS = 1 << 20  # bytes beyond the best so far that make the next failure the first
CHUNK = 1 << 16
PASSING = (408, 425, 429)  # statuses below 500 that another try may not meet


class DownloadError(ValueError):
    """The file could not be had; the text says why."""


class _Dropped(Exception):
    """A try failed in a way that another may not.

    Attributes:
      wait: seconds that the server asked for; None leaves it to us.
      tries: after how many in a row to give up.
    """

    def __init__(self, why: str, *, wait: float | None = None, tries: int = TRIES):
        super().__init__(why)
        self.wait, self.tries = wait, tries


class Begun(NamedTuple):
    """What is there of a file: bytes, what its server called it, bytes of the whole."""

    size: int
    validator: str
    total: int | None

    @property
    def complete(self) -> bool:
        return self.total is not None and self.size == self.total


NOTHING = Begun(0, "", None)


class _Try(NamedTuple):
    """One request for what is missing of a file."""

    address: str
    part: Path
    begun: Begun


def download(address: str, target: Path, check: Callable[[Path], T]) -> T:
    """Downloads a file, going on with what an earlier try left.

    Args:
      address: https, or http where `PLAIN_HTTP` has the host.
      target: where the file goes, replacing what is there.
      check: called with the path of the complete download before it becomes `target`;
        raises ValueError where the content is wrong, and nothing of it is kept.

    Returns:
      What `check` returned.

    Raises:
      DownloadError: the file could not be had; what came of it is kept for the next
        call, unless it can be of no use.
      ValueError: what `check` says.
    """
    check_address(address)
    part = part_of(target)
    _fetch(address, part)
    try:
        result = check(part)
    except ValueError:
        _discard(part)
        raise
    with _disk(part):
        os.replace(part, target)
        _beside(part).unlink(missing_ok=True)
    return result


def part_of(target: Path) -> Path:
    """Returns where a download of `target` is kept until it is complete."""
    return target.with_name(f"{target.name}.dreamjax-part")


def check_address(address: str) -> str:
    """Returns `address` if it may be asked: https, or http of a `PLAIN_HTTP` host.

    Raises:
      DownloadError: it may not.
    """
    parts = urllib.parse.urlsplit(address)
    plain = parts.scheme == "http" and parts.hostname in PLAIN_HTTP
    if not parts.hostname or not (parts.scheme == "https" or plain):
        raise DownloadError(
            f"address={address!r} is not possible: https, or http of"
            f" {', '.join(PLAIN_HTTP)}."
        )
    return address


def check_redirect(before: str, after: str) -> None:
    """Raises DownloadError where a server may not send us from `before` to `after`."""
    secure = urllib.parse.urlsplit(before).scheme == "https"
    if secure and urllib.parse.urlsplit(after).scheme != "https":
        raise DownloadError(f"{before} redirects to {after}, which is not secure.")
    check_address(after)


def say(text: str) -> None:
    """Prints a line on stderr, with control characters shown."""
    print(printable(text), file=sys.stderr, flush=True)


def size_text(size: float) -> str:
    """Returns bytes as people write them: `553MB`."""
    return tqdm.format_sizeof(size, "B")


def _fetch(address: str, part: Path) -> None:
    """Completes `part`, in as many tries as it takes and makes sense."""
    begun = read_begun(address, part)
    if not sys.stderr.isatty():  # the others see a bar
        here = f", of which {size_text(begun.size)} are here" if begun.size else ""
        say(f"downloading {address}{here}")
    failures, best = 0, begun.size
    while not begun.complete:
        try:
            _stream(_Try(address, part, begun))
            return
        except _Dropped as dropped:
            begun = read_begun(address, part)
            # Beyond the best, or a server that ignores Range and always drops would
            # be asked forever.
            if begun.size >= best + PROGRESS:
                failures, best = 0, begun.size
            failures += 1
            if failures >= dropped.tries:
                raise DownloadError(f"{address}: {dropped}, {failures} times.") from (
                    dropped
                )
            wait = _wait(failures, dropped.wait)
            say(f"{part.stem}: {dropped}; again in {wait:.0f} s")
            time.sleep(wait)


def _wait(failures: int, asked: float | None) -> float:
    wait = FIRST_WAIT * 2 ** (failures - 1) if asked is None else asked
    return min(max(wait, 0.0), LONGEST_WAIT)


def _stream(one: _Try) -> None:
    """Asks once for what is missing and appends it to the part."""
    with _ask(one) as response:
        start, total = _placed(one, response)
        with _disk(one.part):
            one.part.parent.mkdir(parents=True, exist_ok=True)
            file = _open_part(one.part, new=start == 0)
        with file:
            if not start:
                _remember(one, _validator(response.headers), total)
            _check_room(one.part, start, total)
            size = _copy(one, response, file, start, total)
    if total is not None and size != total:  # a part that is too long is not used
        raise _Dropped(f"ended after {size} of {total} bytes")


def _open_part(part: Path, *, new: bool) -> IO[bytes]:
    """Opens a part to be gone on with, or begins it; never what a link points to."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
    if new:
        part.unlink(missing_ok=True)
        flags |= os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(part, flags, 0o666), "ab", buffering=0)


def _ask(one: _Try) -> http.client.HTTPResponse:
    headers = {
        "User-Agent": f"dreamjax/{__version__}",
        "Accept-Encoding": "identity",  # a range of compressed bytes is of no use
    }
    if one.begun.size:
        headers["Range"] = f"bytes={one.begun.size}-"
        headers["If-Range"] = one.begun.validator
    request = urllib.request.Request(one.address, headers=headers)
    opener = urllib.request.build_opener(_Redirects)
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(one, error) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{one.address}: {error.reason}.") from error
        why = f"no connection ({error.reason})"
        raise _Dropped(why, tries=TRIES_UNREACHED) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Dropped(f"no answer ({error!r})") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none to a place that may not be asked."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        try:
            check_redirect(req.full_url, newurl)
        except DownloadError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refused(one: _Try, error: urllib.error.HTTPError) -> Exception:
    """Returns what to raise for a status that brings no file."""
    said = f"{error.code} {error.reason}"
    if error.code == 416 and one.begun.size:
        _discard(one.part)
        return _Dropped(f"the server has no such range ({said})", wait=0.0)
    if error.code >= 500 or error.code in PASSING:
        return _Dropped(f"the server said {said}", wait=_retry_after(error.headers))
    return DownloadError(f"{one.address}: the server said {said}.")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a server asks to wait, given as such or as a date."""
    text = headers.get("Retry-After", "")
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _placed(one: _Try, response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Returns at which byte an answer starts, and the size of the whole if known."""
    address, headers = one.address, response.headers
    if headers.get_content_type() == "text/html":  # of a portal, or a page that asks
        raise DownloadError(f"{address}: the server sent a web page, not a file.")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{address}: the server sent a compressed stream.")
    if response.status == 206:
        start, total = _range(headers.get("Content-Range", ""))
        if start != one.begun.size or one.begun.total not in (None, total):
            _discard(one.part)
            raise _Dropped("the server sent another range than was asked for", wait=0.0)
    elif response.status == 200:
        start, total = 0, response.length
    else:
        raise DownloadError(f"{address}: the server said {response.status}.")
    if total is not None and total > LIMIT:
        raise DownloadError(
            f"{address}: {size_text(total)}, more than the {size_text(LIMIT)} that a"
            " file may have."
        )
    return start, total


def _range(text: str) -> tuple[int, int]:
    """Returns the first byte and the size of the whole; -1 where a header says none."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", text, re.ASCII)
    return (int(span[1]), int(span[2])) if span else (-1, -1)


def _copy(
    one: _Try,
    response: http.client.HTTPResponse,
    file: IO[bytes],
    size: int,
    total: int | None,
) -> int:
    """Appends the answer to `file`; returns the size that it has then."""
    with tqdm(
        desc=one.part.stem,
        total=total,
        initial=size,
        unit="B",
        unit_scale=True,
        disable=None,  # where stderr is no terminal
    ) as bar:
        while chunk := _read(response):
            size += len(chunk)
            if size > LIMIT:
                _discard(one.part)
                raise DownloadError(
                    f"{one.address}: the server does not end: stopped after"
                    f" {size_text(LIMIT)}."
                )
            with _disk(one.part):
                _write(file, chunk)
            bar.update(len(chunk))
    with _disk(one.part):
        os.fsync(file.fileno())
    return size


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Dropped(f"the connection broke off ({error!r})") from error


def _write(file: IO[bytes], chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


@contextlib.contextmanager
def _disk(part: Path) -> Iterator[None]:
    """Says of an error of the disk, not of the net, where it happened."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write {str(part)!r}: {error.strerror or error}. What came so far"
            " is kept: run it again when there is room, or let DREAMJAX_CACHE name"
            " another folder."
        ) from error


def _check_room(part: Path, start: int, total: int | None) -> None:
    if total is None:
        return
    with _disk(part):
        free = shutil.disk_usage(part.parent).free
    if free < total - start:
        raise DownloadError(
            f"cannot write {str(part)!r}: {size_text(total - start)} are to come and"
            f" {size_text(free)} are free. Make room, or set DREAMJAX_CACHE to another"
            " folder."
        )


def _validator(headers: Mapping[str, str]) -> str:
    """Returns what If-Range may say: a strong ETag, or a date; "" forbids to resume."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember(one: _Try, validator: str, total: int | None) -> None:
    with _disk(one.part):
        write_text(_beside(one.part), json.dumps([one.address, validator, total]))


def read_begun(address: str, part: Path) -> Begun:
    """Returns what there is of a download; `NOTHING` if it cannot be gone on with."""
    try:
        size = _own_size(part)
        _own_size(_beside(part))
        said: Any = loads(read_bytes(_beside(part)))
        of, validator, total = said
    except (FileNotFoundError, TypeError, ValueError):
        return NOTHING
    if of != address or not validator or (total is not None and size > total):
        return NOTHING
    return Begun(size, validator, total)


def _own_size(path: Path) -> int:
    """Returns the size of a file that is nothing else: no link, no pipe.

    Raises:
      ValueError: it is something else.
      FileNotFoundError: there is none.
    """
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        raise ValueError(f"{path} is not a file of its own.")
    return about.st_size


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)
