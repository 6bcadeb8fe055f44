"""The contact sheet: all pictures of a sweep as one labeled figure.

A sweep over a product of hyperparameters becomes a grid: one row per neuron, one
column per setting. Any other sweep, such as a random search, becomes a wrapped grid
of tiles, best score first, each with its own hyperparameters under it.
"""

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dreamjax.errors import choose, require
from dreamjax.images import to_uint8
from dreamjax.report import values
from dreamjax.report.values import Row

MAX_COLUMNS = 12  # more settings than this are no longer read as columns
MAX_LIST = 4  # a longer single column is no longer seen at a glance
MAX_TILES = 600  # a longer sheet is no longer looked at, and takes gigabytes
MAX_WIDTH = 4000  # pixels
MIN_TILE, MAX_TILE = 128, 320  # pixels
GAP = 10  # between tiles
MARGIN = 28

WHITE, INK, FAINT, RED = (255, 255, 255), (20, 20, 20), (105, 105, 105), (190, 30, 30)
TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE = 21, 15, 13  # pixels
SAFE = {"–": "-", "—": "-", "−": "-", "×": "x", "→": "->", "‘": "'", "’": "'"}
SAFE |= {"“": '"', "”": '"', "≥": ">=", "≤": "<="}
KEPT = "·±"  # beyond ASCII, and in the font
GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "λ": "lambda", "μ": "mu"}
GREEK |= {"µ": "mu", "σ": "sigma", "τ": "tau", "ε": "epsilon", "θ": "theta"}


@dataclass(frozen=True)
class Layout:
    """Where each run goes.

    Attributes:
      cells: rows of columns of indices into the summary rows; None is an empty cell.
      row_labels: one per row of `cells`; empty in a wrapped grid.
      column_labels: one per column, each in parts: ("tv=0.1", "decay=0"); empty in a
        wrapped grid.
      captions: one per summary row, in parts; empty where the labels say it all.
      hidden: number of runs that did not fit.
    """

    cells: tuple[tuple[int | None, ...], ...]
    row_labels: tuple[str, ...]
    column_labels: tuple[tuple[str, ...], ...]
    captions: tuple[tuple[str, ...], ...]
    hidden: int

    @property
    def is_grid(self) -> bool:
        """Whether rows and columns have labels."""
        return bool(self.row_labels)


