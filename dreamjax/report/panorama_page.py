"""The page of a panorama: one HTML file to look around in pictures and videos.

It needs no library and no network. Browsers do not let a page that was opened from
disk read the pixels of files beside it, so pictures are either put into the page
(`data_url`), or the page and its files are served: `python -m http.server`.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from dreamjax.errors import choose, require
from dreamjax.report import embed

KINDS = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
"""What the page shows, by the end of the file's name."""


def panorama_page(
    sources: Mapping[str, str], title: str, notes: Sequence[str] = ()
) -> str:
    """Returns the HTML of a viewer for equirectangular pictures and videos.

    Mouse, touch, arrow keys and wheel turn and zoom; buttons switch between the
    sources and keep the view, so that a dream can be held against its photo, and two
    videos are compared at the same moment. The address keeps what is looked at:
    `#yaw=30&pitch=-10&fov=75&which=dream`, in the degrees of
    `dreamjax.panorama.perspective`.

    Args:
      sources: label of the button -> name of a file beside the page (a relative path,
        with forward slashes), or what `data_url` makes of a file. The first one is
        shown first.
      title: the heading.
      notes: paragraphs under it.

    Raises:
      ValueError: for no source, or a name that does not end as `KINDS`.
    """
    require(len(sources) > 0, "sources", dict(sources), "give at least one panorama")
    records = [_record(label, address) for label, address in sources.items()]
    parts = {
        "title": html.escape(title),
        "notes": embed.paragraphs(notes),
        "plain": "\n".join(_plain(record) for record in records),
        "data": embed.json_text(records),
    }
    return embed.fill("panorama.html", parts)


def data_url(path: str | Path) -> str:
    """Returns a picture or video as a `data:` address, a third larger than the file.

    Args:
      path: a file that ends as `KINDS`.

    Raises:
      ValueError: for another name, or where there is no such file.
    """
    path = Path(path)
    kind = KINDS[choose("path suffix", path.suffix.lower(), KINDS)]
    require(path.is_file(), "path", str(path), "give a file that exists")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _record(label: str, address: str) -> dict[str, str]:
    if address.startswith("data:"):
        kind = address.removeprefix("data:").partition(";")[0]
        choose("type of a data: address", kind, dict.fromkeys(KINDS.values()))
    else:
        suffix = PurePosixPath(address).suffix.lower()
        kind = KINDS[choose("file type of a source", suffix, KINDS)]
        address = embed.url(address)
    return {"label": str(label), "url": address, "kind": kind.partition("/")[0]}


def _plain(record: Mapping[str, str]) -> str:
    """Returns a source as it is shown without JavaScript."""
    label, url = (html.escape(record[key], quote=True) for key in ("label", "url"))
    if url.startswith("data:"):  # once is enough for megabytes
        return f"<p>{label}: this page needs JavaScript.</p>"
    return f'<p><a href="{url}">{label}</a></p>'
