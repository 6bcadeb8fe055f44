"""One's own weights: every network, every format, whatever is around the tensors."""

import argparse
import dataclasses
import json
import os
import pickle
import re

import h5py
import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from dreamjax import models
from dreamjax.identity import Identity
from dreamjax.models import own
from dreamjax.models.checkpoint_file import Contents, digest, kind_of
from dreamjax.models.port import convert
from dreamjax.models.zoo import PORTS, architecture, ports_of
from dreamjax.workdir import claim
from experiments.rerun import network_of
from tests.parity import PROOFS
from tests.seeded import load_golden, seeded_tensors
from tests.test_torch_file import WRITERS, Raw, T

WHOLE = [name for name in dict.fromkeys(PROOFS.values()) if PORTS[name].record.labels]
ALIKE = {
    *("resnet34", "resnet101", "resnet152", "resnet101_v2", "vgg19", "caffenet"),
    *(f"efficientnet_lite{i}" for i in range(1, 5)),
}  # deeper ones of the same code
SQUEEZE = "squeezenet1_1"


def contents_of(shapes):
    def read(names):
        raise AssertionError("nothing is read to find what fits")

    return Contents("mine", dict(shapes), read, "0" * 64)


def shapes_of(name):
    return {n: tuple(shape) for n, shape in load_golden(PROOFS[name]).meta["tensors"]}


@pytest.mark.parametrize("name", WHOLE)
def test_c1_every_network_takes_a_finetuned_file(name):
    """By an architecture's name: as it is; wrapped, ten classes, an optimizer."""
    asked, shapes = architecture(name), shapes_of(name)
    classes = len(PORTS[name].record.labels)
    fit = own.find_fit(asked, ports_of(asked), contents_of(shapes))
    assert (fit.trouble, fit.classes) == (None, classes)
    assert set(fit.names.values()) == set(shapes)
    assert fit.port.record.name == name

    if architecture(name) in ALIKE:
        return
    tuned = {n: tuple(10 if s == classes else s for s in t) for n, t in shapes.items()}
    wrapped = {f"state_dict.module.{n}": shape for n, shape in tuned.items()}
    wrapped |= {f"optimizer.state.{i}.exp_avg": s for i, s in enumerate(tuned.values())}
    fit = own.find_fit(asked, ports_of(asked), contents_of(wrapped))
    assert (fit.trouble, fit.classes) == (None, 10)
    assert fit.prefix.startswith("state_dict.module.")
    assert set(fit.names.values()) == {f"state_dict.module.{n}" for n in tuned}


RESNET = shapes_of("resnet18.torchvision")


def resnet(shapes, key=""):
    return own.find_fit("resnet18", ports_of("resnet18"), contents_of(shapes), key)


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "model.", "_orig_mod.", "backbone.", "net.", "encoder."),
        *("module.model.", "_orig_mod.module.backbone.", "model._orig_mod.net."),
        *("state_dict.", "model_state_dict.module.", "ema.0.", "checkpoint.model."),
    ],
)
def test_c1_prefixes_are_stripped_where_all_names_fit(prefix):
    assert resnet({f"{prefix}{n}": s for n, s in RESNET.items()}).trouble is None


def test_c1_wrappers_inside_a_name_and_whole_modules():
    inside = {n.replace("layer1.", "layer1._orig_mod."): s for n, s in RESNET.items()}
    assert resnet(inside).trouble is None
    module = {}
    for n, shape in RESNET.items():
        *path, last = n.split(".")
        name = "".join(f"_modules.{part}." for part in path)
        module[f"{name}_parameters.{last}"] = shape
    assert resnet(module).trouble is None


def test_c1_two_parts_that_fit_are_refused_by_their_names():
    both = {f"{k}.{n}": s for k in ("model", "ema.module") for n, s in RESNET.items()}
    with pytest.raises(ValueError, match=r"'model', 'ema\.module'\. Say.*mine#model"):
        resnet(both)
    assert resnet(both, "ema").prefix == "ema.module."
    with pytest.raises(
        ValueError, match=r"key='emo' is not known.*Allowed: model, ema"
    ):
        resnet(both, "emo")


