"""The judgments of one sweep's pictures: a durable log, what to ask next, the ranking.

`judgments.jsonl` in the folder of the sweep has one line per answer, in order:

    {"left": 3, "right": 17, "answer": "left", "time": "2026-01-31T12:00:00+00:00"}
    {"answer": "undo", "time": …}

"left" and "right" are numbers of runs, an answer is left, right, tie, skip or undo.
Lines are only ever appended, each synced before the next pair is shown; "undo" takes
back the last answer that still stands. A last line that a kill cut short is dropped.
"""

import contextlib
import csv
import datetime
import fcntl
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dreamjax.errors import choose, require
from dreamjax.files import write_text
from dreamjax.json_file import loads, read_lines
from dreamjax.paths import given_path
from dreamjax.preference import Judgment, Ranking, next_pair, rank
from dreamjax.report.effects import (
    hparam_column,
    metric_column,
    metrics_of,
    rank_correlation,
    swept_numbers,
)
from dreamjax.report.summary import Row, read_summary

LOG, RANKING, PREFERENCE = "judgments.jsonl", "ranking.csv", "preference.csv"
WINS = {"left": 1.0, "tie": 0.5, "right": 0.0}
ANSWERS = (*WINS, "skip", "undo")


class Answer(NamedTuple):
    """One answer that stands: two runs, and left, right, tie or skip."""

    left: int
    right: int
    answer: str


def candidates(workdir: str | Path, top: int = 0) -> list[Row]:
    """Returns the rows of the runs with a picture; of these the `top` best by score.

    Args:
      workdir: folder of a finished sweep.
      top: how many; 0 takes all.

    Raises:
      ValueError: as in `read_summary`, or fewer than two pictures.
    """
    workdir = given_path("workdir", workdir)
    rows = [row for row in read_summary(workdir) if picture_of(workdir, row)]
    require(top >= 0, "top", top, "at least 0")
    if top:
        scores = metric_column(rows, "score")
        order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:top]
        rows = [rows[i] for i in sorted(order.tolist())]
    if len(rows) < 2:
        raise ValueError(
            f"workdir={str(workdir)!r} has {len(rows)} pictures to compare: at least 2."
        )
    return rows


def picture_of(workdir: Path, row: Row) -> Path | None:
    """Returns the file of a run's picture: a PNG inside the folder, or None."""
    if row["image"] is None:
        return None
    path, root = (workdir / row["image"]).resolve(), workdir.resolve()
    inside = path.is_relative_to(root) and path.suffix == ".png" and path.is_file()
    return path if inside else None


def read_log(path: Path) -> list[Answer]:
    """Returns the answers that stand.

    Raises:
      ValueError: a damaged line that is not the last; its number is named.
    """
    standing: list[Answer] = []
    if not path.exists():
        return standing
    for number, line in enumerate(read_lines(path), 1):
        try:
            _apply(standing, loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(path)!r} is damaged in line {number} ({error}). Repair or delete"
                " that line."
            ) from error
    return standing


def _apply(standing: list[Answer], entry: dict[str, Any]) -> None:
    answer = choose("answer", entry["answer"], ANSWERS)
    if answer == "undo":
        if standing:
            standing.pop()
        return
    left, right = entry["left"], entry["right"]
    whole = type(left) is int and type(right) is int and left != right
    require(whole, "left, right", (left, right), "two different runs")
    standing.append(Answer(left, right, answer))


