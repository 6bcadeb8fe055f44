"""A finished layer of the atlas: its pictures, and a record of plain values."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax.atlas.classes import Top
from dreamjax.atlas.photos import Activity, against_photos
from dreamjax.atlas.recipe import MAIN, NEGATIVE, VARIANT, kind_of
from dreamjax.atlas.taps import Tap
from dreamjax.images import to_uint8
from dreamjax.json_file import loads, read_lines
from dreamjax.metrics.network import selectivity, selectivity_rank
from dreamjax.metrics.picture import picture_metrics
from dreamjax.mining.watch import Watch
from dreamjax.runner import Result

ORDER = (MAIN, VARIANT, NEGATIVE)
DIGITS = 5  # of a number in the record


class Layer(NamedTuple):
    """One layer of a network.

    Attributes:
      record: plain values for JSON; `channels` has one entry for each channel, whose
        `pictures` are the main one, variants and the negative, in this order.
      pictures: [N, P, H, W, 3] uint8, of N channels.
    """

    record: dict[str, Any]
    pictures: np.ndarray


def layer_of(
    result: Result,
    config: Mapping[str, Any],
    tap: Tap,
    activity: Activity,
    respond: Watch,
    classify: Callable[[np.ndarray], list[Top]] | None,
    labels: Sequence[str] = (),
) -> Layer:
    """Returns the layer that the finished sweep of a tap makes.

    Args:
      result: of the sweep of `tap_config`.
      config: of the sweep.
      tap: the layer.
      activity: of the tap that the channels are driven by, on photos.
      respond: how channels of that tap respond to pictures.
      classify: pictures [N, H, W, 3] -> top classes; None where there are none.
      labels: class names, if the channels of this tap are classes.
    """
    images = result.images
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    curves = read_curves(result.files["metrics"])
    seed = min(row["hparams"]["seed"] for row in result.rows)
    # unit -> (run, image) of each picture; a layer that was extended has its new
    # channels last in the rows
    units = dict.fromkeys(config["hparams"]["unit"])
    found: dict[int, list[tuple[int, int]]] = {unit: [] for unit in units}
    for index, row in enumerate(result.rows):
        for number in range(images.shape[1]):
            found[row["hparams"]["unit"]].append((index, number))
    kinds = {
        (index, number): _kind(row["hparams"], seed, number)
        for index, row in enumerate(result.rows)
        for number in range(images.shape[1])
    }
    for places in found.values():
        places.sort(key=lambda place: (ORDER.index(kinds[place]), place))
    mains = np.stack([images[places[0]] for places in found.values()])
    tops = [[]] * len(found) if classify is None else classify(mains)
    shown = result.images[[places[0][0] for places in found.values()], 0]
    responses = respond(shown)[tap.aim].mean
    channels = []
    for (unit, places), top, main, answer in zip(
        found.items(), tops, mains, responses, strict=True
    ):
        row = result.rows[places[0][0]]
        metrics = finite(row["metrics"])
        metrics |= judged(main, unit, answer, metrics)
        plain = metrics.get("score_plain")
        if plain is not None:
            metrics |= finite(against_photos(plain, unit, activity))
        channels.append(
            {
                "unit": unit,
                **({"label": labels[unit]} if labels else {}),
                "metrics": {name: rounded(value) for name, value in metrics.items()},
                "classes": [[index, rounded(share)] for index, share in top],
                "pictures": [
                    _picture(result.rows[run], number, kinds[run, number], curves)
                    for run, number in places
                ],
            }
        )
    record = {
        "tap": tap.name,
        "depth": rounded(tap.depth),
        "shape": list(tap.shape),
        "aim": tap.aim,
        "twin": tap.twin,
        "objective": config["objective"],
        "size": list(images.shape[2:4]),
        "steps": config["steps"],
        "channels": channels,
    }
    pictures = [[images[place] for place in places] for places in found.values()]
    return Layer(record, to_uint8(np.asarray(pictures)))


def _kind(hparams: Mapping[str, Any], seed: int, number: int) -> str:
    kind = kind_of(hparams, seed)
    return VARIANT if kind == MAIN and number > 0 else kind


def judged(
    picture: np.ndarray, unit: int, responses: np.ndarray, have: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the metrics that a run's own lack, computed from its main picture.

    Args:
      picture: [H, W, 3].
      unit: the channel.
      responses: [K], of the channels of the tap that it is driven by.
      have: the run's own metrics.
    """
    found = picture_metrics(picture[None])
    if len(responses) > 1:
        others = np.arange(len(responses)) != unit
        pair = responses[[unit]], responses[None], others.astype(np.float32)
        found["selectivity"] = float(selectivity(*pair)[0])
        found["selectivity_rank"] = float(selectivity_rank(*pair)[0])
    return {name: value for name, value in finite(found).items() if name not in have}


def _picture(
    row: Mapping[str, Any],
    number: int,
    kind: str,
    curves: Mapping[int, list[list[float]]],
) -> dict[str, Any]:
    return {
        "kind": kind,
        "seed": row["hparams"]["seed"],
        "image": number,
        "status": row["status"],
        **{
            name: rounded(value)
            for name, value in finite(row["metrics"]).items()
            if name in ("score", "score_plain")
        },
        "curve": curves.get(row["run"], []) if number == 0 else [],
    }


def read_curves(path: Path) -> dict[int, list[list[float]]]:
    """Returns run -> [[step, score], …] of a log; lines cut short are left out."""
    curves: dict[int, dict[int, float]] = {}
    if not path.is_file():
        return {}
    for line in read_lines(path):
        try:
            row = loads(line)
            run, step = int(row["run"]), int(row["step"])
            score = float(row["score"])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(score):
            curves.setdefault(run, {})[step] = rounded(score)
    return {
        run: [[step, curve[step]] for step in sorted(curve)]
        for run, curve in curves.items()
    }


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics that are finite numbers."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and np.isfinite(value)
    }


def rounded(value: float) -> float | int:
    """Returns a number with as many digits as a page needs."""
    if value == int(value) and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.{DIGITS}g}")
