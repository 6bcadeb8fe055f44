"""Transfer between two networks whose classes have another order and other names."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.hparams import Hparam
from dreamjax.labels import imagenet_labels, imagenet_labels_2015, match_labels
from dreamjax.metrics.transfer import load_transfer, make_transfer
from dreamjax.models import Model, Record, tap_shapes
from dreamjax.objectives import channel, logit

FIRST = ("ant", "bee", "cat", "dog")
SECOND = ("nothing", "Dog", "cat", "bee", "ant, emmet")
SIZE = (8, 10)


def network(labels, record=None):
    """A network whose logits are its variables, plus the image's mean minus 1/2."""

    def taps(variables, images, rules):
        shift = jnp.mean(images, axis=(1, 2, 3))[:, None] - 0.5
        logits = jnp.broadcast_to(variables[None], (images.shape[0], len(variables)))
        return {"layer": images, "logits": logits + shift, "seen": images}

    given = Record(name=f"net{len(labels)}", source="tests", labels=labels)
    return Model(taps, jnp.zeros(len(labels)), record or given)


def shapes_of(model):
    return tap_shapes(model, SIZE)


def loaded(objective, second, first=None, values=None, channels=3, size=SIZE):
    first = network(FIRST) if first is None else first
    return load_transfer(
        "other",
        objective=objective,
        record=first.record,
        shapes=shapes_of(first),
        size=size,
        channels=channels,
        values={} if values is None else values,
        model=second,
    )


def judged(objective, first_logits, second_logits, images=None, **hp):
    first, second = network(FIRST), network(SECOND)
    values = {name: [int(v)] for name, v in hp.items()}
    transfer = loaded(objective, second, first, values)
    judge = jax.jit(make_transfer(transfer, objective, first.taps))
    images = jnp.full((1, *SIZE, 3), 0.5) if images is None else images
    hp = {name: jnp.asarray(v) for name, v in hp.items()}
    found = judge(jnp.asarray(first_logits), jnp.asarray(second_logits), images, hp)
    return {name: float(value) for name, value in found.items()}


LOGITS = [9.0, 3.0, 1.0, 2.0, -1.0]  # nothing, dog, cat, bee, ant


@pytest.mark.parametrize(("index", "score", "rank"), [(0, -1, 5), (1, 2, 3), (3, 3, 2)])
def test_the_class_is_found_by_its_name(index, score, rank):
    total = np.exp(LOGITS).sum()
    for objective, hp in (
        (logit(index), {}),
        (logit(Hparam("unit")), {"unit": index}),
    ):
        found = judged(objective, [0.0, 0.0, 0.0, 0.0], LOGITS, **hp)
        assert found["transfer_score"] == pytest.approx(score)
        assert found["transfer_rank"] == rank
        probability = np.exp(score) / total
        assert found["transfer_probability"] == pytest.approx(probability, rel=1e-5)


def test_without_a_class_it_is_what_the_first_network_sees():
    found = judged(channel("layer", 0), [0.0, 1.0, 5.0, 2.0], LOGITS)  # a cat
    assert found["transfer_score"] == pytest.approx(1.0)
    assert found["transfer_rank"] == 4


def test_of_several_classes_the_one_with_the_largest_weight():
    found = judged(logit(0) * 0.2 + logit(1) * 2 - logit(3) * 5, [0.0] * 4, LOGITS)
    assert found["transfer_score"] == pytest.approx(2.0)


def test_mean_over_the_images():
    images = jnp.stack([jnp.full((*SIZE, 3), v) for v in (0.25, 1.0)])
    found = judged(logit(2), [0.0] * 4, LOGITS, images)
    assert found["transfer_score"] == pytest.approx(1.0 + (-0.25 + 0.5) / 2)
    assert found["transfer_rank"] == 4