def layout(rows: Sequence[Row], by: str) -> Layout:
    """Places the runs of a sweep.

    The grid's rows are the values of `by`; its columns are the different combinations
    of all other hyperparameters that vary. Runs that are alike in all of them get
    columns of their own. With more than 12 columns, or more than half of the cells
    empty, the runs are wrapped instead, best score first; a single column of more than
    4 is wrapped in its order. At most 600 runs are placed.

    Args:
      rows: summary rows (`dreamjax.report.values`).
      by: the hyperparameter that names the rows, such as "unit".

    Raises:
      ValueError: for no rows, or where no run has the hyperparameter `by`.
    """
    require(len(rows) > 0, "rows", list(rows), "give at least one run")
    choose("by", by, values.names(rows))
    shown = values.varying(rows)
    others = [name for name in shown if name != by]
    placed: dict[tuple, int] = {}
    columns: dict[tuple, tuple[int, int]] = {}  # key -> (a run of it, repeat)
    for index, row in enumerate(rows):
        line = values.key_of(values.get(row, by))
        setting = tuple(values.key_of(values.get(row, name)) for name in others)
        repeat = 0
        while (line, setting, repeat) in placed:
            repeat += 1
        placed[line, setting, repeat] = index
        columns.setdefault((setting, repeat), (index, repeat))
    lines = values.distinct(rows, by)
    cells = len(lines) * len(columns)
    if len(columns) > MAX_COLUMNS or cells > 2 * len(rows):
        return _wrapped(rows, shown, sorted(range(len(rows)), key=_rank(rows)))
    if len(columns) == 1 and len(lines) > MAX_LIST:
        return _wrapped(rows, shown, range(len(rows)))
    kept = lines[: max(1, MAX_TILES // len(columns))]
    grid = tuple(
        tuple(placed.get((values.key_of(line), *column)) for column in columns)
        for line in kept
    )
    return Layout(
        cells=grid,
        row_labels=tuple(f"{by}={text}" for text in values.shorts(kept)),
        column_labels=_column_labels(rows, others, list(columns.values())),
        captions=((),) * len(rows),
        hidden=len(rows) - sum(i is not None for line in grid for i in line),
    )


def contact_sheet(
    images: np.ndarray,
    rows: Sequence[Row],
    by: str,
    title: str,
    plan: Layout | None = None,
) -> Image.Image:
    """Draws the contact sheet.

    Under each tile stands its score; runs that are not alive are framed in red, with
    their status in its place. Tiles are at least 128 pixels wide, the sheet at most
    4000.

    Args:
      images: [R, H, W, 3] float in [0, 1] or uint8, in the order of `rows`.
      rows: R summary rows.
      by: the hyperparameter that names the rows of the sheet.
      title: stands over the sheet, in up to three lines.
      plan: where each run goes; None takes `layout`.

    Returns:
      An RGB picture.

    Raises:
      ValueError: for images and rows that do not fit, and as in `layout`.
    """
    images = np.asarray(images)
    fits = images.ndim == 4 and images.shape[0] == len(rows) and images.shape[3] == 3
    require(fits, "images.shape", images.shape, f"give [{len(rows)}, H, W, 3]")
    plan = layout(rows, by) if plan is None else plan
    return _draw(images, rows, plan, title)


def _rank(rows: Sequence[Row]) -> Callable[[int], tuple[bool, float]]:
    def rank(index: int) -> tuple[bool, float]:
        score = values.score_of(rows[index])
        return (math.isnan(score), -score)

    return rank


def _wrapped(rows: Sequence[Row], shown: Sequence[str], order: Sequence[int]) -> Layout:
    order = list(order)[:MAX_TILES]
    most = (MAX_WIDTH - 2 * MARGIN + GAP) // (MIN_TILE + GAP)
    width = min(len(order), most, max(4, math.ceil(math.sqrt(1.6 * len(order)))))
    order += [None] * (-len(order) % width)
    return Layout(
        cells=tuple(tuple(order[i : i + width]) for i in range(0, len(order), width)),
        row_labels=(),
        column_labels=(),
        captions=tuple(values.parts(row, shown) for row in rows),
        hidden=max(0, len(rows) - MAX_TILES),
    )


def _column_labels(
    rows: Sequence[Row], others: Sequence[str], columns: Sequence[tuple[int, int]]
) -> tuple[tuple[str, ...], ...]:
    texts = {}  # (name, value) -> text
    for name in others:
        found = values.distinct(rows, name)
        for value, text in zip(found, values.shorts(found), strict=True):
            texts[name, values.key_of(value)] = f"{name}={text}"
    labels = []
    for index, repeat in columns:
        row = rows[index]
        parts = [texts[name, values.key_of(values.get(row, name))] for name in others]
        labels.append((*parts, *[f"repeat {repeat + 1}"] * (repeat > 0)))
    return tuple(labels)


def _draw(
    images: np.ndarray, rows: Sequence[Row], plan: Layout, title: str
) -> Image.Image:
    title_font, label_font, caption_font = (
        ImageFont.load_default(size) for size in (TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE)
    )
    columns = len(plan.cells[0])
    row_texts = [wrap(text, label_font, 170) for text in plan.row_labels]
    side = max((_width(t, label_font) for t in row_texts), default=0)
    side += 14 if side else 0
    room = (MAX_WIDTH - 2 * MARGIN - side + GAP) // columns - GAP
    high, wide = _tile_size(images.shape[1:3], room)
    heads = _heads(plan.column_labels, label_font, wide)
    feet = {
        i: _foot(rows[i], plan.captions[i], caption_font, wide)
        for line in plan.cells
        for i in line
        if i is not None
    }
    head_step, foot_step = LABEL_SIZE + 5, CAPTION_SIZE + 4
    head = max((len(t) for t in heads), default=0) * head_step
    foot = max(len(t) for t in feet.values()) * foot_step + 6
    body = side + columns * (wide + GAP) - GAP
    total = max(body, 420) + 2 * MARGIN
    title_step = TITLE_SIZE + 7
    titles = _few(wrap(title, title_font, total - 2 * MARGIN), 3)
    top = MARGIN + len(titles) * title_step + 16
    line_height = high + foot + GAP
    note = f"{plan.hidden} of {len(rows)} runs are not shown." if plan.hidden else ""
    height = top + head + len(plan.cells) * line_height + MARGIN - GAP
    height += foot_step * bool(note)

    sheet = Image.new("RGB", (total, height), WHITE)
    draw = ImageDraw.Draw(sheet)
    _lines(draw, (MARGIN, MARGIN - 4), titles, title_font, title_step, INK, "la")
    for column, text in enumerate(heads):
        x = MARGIN + side + column * (wide + GAP) + wide // 2
        y = top + head - len(text) * head_step - 4
        _lines(draw, (x, y), text, label_font, head_step, INK, "ma")
    for line, indices in enumerate(plan.cells):
        y = top + head + line * line_height
        if plan.is_grid:
            text = row_texts[line]
            middle = y + (high - len(text) * head_step) // 2
            right = MARGIN + side - 14
            _lines(draw, (right, middle), text, label_font, head_step, INK, "ra")
        for column, index in enumerate(indices):
            if index is None:
                continue
            x = MARGIN + side + column * (wide + GAP)
            sheet.paste(_tile(images[index], (high, wide)), (x, y))
            alive = rows[index].get("status", "alive") == "alive"
            if not alive:
                box = (x - 3, y - 3, x + wide + 2, y + high + 2)
                draw.rectangle(box, outline=RED, width=3)
            first, *rest = feet[index]
            anchor = "ma" if plan.is_grid else "la"
            spot = (x + wide // 2 if plan.is_grid else x, y + high + 6)
            _lines(draw, spot, [first], caption_font, 0, INK if alive else RED, anchor)
            spot = (spot[0], spot[1] + foot_step)
            _lines(draw, spot, rest, caption_font, foot_step, FAINT, anchor)
    if note:
        draw.text((MARGIN, height - MARGIN - 8), note, FAINT, caption_font)
    return sheet


def _tile_size(size: tuple[int, int], room: int) -> tuple[int, int]:
    """Returns (height, width): the picture's own size where that fits."""
    height, width = size
    most = max(MIN_TILE, min(MAX_TILE, room))
    scale = 1.0
    if max(size) > most:
        scale = most / max(size)
    if round(width * scale) < MIN_TILE:
        scale = MIN_TILE / width
    return max(1, round(height * scale)), max(1, round(width * scale))


def _tile(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    pixels = image if image.dtype == np.uint8 else to_uint8(image)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if pixels.shape[:2] == size:
        return picture
    return picture.resize(size[::-1], Image.Resampling.LANCZOS)


def _heads(
    labels: Sequence[Sequence[str]], font: ImageFont.FreeTypeFont, width: int
) -> list[list[str]]:
    """Returns the lines over each column: one line, or one per part in all columns."""
    joined = [", ".join(parts) for parts in labels]
    if all(font.getlength(text) <= width for text in joined):
        return [[_printable(text)] if text else [] for text in joined]
    return [_few(wrap_all(parts, font, width), 8) for parts in labels]


def _foot(
    row: Row, parts: Sequence[str], font: ImageFont.FreeTypeFont, width: int
) -> list[str]:
    """Returns the lines under a tile: its score or what befell it, then `parts`."""
    status = row.get("status", "alive")
    alive = status == "alive"
    first = f"score {values.short(values.score_of(row))}" if alive else status
    return [*wrap(first, font, width)[:1], *_few(wrap_all(parts, font, width), 10)]


def _few(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], "..."]


def wrap_all(
    texts: Sequence[str], font: ImageFont.FreeTypeFont, width: int
) -> list[str]:
    """Returns the lines of several texts, each on its own line or lines."""
    return [line for text in texts for line in wrap(text, font, width)]


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Breaks a text at spaces into lines of at most `width` pixels.

    A word that is too long is broken after a sign in it, or else anywhere.
    """
    lines: list[str] = []
    for word in _printable(text).split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        while font.getlength(word) > width and len(word) > 1:
            count = len(word) - 1
            while count > 1 and font.getlength(word[:count]) > width:
                count -= 1
            signs = [i + 1 for i in range(count) if word[i] in "=_/:-,"]
            count = signs[-1] if signs else count
            lines.append(word[:count])
            word = word[count:]
        lines.append(word)
    return lines


def _printable(text: str) -> str:
    """Returns the text in the letters that Pillow's bundled font has."""
    known = "".join({**SAFE, **GREEK}.get(c, c) for c in str(text))
    plain = unicodedata.normalize("NFKD", known)
    letters = (c for c in plain if not unicodedata.combining(c))
    return "".join(
        c if c in KEPT or (c.isascii() and c.isprintable()) else "?" for c in letters
    )


def _width(lines: Sequence[str], font: ImageFont.FreeTypeFont) -> int:
    return max((math.ceil(font.getlength(line)) for line in lines), default=0)


def _lines(
    draw: ImageDraw.ImageDraw,
    spot: tuple[int, int],
    lines: Sequence[str],
    font: ImageFont.FreeTypeFont,
    step: int,
    color: tuple[int, int, int],
    anchor: str,
) -> None:
    for number, line in enumerate(lines):
        place = (spot[0], spot[1] + number * step)
        draw.text(place, line, color, font, anchor=anchor)
