"""Panels with objectives of their own in one program.

Every call that some panel needs gets a slot: a weight, which is 0 where a panel does
not need it, and the units that it reads. All of them are hyperparameters, so that a
neuron, a class and a whole layer, or units of many layers, are runs of one program. It
saves compiling and costs that all run as deep as the deepest.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dreamjax.errors import require


class Term(NamedTuple):
    """One summand of a panel's objective.

    Attributes:
      call: as in a config's objective, with {} for each of its units, such as
        'channel("b8", {})' or 'energy("b8")'.
      units: one number for each {}.
      weight: that it is multiplied by.
    """

    call: str
    units: tuple[int, ...] = ()
    weight: float = 1.0


def channel_term(tap: str, unit: int, weight: float = 1.0) -> Term:
    """Returns the term of a channel's mean."""
    return Term(f'channel("{tap}", {{}})', (unit,), weight)


def mixture(
    panels: Sequence[Sequence[Term]],
) -> tuple[str, dict[str, tuple[float, ...]]]:
    """Returns the objective of all panels, and its hyperparameters by name, [R] each.

    They go side by side: config.sweep is "zip". A panel that has one call several
    times has as many slots of it.

    Raises:
      ValueError: no panel, a panel without a term, or units that are not as many as the
        call has places.
    """
    require(len(panels) > 0, "panels", panels, "at least one")
    slots: dict[tuple[str, int], list[Term | None]] = {}
    for number, panel in enumerate(panels):
        require(len(panel) > 0, "panels", panel, "each has at least one term")
        seen: Counter[str] = Counter()
        for term in panel:
            places = term.call.count("{}")
            require(len(term.units) == places, term.call, term.units, f"{places} units")
            slot = (term.call, seen[term.call])
            seen[term.call] += 1
            slots.setdefault(slot, [None] * len(panels))[number] = term
    parts, hparams = [], {}
    for i, ((call, _), terms) in enumerate(slots.items()):
        names = [f"unit{i}_{j}" for j in range(call.count("{}"))]
        hparams[f"weight{i}"] = tuple(0.0 if t is None else t.weight for t in terms)
        for j, name in enumerate(names):
            hparams[name] = tuple(0 if t is None else t.units[j] for t in terms)
        parts.append(f"weight{i}*{call.format(*names)}")
    return " + ".join(parts), hparams