def test_unmatched_classes_of_the_first_network_are_passed_over():
    first, second = network(("emu", "bee")), network(("bee", "ant"))
    objective = channel("layer", 0)
    transfer = loaded(objective, second, first)
    judge = make_transfer(transfer, objective, first.taps)
    images = jnp.full((1, *SIZE, 3), 0.5)
    variables = jnp.array([5.0, 0.0]), jnp.array([2.0, 1.0])
    found = judge(*variables, images, {})
    assert float(found["transfer_score"]) == 2.0 and found["transfer_rank"] == 1.0
    # Asked for by its number, past the check, such a class is no other class.
    emu = make_transfer(transfer, logit(0), first.taps)(*variables, images, {})
    assert all(np.isnan(float(value)) for value in emu.values())


def test_pictures_are_enlarged_and_repeated_for_the_second_network():
    objective, seen = logit(1), []
    for changes, size in (
        ({"min_size": 16}, (16, 20)),
        ({"min_size": 8}, SIZE),
        ({"head_taps": ("logits",), "size": 12}, (12, 12)),
    ):
        record = dataclasses.replace(network(FIRST).record, **changes)
        second = network(FIRST, record)

        def spy(variables, images, rules, taps=second.taps):
            seen.append(images.shape)
            return taps(variables, images, rules)

        second = second._replace(taps=spy)
        transfer = loaded(objective, second, channels=1)
        assert transfer.size == size
        judge = make_transfer(transfer, objective, network(FIRST).taps)
        images = jnp.full((1, *SIZE, 1), 0.75)
        found = judge(None, jnp.zeros(4), images, {})
        assert seen[-1] == (1, *size, 3)
        assert float(found["transfer_score"]) == pytest.approx(0.25)


def bare(taps):
    model = network(FIRST)

    def fewer(variables, images, rules):
        return {name: model.taps(variables, images, rules)[name] for name in taps}

    return model._replace(taps=fewer)


def labeled(labels):
    return network(FIRST, dataclasses.replace(network(FIRST).record, labels=labels))


def test_what_cannot_be_asked_is_said_before_any_compile():
    unit, layer = logit(Hparam("unit")), channel("layer", 0)
    good = network(SECOND)
    cases = [
        (lambda: loaded(layer, labeled(())), "has no labels"),
        (lambda: loaded(layer, good, labeled(())), "has no labels"),
        (lambda: loaded(layer, bare(["layer"])), "no classifier"),
        (lambda: loaded(layer, good, bare(["layer"])), "aim at a class"),
        (lambda: loaded(layer, labeled(("a", "b"))), "4 logits.*2 labels"),
        (lambda: loaded(layer, good, channels=2), "channels=2"),
        (lambda: loaded(layer, labeled(("p", "q", "r", "s"))), "no class name"),
        (
            lambda: loaded(unit, labeled(("ant", "emu", "cat", "dog")), None,
                           {"unit": [0, 1]}),
            "no class 'bee', which is class 1",
        ),
    ]  # fmt: skip
    for make, message in cases:
        with pytest.raises(ValueError, match=message):
            make()
    assert loaded(unit, good, None, {"unit": [0, 3]}).classes.tolist() == [4, 3, 2, 1]


def test_the_class_of_a_network_without_logits_at_this_size_is_no_obstacle():
    assert loaded(logit(1), network(SECOND), bare(["layer"])).size == SIZE


def test_labels_match_across_the_two_imagenet_orders():
    here, there = imagenet_labels(), imagenet_labels_2015()
    matched = match_labels(here, there)
    assert (matched >= 0).all() and len(set(matched.tolist())) == 1000
    assert [there[i] for i in matched] == list(here), "Cardigan is not cardigan"
    back = match_labels(there, here)
    assert (back < 0).sum() == 8 and (back[matched] == np.arange(1000)).all()


def test_ambiguous_labels_match_nothing():
    assert match_labels(["crane", "ox"], ["crane", "crane", "Ox"]).tolist() == [-1, 2]
    assert match_labels(["a", "A", "b_c"], ["a", "B c"]).tolist() == [0, -1, 1]
    assert match_labels(["x", "x"], ["x", "x"]).tolist() == [0, 1], "one list"