def test_c1_heads_of_other_shapes():
    ten = RESNET | {"fc.weight": (10, 512), "fc.bias": (10,)}
    body = {n: s for n, s in RESNET.items() if not n.startswith("fc.")}
    assert resnet(ten).classes == 10
    assert resnet(body).classes == 0  # a backbone: no classifier, no logits
    sequence = body | {"fc.1.weight": (7, 512), "fc.1.bias": (7,)}
    assert resnet(sequence).classes == 7
    for wrong in (
        ten | {"fc.bias": (9,)},
        body | {"fc.bias": (10,)},
        body | {"fc.0.weight": (64, 512), "fc.0.bias": (64,), "fc.2.weight": (7, 64)},
        ten | {"conv1.weight": (64, 1, 7, 7)},
        ten | {"attention.weight": (4, 4)},
    ):
        with pytest.raises(ValueError, match=r"do not fit resnet18 .*: [123] "):
            resnet(wrong)


def test_c1_what_is_missing_is_listed_in_one_line():
    some = {f"model.{n}": s for n, s in RESNET.items() if "layer4.1.conv" not in n}
    with pytest.raises(ValueError) as caught:
        resnet(some)
    assert "'model.'): 2 missing: layer4.1.conv1.weight (512, 512, 3, 3), layer4.1" in (
        str(caught.value)
    )
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"none of its 1 tensors .* are blocks\.0\.w"):
        resnet({"blocks.0.w": (3, 3)})


def seeded_squeezenet(classes=4):
    meta = load_golden(f"{SQUEEZE}.torchvision").meta
    tensors = seeded_tensors(meta)
    for n in ("classifier.1.weight", "classifier.1.bias"):
        tensors[n] = tensors[n][:classes]
    return tensors


def expected_variables(tensors, classes=4):
    port = own.with_classes(PORTS[f"{SQUEEZE}.torchvision"], classes)
    return convert(port, tensors)


