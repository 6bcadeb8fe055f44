"""Networks of a hub: names, revisions, what a repository may say, how each fails."""

import hashlib
import json
import re
import socket
import sys
import time

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from dreamjax import models
from dreamjax.identity import network_identity
from dreamjax.models import hub, own
from dreamjax.models.checkpoint_file import Contents
from dreamjax.models.zoo import PORTS
from dreamjax.report.recipe import SCHEMA
from experiments.rerun import check_code, check_network, network_of
from tests.parity import PROOFS
from tests.seeded import load_golden
from tests.server import Site, serving
from tests.test_own_weights import expected_variables, seeded_squeezenet

pytest.importorskip("huggingface_hub", reason="pip install -r requirements-hub.txt")
from huggingface_hub import constants

A, B = "a" * 40, "b" * 40
CONFIG = {
    "architecture": "squeezenet1_1",
    "num_classes": 4,
    "label_names": ["ant", "bee", "cat", "dog"],
    "pretrained_cfg": {
        "mean": [0.5, 0.25, 0.125],
        "std": [0.5, 0.5, 0.5],
        "input_size": [3, 96, 96],
    },
}


class Hub(Site):
    """Repositories in memory, answering as the hub does.

    Attributes:
      commits: "owner/name" -> commit -> file -> content.
      refs: (repository, branch or tag) -> commit.
      failing: repository -> status and the hub's name of the error.
      asked: the paths of all requests.
    """

    def __init__(self):
        super().__init__(b"")
        self.commits, self.refs, self.failing, self.asked = {}, {}, {}, []

    def put(self, repo, commit, files, *names):
        self.commits.setdefault(repo, {})[commit] = files
        for name in names or ("main",):
            self.refs[repo, name] = commit

    def whole(self, handler, **_):
        path = handler.path.partition("?")[0]
        self.asked.append(path)
        moved = path.startswith("/moved/")
        match = re.fullmatch(r"(?:/moved)?/(.+?/.+?)/resolve/([^/]+)/(.+)", path)
        if match is None:
            return self.answer(handler, 404)
        repo, revision, file = match.groups()
        if repo in self.failing:
            status, code = self.failing[repo]
            return self.answer(handler, status, {"X-Error-Code": code})
        if repo not in self.commits:
            return self.answer(handler, 401, {"X-Error-Code": "RepoNotFound"})
        commit = self.refs.get((repo, revision), revision)
        if commit not in self.commits[repo]:
            return self.answer(handler, 404, {"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": commit}
        if file not in self.commits[repo][commit]:
            code = {"X-Error-Code": "EntryNotFound"}
            return self.answer(handler, 404, headers | code)
        content = self.commits[repo][commit][file]
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        if not moved and not file.endswith(".json"):  # large files are elsewhere
            headers |= {"X-Linked-Size": str(len(content))}
            headers |= {"X-Linked-ETag": headers["ETag"], "Location": f"/moved{path}"}
            return self.answer(handler, 302, headers)
        return self.answer(handler, 200, headers, content)

    def answer(self, handler, status, headers=(), content=b""):
        handler.send_response(status)
        for name, value in {**dict(headers), "Content-Length": len(content)}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A hub of one's own with nothing in it, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    found = Hub()
    with serving(found) as address:
        point(monkeypatch, address)
        yield found


def point(monkeypatch, address):
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def files(config=CONFIG, **named):
    weights = named or {"model.safetensors": save(seeded_squeezenet())}
    return {"config.json": json.dumps(config).encode(), **weights}


def test_c2_a_repository_is_a_network_pinned_to_its_commit(site, monkeypatch, capfd):
    site.put("me/small", A, files(), "main", "v1")
    model = models.load("hf:me/small")
    expected = expected_variables(seeded_squeezenet())
    jax.tree.map(np.testing.assert_array_equal, model.variables, expected)
    said = capfd.readouterr().err
    assert "4 classes, with names given" in said and "HTTP Request" not in said
    record = model.record
    assert record.name == f"hf:me/small@{A}" and A in record.source
    assert len(record.sha256) == 64
    assert (record.scale, record.size) == (1.0, 96)
    assert (record.mean, record.std) == ((0.5, 0.25, 0.125), (0.5, 0.5, 0.5))
    assert record.labels == ("ant", "bee", "cat", "dog")
    assert models.tap_shapes(model, (64, 64))["logits"] == (1, 4)

    # A commit that changes no weight is the same network, by another name.
    site.put("me/small", B, files())
    newer = models.load("hf:me/small")
    assert newer.record.name == f"hf:me/small@{B}"
    assert network_identity(newer) == network_identity(model)
    assert network_identity(model).name == "hf:me/small"
    assert models.load("hf:me/small@v1").record.name == f"hf:me/small@{A}"

    # A picture is made again with the commit that it was made with.
    config = {"model": "hf:me/small", "hparams": {}}
    recipe = {"config": config, "network": record.name, "weights": record.sha256}
    site.asked.clear()
    again = network_of(recipe, None).record
    assert again == record and not site.asked  # the cache has it
    check_network(recipe, again)
    with pytest.raises(ValueError, match="the picture was made with"):
        check_network(recipe | {"weights": "0" * 64}, again)
    for network in (f"hf:me/other@{A}", "hf:me/small@main", "os:abort"):
        with pytest.raises(ValueError, match="which is no commit of it"):
            network_of(recipe | {"network": network}, None)

    # Offline, with what the cache has.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert models.load("hf:me/small").record.name == f"hf:me/small@{B}"
    with pytest.raises(ValueError, match=r"HF_HUB_OFFLINE is set.* no config\.json"):
        models.load("hf:me/never")
    assert not site.asked


def test_c2_a_file_of_the_cache_that_was_altered_is_found(site):
    site.put("me/small", A, files())
    models.load("hf:me/small")
    path = hub.fetch(hub.Repository("me/small", A), "model.safetensors").resolve()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cut short or altered.*Delete it"):
        models.load("hf:me/small")


def test_c2_a_recipe_downloads_nothing_by_itself():
    config = {"model": "hf:me/small@v1", "hparams": {}}
    with pytest.raises(ValueError, match=r"fetches nothing by itself.*--model"):
        check_code(config, {"model": None})
    check_code(config, {"model": "hf:me/small@v1"})
    with pytest.raises(ValueError, match="the recipe says"):
        check_code(config, {"model": "hf:me/other"})
    with pytest.raises(ValueError, match="fetches nothing"):
        check_code({"model": "vgg16", "transfer": "timm:x"}, {"transfer": None})
    told = {"versions": {}, "device": "cpu"}
    recipe = {"config": config, "run": 0, "network": f"hf:me/small@{A}"}
    SCHEMA(recipe | {"weights": "0" * 64, "environment": told})


def test_c2_shards_and_older_files(site):
    tensors = seeded_squeezenet()
    names = sorted(tensors)
    parts = {"m-1.safetensors": names[::2], "m-2.safetensors": names[1::2]}
    index = {"weight_map": {n: f for f, inside in parts.items() for n in inside}}
    named = {f: save({n: tensors[n] for n in inside}) for f, inside in parts.items()}
    named["model.safetensors.index.json"] = json.dumps(index).encode()
    site.put("me/shards", A, files(**named))
    model = models.load("hf:me/shards")
    expected = expected_variables(tensors)
    jax.tree.map(np.testing.assert_array_equal, model.variables, expected)
    del named["m-2.safetensors"]
    site.put("me/cut", A, files(**named))
    with pytest.raises(ValueError, match=r"no 'm-2\.safetensors', which its model\.s"):
        models.load("hf:me/cut")
    index["weight_map"][names[0]] = "../../secret"
    outside = {"model.safetensors.index.json": json.dumps(index).encode()}
    site.put("me/outside", A, files(**outside))
    with pytest.raises(ValueError, match="lie beside it"):
        models.load("hf:me/outside")
    wrapped = {f"timm_model.{n}": a for n, a in tensors.items()}
    site.put("me/old", A, files(**{"pytorch_model.bin": save(wrapped)}))
    assert models.load("hf:me/old").record.labels[1] == "bee"
    site.put("me/none", A, files(**{"tf_model.h5": b""}))
    with pytest.raises(ValueError, match=r"has none of model\.safetensors"):
        models.load("hf:me/none")


def test_c2_each_failure_is_one_line_soon(site, monkeypatch):
    site.put("me/small", A, files())
    site.put("me/bare", A, {"README.md": b""})
    site.failing["me/gated"] = (403, "GatedRepo")
    site.failing["me/broken"] = (418, "")
    site.failing["me/busy"] = (503, "")
    site.put("me/large", A, {"config.json": b"0" * (hub.CONFIG_BYTES + 1)})
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name, said in {
        "hf:me/small@no": "there is no revision 'no'",
        "hf:me/missing": "no such repository; or it is private",
        "timm:missing": "'hf:timm/missing': there is no such repository",
        "hf:me/gated": "is gated: accept its terms",
        "hf:me/broken": "answers 418",
        "hf:me/busy": r"answers 503, and the cache, .*, has no config\.json of it",
        "hf:me/large": "at most 4,000,000 are fetched",
        "hf:me/bare": r"has no config\.json.*--config\.weights",
        "hf:me/away": "cannot be reached",
    }.items():
        if name == "hf:me/away":
            point(monkeypatch, nobody)
        start = time.monotonic()
        with pytest.raises(ValueError, match=said) as caught:
            models.load(name)
        assert "\n" not in str(caught.value) and time.monotonic() - start < 5
    for name in ("hf:small", "hf:../x", "hf:a/b/c", "hf:a/..", "timm:", "hf:a/b@../c"):
        with pytest.raises(ValueError, match="hf:OWNER/NAME or timm:NAME"):
            models.load(name)
    with pytest.raises(ValueError, match="brings its own"):
        models.load("hf:me/small", weights="my.pth")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"architecture": "seresnet50"}, "'seresnet50' is not here; what is: resnet18"),
        ({"architecture": "efficientnet_lite0"}, "'efficientnet_lite0' is not here"),
        ({"architecture": None, "architectures": ["ViTModel"]}, "is ViTModel (transf"),
        ({"model_args": {"act_layer": "silu"}}, "with model_args={'act_layer'"),
        ({"input_size": [1, 28, 28]}, "its input is [1, 28, 28]"),
        ({"mean": [0, 0, 0], "std": [0, 1, 1]}, "not above 0"),
        ({"mean": [0, 0, 0]}, "has one of mean and std"),
        ({"mean": [0, 0]}, "is damaged (mean"),
        ({"label_names": ["a", 3]}, "is damaged"),
        ({"label_names": ["\x1b[2J"]}, "is damaged"),
    ],
)
def test_c2_what_does_not_fit_is_named(change, said):
    config = {**CONFIG, "pretrained_cfg": {}, **change}
    with pytest.raises(ValueError) as caught:
        hub.describe(hub.Repository("me/x", A), config)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_c2_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements-hub\.txt"):
        models.load("timm:resnet18.a1_in1k")


