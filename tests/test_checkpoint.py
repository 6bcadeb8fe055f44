"""A checkpoint comes back bit for bit, or not at all."""

import json
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import checkpoint


class State(NamedTuple):
    step: jax.Array
    key: jax.Array
    params: dict[str, jax.Array]
    alive: jax.Array


def special() -> np.ndarray:
    """Floats that a sloppy round trip changes: NaN with a payload, -0, tiny, inf."""
    bits = [0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001, 0x7F800000, 0x3F800000]
    return np.array(bits, np.uint32).view(np.float32)


def state() -> tuple[State, dict[str, np.ndarray]]:
    keys = jax.random.split(jax.random.key(7), 3)
    pixels = jnp.arange(24, dtype=jnp.float32).reshape(2, 3, 4) / 7
    params = {"b": jnp.asarray(special()), "a": pixels}
    alive = jnp.array([True, False, True])
    extra = {"dead": np.array([False, True]), "empty": np.zeros((0, 3), np.float32)}
    return State(jnp.array([1, 2, -3], jnp.int32), keys, params, alive), extra


def bits(leaf) -> tuple:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return (str(leaf.dtype), *bits(jax.random.key_data(leaf)))
    array = np.asarray(leaf)
    return str(array.dtype), array.shape, array.tobytes()


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "block.npz"
    checkpoint.save(path, state(), {"step": 40})
    return path


def test_round_trip_is_bit_for_bit(saved):
    found, meta = checkpoint.load(saved, state())
    assert meta == {"step": 40}
    assert jax.tree.structure(found) == jax.tree.structure(state())
    for have, want in zip(
        jax.tree.leaves(found), jax.tree.leaves(state()), strict=True
    ):
        assert bits(have) == bits(want)


def test_a_loaded_key_draws_the_same_numbers(saved):
    (found, _), _ = checkpoint.load(saved, state())
    assert jnp.issubdtype(found.key.dtype, jax.dtypes.prng_key)
    draw = jax.vmap(lambda key: jax.random.normal(key, (5,)))
    np.testing.assert_array_equal(draw(found.key), draw(state()[0].key))


def test_keys_of_another_generator_keep_it(tmp_path):
    key = jax.random.key(3, impl="rbg")
    checkpoint.save(tmp_path / "a.npz", {"key": key}, {})
    found, _ = checkpoint.load(tmp_path / "a.npz", {"key": key})
    assert bits(found["key"]) == bits(key)


def test_shapes_alone_say_what_is_expected(saved):
    like = jax.eval_shape(lambda: state()[0])
    extra = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in state()[1].items()}
    found, _ = checkpoint.load(saved, (like, extra))
    assert list(map(bits, jax.tree.leaves(found))) == list(
        map(bits, jax.tree.leaves(state()))
    )


def test_wide_numpy_arrays_are_not_narrowed(tmp_path):
    wide = {"f": np.array([1 / 3, 1e300]), "i": np.array([2**60 + 1])}
    checkpoint.save(tmp_path / "a.npz", wide, {})
    found, _ = checkpoint.load(tmp_path / "a.npz", wide)
    assert {k: bits(v) for k, v in found.items()} == {
        k: bits(v) for k, v in wide.items()
    }


def test_order_holds_beyond_ten_leaves(tmp_path):
    tree = [jnp.array(i, jnp.int32) for i in range(120)]
    checkpoint.save(tmp_path / "a.npz", tree, {})
    found, _ = checkpoint.load(tmp_path / "a.npz", tree)
    assert [int(leaf) for leaf in found] == list(range(120))


def test_saving_again_replaces_the_file_and_leaves_no_other(saved):
    checkpoint.save(saved, {"a": jnp.ones(2)}, {"step": 41})
    found, meta = checkpoint.load(saved, {"a": jnp.zeros(2)})
    assert meta == {"step": 41}
    np.testing.assert_array_equal(found["a"], [1, 1])
    assert os.listdir(saved.parent) == [saved.name]


def test_a_failed_save_keeps_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(TypeError):
        checkpoint.save(saved, state(), {"step": object()})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_nothing_is_pickled(saved):
    with np.load(saved, allow_pickle=False) as file:
        assert json.loads(str(file[checkpoint.META]))["step"] == 40
        assert all(file[name].dtype != object for name in file.files)


def other(change: str):
    first, extra = state()
    if change == "shape":
        return first._replace(alive=jnp.ones(4, bool)), extra
    if change == "dtype":
        return first._replace(step=first.step.astype(jnp.float32)), extra
    if change == "missing leaf":
        return first, {"dead": extra["dead"]}
    if change == "more leaves":
        return first, {**extra, "more": np.zeros(1)}
    if change == "renamed leaf":
        return first, {"died": extra["dead"], "empty": extra["empty"]}
    if change == "raw key":
        return first._replace(key=jax.random.key_data(first.key)), extra
    if change == "other generator":
        keys = jax.random.split(jax.random.key(7, impl="rbg"), 3)
        return first._replace(key=keys), extra
    raise AssertionError(change)


@pytest.mark.parametrize(
    "change",
    [
        "shape",
        "dtype",
        "missing leaf",
        "more leaves",
        "renamed leaf",
        "raw key",
        "other generator",
    ],
)
def test_another_programs_state_is_refused(saved, change):
    with pytest.raises(ValueError, match="holds another program's state"):
        checkpoint.load(saved, other(change))


def test_the_message_names_the_leaves_that_differ(saved):
    with pytest.raises(ValueError) as caught:
        checkpoint.load(saved, other("shape"))
    assert "expected ['[0].alive bool[4]'], found ['[0].alive bool[3]']" in str(
        caught.value
    )


def test_the_key_of_the_description_is_taken(tmp_path):
    with pytest.raises(ValueError, match="'tree' is taken"):
        checkpoint.save(tmp_path / "a.npz", state(), {"tree": 1})
    assert os.listdir(tmp_path) == []


def damage(data: bytes, how: str) -> bytes:
    if how == "cut in half":
        return data[: len(data) // 2]
    if how == "last byte gone":
        return data[:-1]
    if how == "a flipped bit":
        at = data.index(special().tobytes())
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    return {
        "empty": b"",
        "garbage": bytes(range(256)) * 20,
        "text": b"not a checkpoint\n",
        "zip magic only": b"PK\x03\x04",
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "cut in half",
        "last byte gone",
        "a flipped bit",
        "empty",
        "garbage",
        "text",
        "zip magic only",
    ],
)
def test_a_damaged_file_is_named_and_refused(saved, how):
    saved.write_bytes(damage(saved.read_bytes(), how))
    with pytest.raises(ValueError, match="is damaged") as caught:
        checkpoint.load(saved, state())
    assert str(saved) in str(caught.value)


def test_other_arrays_are_refused(saved):
    with saved.open("wb") as file:
        np.savez(file, x=np.zeros(3))
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(saved, state())
    with saved.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(saved, state())


def test_a_pickle_is_refused_and_not_run(saved):
    with saved.open("wb") as file:
        np.savez(file, leaf0000=np.array([{}], object), meta=np.array("{}"))
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(saved, state())


def test_a_missing_file_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(tmp_path / "none.npz", state())
