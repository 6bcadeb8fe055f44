"""One line of text: every form it may have, and everything that is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import objectives, text, transforms
from dreamjax.hparams import Hparam
from dreamjax.labels import class_index, imagenet_labels
from dreamjax.text import parse_call, parse_objective, parse_transforms

LABELS = ("tench", "great white shark", "espresso", "carton")
# One image, one position: channel 3 of b8 is 4, channel 7 is 8, and so on.
TAPS = {
    "b8": jnp.arange(1.0, 13.0).reshape(1, 1, 1, 12),
    "b2": jnp.array([2.0, 0.0]).reshape(1, 1, 1, 2),  # energy 2
    "b5/expand/pre": jnp.array([5.0, 6.0]).reshape(1, 1, 1, 2),
    "conv#1": jnp.array([7.0, 9.0]).reshape(1, 1, 1, 2),
    "logits": jnp.array([[0.0, 1.0, 2.0, 3.0]]),
    "probabilities": jnp.array([[0.1, 0.2, 0.3, 0.4]]),
}
HPARAMS = {"unit": 7, "weight": 0.5, "espresso": 1}


def parse(line):
    return parse_objective(line, hparams=HPARAMS, labels=LABELS, taps=TAPS)


def value(line):
    parsed = parse(line)
    score = parsed.objective(TAPS, {**HPARAMS, **parsed.constants})
    assert np.shape(score) == (1,)
    assert np.all(np.isfinite(score))
    return float(score[0])


@pytest.mark.parametrize(
    "line, score",
    [
        ("b8:3", 4.0),
        (" b8 : 3 ".replace(" :", ":"), 4.0),
        ("b8:unit", 8.0),
        ("b5/expand/pre:1", 6.0),
        ("conv#1:1", 9.0),
        ("b2", 2.0),
        ("logits:2", 2.0),
        ("logits:carton", 3.0),
        ("logits:Great White Shark", 1.0),
        ("probabilities:carton", 0.4),
        ("logits:espresso", 1.0),  # a hyperparameter of that name comes first
        ('logit("espresso")', 2.0),
        ("logit(espresso)", 1.0),
        ("logit(2)", 2.0),
        ("logit(index='carton')", 3.0),
        ('probability("carton")', 0.4),
        ('log_probability("carton")', 3 - np.log(np.exp([0, 1, 2, 3]).sum())),
        ('channel("b8", 3)', 4.0),
        ('channel("b8", unit)', 8.0),
        ('neuron("b8", 3, y=0, x=0)', 4.0),
        ('0.2*channel("b8", 3) + 0.8*channel("b8", 7)', 0.8 + 6.4),
        ('channel("b8", 3) - 1e-3*energy("b2")', 4 - 0.002),
        # Precedence and signs.
        ('2 + 3 * channel("b8", 3)', 14.0),
        ('(2 + 3) * channel("b8", 3)', 20.0),
        ('10 - channel("b8", 3) - 1', 5.0),
        ('channel("b8", 3) / 2 / 2', 1.0),
        ('8 / channel("b8", 3)', 2.0),
        ('-channel("b8", 3)', -4.0),
        ('-channel("b8", 3) + 1', -3.0),
        ('-2 * channel("b8", 3)', -8.0),
        ('-(2 * channel("b8", 3))', -8.0),
        ('1 - -channel("b8", 3)', 5.0),
        # Hyperparameters as weights.
        ('weight * channel("b8", 3)', 2.0),
        ('channel("b8", 3) * weight', 2.0),
        ('-weight * channel("b8", 3)', -2.0),
        ('weight + weight * channel("b8", 3)', 2.5),
        ('(weight + weight) * channel("b8", 3)', 4.0),
        ('direction_at("b8", vector)', 12.0),
    ],
)
def test_forms(line, score, monkeypatch):
    monkeypatch.setitem(HPARAMS, "vector", np.eye(12, dtype=np.float32)[11])
    assert value(line) == pytest.approx(score, rel=1e-6)


def test_numbers_become_constants():
    parsed = parse('0.25*channel("b8", 3) - 2*channel("b8", unit)')
    assert parsed.constants == {"c0": 0.25, "c1": 3, "c2": 2}
    assert parsed.objective.hparams == {"c0", "c1", "c2", "unit"}
    assert parse("b8:-1").constants == {"c0": -1}
    assert parse("logits:carton").constants == {"c0": 3}
    assert parse("b8:unit").constants == {}
    assert parse(" b8:12 ").objective.text == "b8:12"
    reads = parse("b8:12").objective.reads
    assert reads == (objectives.Read("b8", "channel", Hparam("c0")),)


def test_constants_leave_the_callers_names_alone():
    parsed = parse_objective('0.5*channel("b8", 3) + c0*energy("b2")', hparams=["c0"])
    assert parsed.constants == {"c1": 0.5, "c2": 3}
    hp = {"c0": 10.0, **parsed.constants}
    assert float(parsed.objective(TAPS, hp)[0]) == pytest.approx(22.0)


@pytest.mark.parametrize(
    "line, says",
    [
        ("b9:3", "tap='b9' is not known. Allowed: b8, b2"),
        ("conv#2:1", 'Did you mean "conv#1"'),
        ("logit:3", "tap='logit' is not known. Did you mean \"logits\""),
        ("b8:unti", 'Did you mean "unit"'),
        ("b8:1.5", "neither a number nor a"),
        ("b8:--3", "neither a number nor a"),
        ("b8:²", "neither a number nor a"),
        ("logits:esspreso machine", "not one of the 4 class names"),
        ("logits:cartn", 'Did you mean "carton"'),
        ("logits:4", None),  # in range of no label, but found by check_objective
        ('logit("cartn")', 'Did you mean "carton"'),
        ('logit("7")', "allowed 0 … 3"),
        ("logit(carton)", "tap names and labels are quoted"),
        ('chanel("b8", 3)', "objective's function='chanel' is not known. Did you"),
        ('chanel("b8", 3)', 'mean "channel"'),
        ("channel(b8, 3)", "'b8' is not a hyperparameter"),
        ('channel("b8")', "missing a required argument: 'channel'"),
        ('channel("b8", 1, 2)', "too many positional arguments"),
        ('channel("b8", chanel=1)', "missing a required argument"),
        ('channel("b8", 1, power=1)', "unexpected keyword argument 'power'"),
        ('channel("b8", "b2")', "channel cannot be the text 'b2'"),
        ("channel(3, 3)", "tap cannot be a number"),
        ("channel(unit, 3)", "tap cannot be a number"),
        ('match("b8", 3)', "target cannot be a number"),
        ('channel("b8", 1 + 2)', "cannot be an argument of channel"),
        ('channel("b8", energy("b2"))', "cannot be an argument of channel"),
        ('energy("b8") * "b2"', "'b2' is not an objective"),
        ('-"b8"', "'b8' is not an objective"),
        ("3", "reads no tap"),
        ("unit", "'unit' is not known"),  # a word alone is a tap
        ("weight * 2", "reads no tap"),
        ('"b8"', "reads no tap"),
        ("", "cannot be read"),
        ("   ", "cannot be read"),
        ('channel("b8", 3', "cannot be read"),
        ("b8:3:4", "cannot be read"),
        ("3 *", "cannot be read"),
        ('channel("b8", 3), channel("b8", 4)', "is not allowed here"),
        ('energy("b8") ** 2', "is not allowed here"),
        ('energy("b8") @ energy("b8")', "is not allowed here"),
        ('energy("b8") // 2', "is not allowed here"),
        ('energy("b8") < 2', "is not allowed here"),
        ('+energy("b8")', "is not allowed here"),
        ('not energy("b8")', "is not allowed here"),
        ('channel("b8", None)', "is not allowed here"),
        ('channel("b8", 3j)', "is not allowed here"),
        ('channel("b8", [3])', "is not allowed here"),
        ('channel("b8", ...)', "is not allowed here"),
        ('channel(b"b8", 3)', "is not allowed here"),
    ],
)
def test_refused(line, says):
    if says is None:
        with pytest.raises(ValueError, match=r"0 … 3"):
            parsed = parse(line)
            shapes = {name: tap.shape for name, tap in TAPS.items()}
            values = {name: [c] for name, c in parsed.constants.items()}
            objectives.check_objective(parsed.objective, shapes, values)
        return
    with pytest.raises(ValueError) as error:
        parse(line)
    assert says in str(error.value)


HOSTILE = [
    "__import__('os').system('touch {path}')",
    "open('{path}', 'w')",
    "channel(open('{path}', 'w'), 3)",
    "exec('open({path!r}, \"w\")')",
    "eval('1')",
    "channel.__globals__",
    "channel.__class__.__mro__[1].__subclasses__()",
    "channel('b8', 3).score.__globals__['np'].save('{path}', 1)",
    "(lambda: open('{path}', 'w'))()",
    "lambda taps, hp: 1",
    "[open('{path}', 'w') for _ in (1,)]",
    "{{open('{path}', 'w') for _ in (1,)}}",
    "channel('b8', [c for c in (1,)][0])",
    'channel(f\'{{open("{path}", "w")}}\', 3)',
    "f'b8'",
    "channel(**{{'tap': 'b8', 'channel': 3}})",
    "channel(*('b8', 3))",
    "channel('b8', (x := 3))",
    "energy('b8') if 1 else energy('b2')",
    "energy('b8') and open('{path}', 'w')",
    "'b8' * 1000000000 * energy('b8')",
    "channel('b8', 9 ** 9 ** 9 ** 9)",
    "channel('b8', 3)('b8')",
    "channel('b8', 3)[0]",
    "await energy('b8')",
    "import os",
    "x = energy('b8')",
    "energy('b8'); open('{path}', 'w')",
    "energy('b8')\nopen('{path}', 'w')",
    "energy('b8\0')",
    "b8\n:3\x00",
    "(" * 100_000 + "1" + ")" * 100_000,
    "-" * 100_000 + "energy('b8')",
    "-" * 300 + "energy('b8')",
    "+".join(["energy('b8')"] * 5000),
    "energy(" * 150 + "'b8'" + ")" * 150,
    "b8:" + "9" * 5000,
    "channel('b8', " + "9" * 5000 + ")",
    "\ud800",
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: ascii(line[:30]))
def test_hostile_text_is_refused_and_nothing_runs(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "written"
    line = line.replace("{path!r}", repr(str(path))).replace("{path}", str(path))
    line = line.replace("{{", "{").replace("}}", "}")
    for read in (
        lambda: parse(line),
        lambda: parse_transforms(line, factories=transforms.TRANSFORMS),
        lambda: parse_call(line, argument="x", functions={"uniform": max}),
    ):
        with pytest.raises(ValueError) as error:
            read()
        assert len(str(error.value)) < 2000
    assert list(tmp_path.iterdir()) == []


def test_a_sum_of_many_terms():
    terms = [f'0.5*channel("b8", {n % 12})' for n in range(48)]
    assert value(" + ".join(terms)) == pytest.approx(0.5 * 4 * 78, rel=1e-5)


def test_every_objective_can_be_written():
    """A new entry needs a line here."""
    lines = {
        "neuron": 'neuron("b8", 3)',
        "channel": 'channel("b8", 3)',
        "direction": 'direction("b8", vector, cos_power=2)',
        "direction_at": 'direction_at("b8", vector, 0, x=0)',
        "random_direction": 'random_direction("b8", 1)',
        "energy": 'energy("b8")',
        "one_of": 'one_of("b2, b8", 1)',
        "guided": 'guided("b8")',
        "logit": "logit(1)",
        "probability": "probability(1)",
        "log_probability": "log_probability(1)",
        "diversity": 'diversity("b8")',
        "alignment": 'alignment("b8", decay=3)',
        "interpolation": 'interpolation("b8", 1, "b2", 0)',
        "difference": 'difference("b8", 1, 2)',
        "match": 'match("b8")',
        "caricature": 'caricature("b8", cos_power=2)',
    }
    assert lines.keys() == objectives.OBJECTIVES.keys()
    for name, line in lines.items():
        parsed = parse_objective(line, hparams=["vector"])
        made = objectives.OBJECTIVES[name]
        assert parsed.objective.text == line
        assert parsed.objective.needs_target == (
            name in ("guided", "match", "caricature")
        )
        assert made.__doc__


# Transforms and calls.


def recorder(calls, name):
    def factory(pixels=0, *, limit: int | None = None, steps: int = 0):
        calls.append((name, pixels, limit, steps))
        return name

    return factory


@pytest.fixture
def factories():
    calls = []
    table = {"jitter": recorder(calls, "jitter"), "crop": recorder(calls, "crop")}
    table["pad"] = lambda pixels, value=0.5: calls.append(("pad", pixels, value))
    return calls, table


def test_transforms(factories):
    calls, table = factories
    line = "pad(12, 'edge'), jitter(8), crop, jitter(steps=3), pad(2, value=-1.5)"
    found, read = parse_transforms(line, factories=table)
    assert len(found) == 5
    assert read == frozenset()
    assert calls == [
        ("pad", 12, "edge"),
        ("jitter", 8, None, 0),
        ("crop", 0, None, 0),
        ("jitter", 0, None, 3),
        ("pad", 2, -1.5),
    ]
    assert parse_transforms("  ", factories=table) == ((), frozenset())


def test_transforms_read_hyperparameters_with_limits(factories):
    calls, table = factories
    hparams, limits = {"low": 0, "high": 9, "other": 1}, {"low": 3, "high": 9}
    line = (
        "jitter(low), jitter(high, limit=20), jitter(pixels=high), jitter(other),"
        " pad(low)"
    )
    _, read = parse_transforms(line, factories=table, hparams=hparams, limits=limits)
    assert read == {"low", "high", "other"}
    low, high, other = Hparam("low"), Hparam("high"), Hparam("other")
    assert calls == [
        ("jitter", low, 3, 0),
        ("jitter", high, 20, 0),
        ("jitter", high, 9, 0),
        ("jitter", other, None, 0),
        ("pad", low, 0.5),
    ]


@pytest.mark.parametrize(
    "line, says",
    [
        ("jiter(3)", 'Did you mean "jitter"'),
        ("pad(low)", "'low' is not a hyperparameter"),
        ("pad(2 * 3)", "is not allowed here"),
        ("pad(-low)", "is not allowed here"),
        ("pad()", "missing a required argument: 'pixels'"),
        ("pad(1, width=3)", "unexpected keyword argument 'width'"),
        ("pad(1) jitter(2)", "cannot be read"),
        ("pad(1) + jitter(2)", "is not a call"),
        ("3", "is not a call"),
        ("'pad'", "is not a call"),
        ("jitter('3', steps='x')", "steps cannot be the text 'x'"),
        ("pad(1), 3", "'3' is not a call"),
    ],
)
def test_transforms_refused(factories, line, says):
    with pytest.raises(ValueError) as error:
        parse_transforms(line, factories=factories[1])
    assert says in str(error.value)


def test_transforms_for_real():
    hparams = {"shift": 4.0}
    found, read = parse_transforms(
        "pad(2), jitter(shift)",
        factories=transforms.TRANSFORMS,
        hparams=hparams,
        limits={"shift": 4},
    )
    assert read == {"shift"}
    assert len(found) == 2


def test_call():
    functions = {"log_uniform": lambda low, high: (low, high), "choice": lambda *v: v}

    def call(line):
        return parse_call(line, argument="hparams.tv", functions=functions)

    assert call("log_uniform(1e-4, 1)") == (1e-4, 1)
    assert call("log_uniform(-2, high=0.5)") == (-2, 0.5)
    assert call("choice(1, 'coffee')") == (1, "coffee")
    for line, says in {
        "log_unifrom(1, 2)": "hparams.tv's function='log_unifrom'",
        "log_uniform(1)": "missing a required argument: 'high'",
        "log_uniform(low, 1)": "'low' is not a hyperparameter",
        "3": "is not a call",
        "log_uniform": "is not a call",
        "choice(1)(2)": "is not allowed here",
        "choice(1 + 2)": "is not allowed here",
    }.items():
        with pytest.raises(ValueError) as error:
            call(line)
        assert says in str(error.value)


# Labels.


def test_imagenet_labels():
    labels = imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000
    assert all(label == label.strip() != "" for label in labels)
    assert not any(text.SHORT.fullmatch(f"logits:{label}") is None for label in labels)
    assert not any(label.isdecimal() for label in labels)
    assert all(class_index(label, labels) == i for i, label in enumerate(labels))
    # A dog and a garment.
    assert class_index("Cardigan", labels) == 264
    assert class_index("cardigan", labels) == 474


def test_class_index():
    assert class_index("ESPRESSO", LABELS) == 2
    assert class_index("3", LABELS) == class_index(3, LABELS) == 3
    assert class_index("12", ()) == 12
    for label, labels, says in [
        ("espreso", LABELS, 'Did you mean "espresso"'),
        ("4", LABELS, "allowed 0 … 3"),
        (-1, LABELS, "allowed 0 … 3"),
        ("--1", LABELS, "not one of the 4 class names"),
        ("espresso", (), "no labels"),
        ("crane", ("crane", "tench", "Crane", "crane"), "one of 0, 3."),
        ("CRANE", ("crane", "tench", "Crane"), "one of 0, 2."),
    ]:
        with pytest.raises(ValueError) as error:
            class_index(label, labels)
        assert says in str(error.value)


@pytest.mark.parametrize("line", ["pad(shift)", "resize(shift)", "pad(2.5)"])
def test_static_numbers_of_transforms_cannot_be_swept(line):
    with pytest.raises(ValueError, match=r"whole number|shift"):
        parse_transforms(line, factories=transforms.TRANSFORMS, hparams={"shift": 4.0})