def of_timm(architecture, name):
    """Returns the shapes that timm's state has for a weight set's."""
    shapes = {n: tuple(shape) for n, shape in load_golden(PROOFS[name]).meta["tensors"]}
    if architecture.startswith("vgg"):
        conv = {"0": ("pre_logits.fc1", (4096, 512, 7, 7))}
        conv |= {"3": ("pre_logits.fc2", (4096, 4096, 1, 1))}
        conv |= {"6": ("head.fc", (1000, 4096))}
        for number, (timm, shape) in conv.items():
            shapes[f"{timm}.weight"] = shape
            del shapes[f"classifier.{number}.weight"]
            shapes[f"{timm}.bias"] = shapes.pop(f"classifier.{number}.bias")
    if architecture == "mobilenetv2_100":
        stages = [
            i for i, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for _ in range(count)
        ]
        layers = {"conv.0.0": "conv_pw", "conv.0.1": "bn1", "conv.1.0": "conv_dw"}
        layers |= {"conv.1.1": "bn2", "conv.2": "conv_pwl", "conv.3": "bn3"}
        first = {"conv.0.0": "conv_dw", "conv.0.1": "bn1", "conv.1": "conv_pw"}
        first |= {"conv.2": "bn2"}
        timm = {"features.0.0": "conv_stem", "features.0.1": "bn1"}
        timm |= {"features.18.0": "conv_head", "features.18.1": "bn2"}
        timm |= {"classifier.1": "classifier"}
        for i, stage in enumerate(stages):
            for ours, theirs in (layers if i else first).items():
                at = f"blocks.{stage}.{i - stages.index(stage)}.{theirs}"
                timm[f"features.{i + 1}.{ours}"] = at
        split = {n: n.rpartition(".") for n in shapes}
        shapes = {f"{timm[a]}.{c}": shapes[n] for n, (a, _, c) in split.items()}
    return shapes


@pytest.mark.parametrize("architecture", hub.zoo_names())
def test_c2_every_architecture_takes_timms_tensors(architecture):
    """By names and shapes; of a variant in size, only that its config is taken."""
    name = hub.zoo_names()[architecture]
    config = {"architecture": architecture, "num_classes": 1000}
    described = hub.describe(hub.Repository("timm/x", A), config)
    assert described.port == PORTS[name]
    alike = [n for n in PROOFS if n == name or n.split(".")[0] == name.split(".")[0]]
    if name not in PROOFS or architecture in ("resnet101", "resnet152", "vgg19"):
        assert alike or architecture.startswith(("tf_", "vit", "deit"))
        return
    contents = Contents("x", of_timm(architecture, name), dict, "0" * 64)
    if name in hub.PLACES:
        contents = hub._renamed(contents, hub.PLACES[name](contents.shapes))
    fit = own.find_fit(architecture, (described.port,), contents)
    assert (fit.trouble, fit.classes) == (None, 1000)
