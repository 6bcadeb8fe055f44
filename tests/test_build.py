"""Bad input gets a clear error before anything compiles; good input is understood."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import config as configs
from dreamjax.build import PHOTOS, build, load_picture
from dreamjax.optimizers import OPTIMIZERS, make_optimizer
from tests.tiny import tiny_config, tiny_model


def built(**changes):
    config = tiny_config(**changes.pop("hparams", {}))
    for name, value in changes.items():
        with config.ignore_type():
            config[name] = value
    return build(config, tiny_model())


BAD = [
    ({"objective": "q:1"}, "tap='q'"),
    ({"objective": "logit:1"}, 'Did you mean "logits"'),
    ({"objective": "b:9"}, r"'b:9': channel=9.*0 … 3"),
    ({"objective": "b:unti"}, 'Did you mean "unit"'),
    ({"objective": "logits:bea"}, 'Did you mean "bee"'),
    ({"objective": "chanel('b', 1)"}, 'Did you mean "channel"'),
    ({"hparams": {"unit": (0, 4)}}, r"hparams\.unit=4.*0 … 3"),
    ({"hparams": {"unit": (-1,)}}, r"hparams\.unit=-1"),
    ({"hparams": {"unit": (0.5,)}}, r"hparams\.unit=0\.5"),
    ({"hparams": {"unit": ()}}, "empty"),
    ({"hparams": {"tvv": (1.0,)}}, r"hparams\.tvv.*Did you mean \"tv\""),
    ({"hparams": {"tv_beta": (1.0, 2.0)}}, r"hparams\.tv_beta.*'tv' is 0"),
    ({"hparams": {"blur_width": (1.0, 2.0)}}, r"hparams\.blur_width.*blur_every"),
    ({"hparams": {"momentum": (0.1, 0.2)}}, r"hparams\.momentum.*'momentum'"),
    ({"hparams": {"smooth_sigma": (1.0, 2.0)}}, r"config\.gradient.*'smooth'"),
    ({"hparams": {"target": ("chelsea", "coffee")}}, r"hparams\.target.*match"),
    ({"hparams": {"redirect_steps": (1, 2)}}, "redirect_relu is False"),
    ({"hparams": {"tv": ("many",)}}, r"hparams\.tv=.*not all are numbers"),
    ({"hparams": {"learning_rate": (None,)}}, r"hparams\.learning_rate"),
    ({"hparams": {"decay": (0.1, 1.5)}}, r"hparams\.decay=1\.5.*at most 1"),
    ({"hparams": {"norm_percentile": (101,)}}, r"norm_percentile=101.*at most 100"),
    (
        {"hparams": {"blur_every": (2,), "blur_width": (float("nan"),)}},
        r"hparams\.blur_width=nan.*at least 0",
    ),
    ({"hparams": {"seed": (-1,)}}, r"hparams\.seed=-1.*at least 0"),
    ({"hparams": {"learning_rate": (0.1, float("nan"))}}, "learning_rate=nan.*finite"),
    ({"hparams": {"init_std": (1e39,)}}, r"hparams\.init_std=1e\+39.*finite"),
    (
        {"hparams": {"blur_width": (1.0,), "blur_every": (2, 0.5)}},
        r"hparams\.blur_every=\(2, 0\.5\).*0\.5 is no whole number",
    ),
    ({"hparams": {"tv": (float("inf"),)}}, r"hparams\.tv=inf.*finite"),
    ({"hparams": {"decay_power": (1.0, 1e6)}}, r"decay_power=1000000\.0.*24 × 20"),
    ({"hparams": {"decay_power": (-1e6,)}}, r"decay_power=-1000000\.0.*no float32"),
    ({"hparams": {"tv": (1.0,), "tv_beta": (0.5,)}}, r"hparams\.tv_beta=0\.5"),
    ({"objective": 'match("b")'}, "hparams.target"),
    ({"objective": 'match("b")', "hparams": {"target": ("no.png",)}}, "no.png"),
    ({"hparams": {"distance": (1.0,)}}, "hparams.reference"),
    ({"transforms": "jiter(3)"}, 'Did you mean "jitter"'),
    ({"transforms": "jitter(-1)"}, "-1"),
    ({"transforms": "jitter(40)"}, "40"),
    ({"transforms": "jitter(18)"}, "at least 8 px"),
    ({"size": (4, 4)}, "at least 8 px"),
    ({"size": (0, 24)}, "size=.*whole number"),
    ({"size": (24, 24, 24)}, "size="),
    ({"param": "fuorier"}, 'Did you mean "fourier"'),
    ({"color": "hsv"}, "color='hsv'"),
    ({"range": "tanh"}, "range='tanh'"),
    ({"start": "nowhere.png"}, "nowhere.png"),
    ({"optimizer": "adamw"}, 'Did you mean "adam"'),
    ({"gradient": ("laplace",)}, 'Did you mean "laplacian"'),
    ({"gradient": ("smooth",)}, "pixel"),
    ({"channels": 1}, "color='rgb'"),
    ({"channels": 2, "color": "rgb"}, "takes 3"),
    ({"steps": 0}, "steps=0"),
    ({"batch": 0}, "batch=0"),
    ({"log_every": 0}, "log_every=0"),
    ({"image_steps": (-1,)}, "image_steps"),
    ({"rows": "untis"}, 'Did you mean "unit"'),
    ({"sweep": "grid"}, "product, zip"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(b[0]) for b in BAD])
def test_bad_config_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        built(**changes)


def test_unknown_model_and_bad_paths_to_models():
    for name, message in [
        ("efficientnet_lit0", 'Did you mean "efficientnet_lite0"'),
        ("no_such_module:load", "cannot import"),
        ("tests.tiny:nothing", "no .*'nothing'"),
        ("tests.tiny:tiny_config", "not a dreamjax Model"),
    ]:
        config = tiny_config()
        config.model = name
        with pytest.raises(ValueError, match=message):
            build(config)


def test_misspelt_and_missing_keys():
    config = tiny_config()
    config.stepz = 3
    with pytest.raises(ValueError, match=r'stepz.*Did you mean "steps"'):
        build(config, tiny_model())
    config = tiny_config()
    del config["steps"]
    del config.hparams["tv"]
    with pytest.raises(ValueError, match=r"lacks steps, hparams\.tv"):
        build(config, tiny_model())


def test_redirect_needs_a_network_that_has_it():
    model = tiny_model()
    model = model._replace(
        record=type(model.record)(name="other", source="tests", channels=3)
    )
    config = tiny_config()
    config.redirect_relu = True
    with pytest.raises(ValueError, match="redirect_relu=True"):
        build(config, model)


def test_only_what_can_act_is_in_the_program():
    assert built().penalties == ()
    assert built(hparams={"tv": (0.0, 1.0), "l2": (0.0,)}).penalties == ("tv",)
    values = built(hparams={"tv": (0.0, 1.0)}).values
    assert "tv_beta" in values and "lp_power" not in values and "decay" not in values


def test_values_have_one_row_per_run():
    experiment = built(
        hparams={"unit": (1, 3), "tv": (0.0, 0.5, 1.0), "seed": (7,)},
        objective='0.5*channel("b", unit)',
    )
    values = experiment.values
    assert len(experiment.runs) == 6
    assert values["unit"].dtype == np.int32
    assert values["unit"].tolist() == [1, 3] * 3
    assert values["tv"].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert values["seed"].dtype == np.int32
    assert values["c0"].tolist() == [0.5] * 6


def test_labels_stand_for_classes_and_stay_as_written():
    experiment = built(objective="logits:unit", hparams={"unit": ("Cat", 1)})
    assert experiment.values["unit"].tolist() == [2, 1]
    assert [run["unit"] for run in experiment.runs] == ["Cat", 1]


def test_pictures_become_arrays_and_are_hashed():
    experiment = built(
        objective='match("b")', hparams={"target": ("chelsea", "coffee")}
    )
    assert experiment.values["target"].shape == (2, 24, 20, 3)
    assert set(experiment.image_hashes) == set(PHOTOS)
    assert len(set(experiment.image_hashes.values())) == 2
    assert load_picture("coffee", (24, 20), 1).shape == (24, 20, 1)


def test_start_from_a_picture():
    experiment = built(start="coffee")
    hp = {name: jnp.asarray(v[0]) for name, v in experiment.values.items()}
    state = experiment.step.init(jax.random.key(0), hp)
    image = np.asarray(experiment.images(state, hp))[0]
    np.testing.assert_allclose(image, load_picture("coffee", (24, 20), 3), atol=1e-3)


def test_swept_jitter_gets_its_margin_from_the_largest_value():
    experiment = built(
        transforms="jitter(amount)", hparams={"amount": (0, 2, 4), "unit": (0,)}
    )
    assert experiment.values["amount"].tolist() == [0, 2, 4]


def test_config_survives_json():
    import json

    config = tiny_config(unit=(0, 1))
    again = configs.as_config(json.loads(json.dumps(configs.plain(config))))
    assert configs.plain(again) == configs.plain(config)
    assert build(again, tiny_model()).runs == build(config, tiny_model()).runs


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_first_update_of_each_optimizer(name):
    # By hand, for gradient 2 and learning rate 0.1: Adam's first step has length 1,
    # NAdam's look-ahead is (b1·m + (1-b1)·g)/(1-b1²) over the same root, RMSProp
    # divides by sqrt(0.01·4).
    expected = {
        "adam": -0.1,
        "nadam": -0.1 * (0.9 * 0.2 / (1 - 0.9**2) + 0.1 * 2 / (1 - 0.9)) / 2,
        "momentum": -0.2,
        "rmsprop": -0.1 * 2 / np.sqrt(0.01 * 4),
        "sgd": -0.2,
    }
    hp = {
        name: jnp.asarray(v[0])
        for name, v in configs.base_hparams().items()
        if not isinstance(v[0], str)
    }
    hp["learning_rate"] = jnp.asarray(0.1)
    chain = make_optimizer(name, (), (4, 4, 3))(hp)
    params = jnp.zeros((1,))
    update, _ = chain.update(jnp.full((1,), 2.0), chain.init(params), params)
    np.testing.assert_allclose(update, [expected[name]], rtol=1e-4)


def test_limits_are_about_real_hyperparameters_and_hold_the_neutral_values():
    base = configs.base_hparams()
    for name, (low, high) in configs.LIMITS.items():
        assert low <= base[name][0] <= high


def test_every_hyperparameter_has_a_reason_when_unread():
    known = set(configs.base_hparams())
    always = {"seed", "learning_rate"}
    regularizer_weights = set(configs.REGULARIZERS)
    assert known - always - regularizer_weights <= set(configs.UNREAD)