def write_torch(path, tensors, *, form="zip", wrap=lambda state: state):
    state = {}
    for i, (n, a) in enumerate(tensors.items()):
        strides = tuple(s // a.itemsize for s in a.strides)
        state[n] = T(str(i), a.shape, strides, count=a.size)
    storages = {str(i): a for i, a in enumerate(tensors.values())}
    path.write_bytes(WRITERS[form](wrap(state), storages))
    return path


def beside(state):
    args = Raw(pickle.dumps(argparse.Namespace(lr=np.float64(0.1)), 2)[2:-1])
    return {"args": args, "epoch": 3, "model": state, "optimizer": {"lr": 0.1}}


def write_shards(folder, tensors):
    names = sorted(tensors)
    parts = {"m-1-of-2.safetensors": names[::2], "m-2-of-2.safetensors": names[1::2]}
    for file, inside in parts.items():
        save_file({n: tensors[n] for n in inside}, folder / file)
    where = {n: file for file, inside in parts.items() for n in inside}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index


FORMS = {
    "zip": lambda folder, t: write_torch(folder / "my.pth", t),
    "legacy": lambda folder, t: write_torch(folder / "my.pt", t, form="legacy"),
    "with an optimizer": lambda folder, t: write_torch(
        folder / "my.ckpt", {f"_orig_mod.{n}": a for n, a in t.items()}, wrap=beside
    ),
    "safetensors": lambda folder, t: (
        save_file(t, folder / "my.bin") or folder / "my.bin"
    ),
    "npz": lambda folder, t: np.savez(folder / "my.npz", **t) or folder / "my.npz",
    "shards": write_shards,
    "folder": lambda folder, t: write_shards(folder, t).parent,
}


@pytest.mark.parametrize("form", FORMS)
def test_c1_a_file_of_any_form_makes_the_same_network(form, tmp_path, capsys):
    tensors = seeded_squeezenet()
    path = FORMS[form](tmp_path, tensors)
    model = models.load(SQUEEZE, weights=str(path))
    expected = expected_variables(tensors)
    jax.tree.map(np.testing.assert_array_equal, model.variables, expected)
    assert model.record.name == f"{SQUEEZE}:{path.name}"
    assert model.record.sha256 == digest(path) and len(digest(path)) == 64
    assert model.record.labels == ()
    assert models.tap_shapes(model, (64, 64))["logits"] == (1, 4)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "4 classes" in said
    assert ("argparse.Namespace" in said) == (form == "with an optimizer")


def test_c1_labels_of_a_file(tmp_path):
    path = FORMS["npz"](tmp_path, seeded_squeezenet())
    for name, content in {
        "a.txt": "ant\nbee\ncat\ndog\n",
        "a.json": '["ant", "bee", "cat", "dog"]',
        "b.json": '{"id2label": {"0": "ant", "1": "bee", "3": "dog", "2": "cat"}}',
    }.items():
        labels = tmp_path / name
        labels.write_text(content)
        found = models.load(SQUEEZE, weights=str(path), labels=str(labels))
        assert found.record.labels == ("ant", "bee", "cat", "dog")
    labels.write_text('["ant", "bee"]')
    with pytest.raises(ValueError, match=r"names 2 classes; .* has 4"):
        models.load(SQUEEZE, weights=str(path), labels=str(labels))
    for wrong, said in (("[1, 2]", "list of names"), ('{"1": "a"}', "not 0, 1")):
        labels.write_text(wrong)
        with pytest.raises(ValueError, match=said):
            models.load(SQUEEZE, weights=str(path), labels=str(labels))


def test_c1_weights_that_cannot_be_used(tmp_path):
    tensors = seeded_squeezenet()
    tensors["features.0.bias"] = tensors["features.0.bias"] * np.nan
    path = FORMS["npz"](tmp_path, tensors)
    with pytest.raises(ValueError, match=r"hold a NaN there"):
        models.load(SQUEEZE, weights=str(path))
    quantized = {n: np.ones(a.shape, np.int8) for n, a in tensors.items()}
    path = FORMS["npz"](tmp_path, quantized)
    with pytest.raises(ValueError, match="int8, quantized"):
        models.load(SQUEEZE, weights=str(path))
    with pytest.raises(ValueError, match=r"is a folder without model\.safetensors"):
        models.load(SQUEEZE, weights=str(tmp_path))
    with pytest.raises(ValueError, match="does not exist"):
        models.load(SQUEEZE, weights=str(tmp_path / "no.pth"))
    fifo = tmp_path / "pipe.pth"
    os.mkfifo(fifo)
    with pytest.raises(ValueError, match="not a regular file"):
        models.load(SQUEEZE, weights=str(fifo))
    with pytest.raises(ValueError, match="are for networks of the zoo"):
        models.load("mine:model", weights=str(path))
    (tmp_path / "x.pth").write_text("hello")
    with pytest.raises(ValueError, match="of no known format"):
        models.load(SQUEEZE, weights=str(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    "where, said",
    [
        ({"w": "../m.safetensors"}, "lie beside it"),
        ({"w": "/etc/passwd"}, "lie beside it"),
        ({"w": "a\\b"}, "lie beside it"),
        ({"w": ".."}, "lie beside it"),
        ({"w": 3}, "lie beside it"),
        ({"w": "no.safetensors"}, "does not exist"),
        ({"v": "m.safetensors"}, "no tensor 'v'"),
        ({}, "weight_map"),
        ([], "weight_map"),
    ],
)
def test_c1_an_index_names_files_of_its_folder_only(where, said, tmp_path):
    save_file({"w": np.zeros((2, 2), np.float32)}, tmp_path / "m.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    with pytest.raises(ValueError, match=re.escape(said)):
        models.load(SQUEEZE, weights=str(index))


def test_c1_formats_are_told_by_their_content(tmp_path):
    file = tmp_path / "weights"
    with h5py.File(file, "w"):
        pass
    assert kind_of(file) == "hdf5"
    for content, kind in (
        (b"\x80\x02", "torch"),
        ((2).to_bytes(8, "little") + b"{}" + b"xxx", "safetensors"),
        (b"\x0a\x05hello", "caffe"),
    ):
        file.write_bytes(content)
        assert kind_of(file) == kind


def test_c1_only_a_download_is_said_to_be_deleted(tmp_path, monkeypatch):
    """One's own file under the name of a published one is not to be thrown away."""
    port = PORTS["resnet18.torchvision"]
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(tmp_path))
    (tmp_path / port.source.file).write_bytes(b"mine")
    with pytest.raises(
        ValueError, match=r"is not touched.*config\.weights=FILE"
    ) as mine:
        models.load("resnet18")
    assert "Delete" not in str(mine.value)
    monkeypatch.delenv("DREAMJAX_WEIGHTS")
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache/weights").mkdir(parents=True)
    (tmp_path / "cache/weights" / port.source.file).write_bytes(b"cut off")
    with pytest.raises(ValueError, match="Delete it, to have it downloaded again"):
        models.load("resnet18")


def test_c1_published_weights_in_ones_own_file_keep_their_labels():
    fit = resnet(RESNET)
    record = own._record("resnet18:mine", fit, contents_of(RESNET), "")
    published = PORTS["resnet18.torchvision"].record
    assert record.labels == published.labels
    assert record.parameters == published.parameters
    ten = resnet(RESNET | {"fc.weight": (10, 512), "fc.bias": (10,)})
    record = own._record("resnet18:mine", ten, contents_of(RESNET), "")
    assert published.parameters - record.parameters == 990 * 513
    assert record == dataclasses.replace(
        published,
        name="resnet18:mine",
        source="a file of one's own",
        sha256="0" * 64,
        license="of its owner",
        labels=(),
        parameters=record.parameters,
        top1=0.0,
    )


def test_c1_a_picture_finds_its_weights_again_by_their_digest(tmp_path):
    path = FORMS["npz"](tmp_path, seeded_squeezenet())
    config = {"model": SQUEEZE, "weights": str(path), "labels": ""}
    model = models.load_configured(config)
    recipe = {
        "config": config,
        "network": model.record.name,
        "weights": model.record.sha256,
    }
    assert network_of(recipe, None).record == model.record
    moved = path.rename(tmp_path / "moved.npz")
    with pytest.raises(ValueError, match="does not exist"):
        network_of(recipe, None)
    assert network_of(recipe, moved).record == model.record
    other = write_torch(tmp_path / "my.npz", seeded_squeezenet(3))
    with pytest.raises(ValueError, match="are not the picture's: sha256"):
        network_of(recipe, None)
    with pytest.raises(ValueError, match="are not the picture's: sha256"):
        network_of(recipe, other)
    secret = tmp_path / "secret"
    secret.write_text("not weights")
    with pytest.raises(ValueError, match="are not the picture's: sha256"):
        network_of(recipe | {"config": config | {"weights": str(secret)}}, None)
    with pytest.raises(ValueError, match="is of published weights"):
        network_of(recipe | {"config": {"model": SQUEEZE}}, moved)


def test_c1_folders_from_before_the_key_stay_open(tmp_path):
    config = {"model": "a", "weights": "", "labels": "", "steps": 3}
    old = {"model": "a", "steps": 3}
    claim(tmp_path, Identity(old), report=lambda _: None)
    claim(tmp_path, Identity(config), report=lambda _: None)
    with pytest.raises(ValueError, match="weights"):
        claim(tmp_path, Identity(config | {"weights": "b"}), report=lambda _: None)