class Session:
    """The state of judging: what was answered and what is asked.

    Everything follows from the seed and the log, so a restart goes on with the same
    pair. Not for several threads at once.
    """

    def __init__(
        self, workdir: Path, rows: Sequence[Row], log: IO[bytes] | None, seed: int = 0
    ):
        """Takes a log open for appending, or None to read only."""
        self.workdir, self.rows = workdir, list(rows)
        self._log, self._seed = log, seed
        self._index = {row["run"]: i for i, row in enumerate(self.rows)}
        self.answers = read_log(workdir / LOG)
        self._update()

    def _update(self) -> None:
        known = [a for a in self.answers if {a.left, a.right} <= self._index.keys()]
        at = self._index
        self.judgments = [
            Judgment(at[a.left], at[a.right], WINS[a.answer])
            for a in known
            if a.answer in WINS
        ]
        skipped = [(at[a.left], at[a.right]) for a in known if a.answer == "skip"]
        self.ranking = rank(len(self.rows), self.judgments)
        found = next_pair(
            self.ranking,
            [(j.first, j.second) for j in self.judgments],
            np.random.default_rng([self._seed, len(self.answers)]),
            skipped,
        )
        self.pair = None if found is None else tuple(self.rows[i]["run"] for i in found)

    @property
    def number(self) -> int:
        """The number of the question: how many answers stand."""
        return len(self.answers)

    def answer(self, answer: str) -> None:
        """Appends an answer to the pair that is asked, or an undo; durable on return.

        Raises:
          ValueError: an unknown answer, or one where no pair is left.
        """
        choose("answer", answer, ANSWERS)
        require(self._log is not None, "log", None, "this session only reads")
        entry: dict[str, Any] = {"answer": answer}
        if answer != "undo":
            require(self.pair is not None, "answer", answer, "no pair is left")
            entry = {"left": self.pair[0], "right": self.pair[1], **entry}
        elif not self.answers:
            return
        entry["time"] = datetime.datetime.now(datetime.UTC).isoformat("T", "seconds")
        self._log.write(json.dumps(entry).encode() + b"\n")
        self._log.flush()
        os.fsync(self._log.fileno())
        _apply(self.answers, entry)
        self._update()

    def export(self) -> dict[str, Path]:
        """Writes `ranking.csv` and `preference.csv`; returns name -> path."""
        table = ranking_csv(self.rows, self.ranking, self.judgments)
        relations = preference_csv(self.rows, self.ranking)
        return {
            "ranking": write_text(self.workdir / RANKING, table),
            "preference": write_text(self.workdir / PREFERENCE, relations),
        }


@contextlib.contextmanager
def open_log(workdir: Path) -> Iterator[IO[bytes]]:
    """Opens the log for appending, without a last line that a kill cut short.

    Raises:
      ValueError: another process judges this sweep.
    """
    with (workdir / LOG).open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"workdir={str(workdir)!r} is judged by another process: go on there,"
                " or end it."
            ) from None
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        yield file


def ranking_csv(
    rows: Sequence[Row], ranking: Ranking, judgments: Sequence[Judgment]
) -> str:
    """Returns the judged runs, the strongest first, with all that is known of them."""
    ties = np.zeros(len(rows), int)
    for judgment in judgments:
        if judgment.first_wins == 0.5:
            ties[[judgment.first, judgment.second]] += 1
    hparams = list(dict.fromkeys(name for row in rows for name in row["hparams"]))
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    own = ["rank", "run", "strength", "error", "wins", "ties", "judgments"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*own, "status", *metrics, *hparams, "image"])
    order = np.argsort(-ranking.strength, kind="stable").tolist()
    judged = [i for i in order if ranking.judgments[i] > 0]
    for place, i in enumerate(judged, 1):
        row = rows[i]
        writer.writerow(
            [
                place,
                row["run"],
                f"{ranking.strength[i]:.4f}",
                f"{ranking.error[i]:.4f}",
                f"{ranking.wins[i]:g}",
                ties[i],
                ranking.judgments[i],
                row["status"],
                *(row["metrics"].get(name, "") for name in metrics),
                *(row["hparams"].get(name, "") for name in hparams),
                row["image"],
            ]
        )
    return text.getvalue()


def correlations(
    rows: Sequence[Row], ranking: Ranking
) -> list[tuple[str, str, float, int]]:
    """Returns (kind, name, Spearman's ρ with the strength, runs) over judged runs.

    Kind is "metric" or "hyperparameter"; ρ is NaN for fewer than 3 runs.
    """
    judged = np.flatnonzero(ranking.judgments > 0)
    among, strength = [rows[i] for i in judged], ranking.strength[judged]
    columns = [("metric", n, metric_column(among, n)) for n in metrics_of(among)]
    columns += [
        ("hyperparameter", n, hparam_column(among, n)) for n in swept_numbers(among)
    ]
    return [(kind, n, *rank_correlation(x, strength)) for kind, n, x in columns]


def preference_csv(rows: Sequence[Row], ranking: Ranking) -> str:
    """Returns how preference goes with each metric and hyperparameter, as a table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "name", "rank_correlation", "n"])
    for kind, name, rho, runs in correlations(rows, ranking):
        writer.writerow([kind, name, "" if math.isnan(rho) else f"{rho:.4f}", runs])
    return text.getvalue()
