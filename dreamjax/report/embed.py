"""What every page needs: templates of the package filled with text that stays text."""

import html
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamjax.report import values


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Returns a template of `assets` with each `{{name}}` replaced by `parts[name]`."""
    text = resources.files("dreamjax").joinpath(f"assets/{template}")
    text = text.read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def paragraphs(notes: Sequence[str]) -> str:
    """Returns each note as an HTML paragraph."""
    return "\n".join(f"<p>{html.escape(note)}</p>" for note in notes)


def url(path: str) -> str:
    """Quotes all that could end a path or begin a scheme or query."""
    return quote(path, errors="surrogateescape")


def from_folder(path: str | Path | None, folder: Path) -> str | None:
    """Returns a path as it is from a folder, with forward slashes; "" is None too."""
    if path is None or str(path) == "":
        return None
    if Path(path).is_absolute():
        path = os.path.relpath(path, folder.absolute())
    return Path(path).as_posix()


def json_text(value: Any) -> str:
    """Returns JSON that cannot leave its script element, with NaN as text."""
    text = json.dumps(_finite(value), separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    """Returns plain JSON values; NaN and infinities become their JavaScript names."""
    value = values.plain(value)
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
