"""Dataset examples: the same, however they are looked at; broken files; resumes."""

import json

import numpy as np
import pytest
from PIL import Image

from dreamjax.deepdream.reach import Reach
from dreamjax.images import load_image, png_bytes
from dreamjax.inputs import pictures_under
from dreamjax.interrupt import Interrupted
from dreamjax.mining import KINDS, Example, Settings, examples, mine
from dreamjax.mining.choose import as_record, box, statistics
from dreamjax.mining.credits import credits_of
from dreamjax.mining.files import Shown, write_layer
from dreamjax.mining.ledger import draws
from dreamjax.mining.panels import FRAME, example_panels
from dreamjax.mining.windows import Window, look, look_at, windows
from dreamjax.models.layers import PLAIN
from tests.tiny import RECORD, tiny_model

SIZE = (16, 20)
COUNT = 11
ASKED = Settings(SIZE, levels=2, keep=3, sample=20, by="unit")
TAPS = ["a/pre", "logits"]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven pictures in folders, among files that are none."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(COUNT):
        path = root / ("sub/deep" if i % 3 else "") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (6, 7, 3), np.uint8)
        path.write_bytes(png_bytes(np.repeat(np.repeat(coarse, 6, 0), 6, 1)))
    (root / ".hidden.png").write_bytes(b"")
    (root / "notes.txt").write_text("")
    return root


@pytest.fixture(scope="module")
def mined(model, folder):
    return mine(model, TAPS, folder, ASKED, batch=4, report=lambda line: None)


@pytest.fixture(scope="module")
def all_(model, mined):
    """All windows of all pictures, and what tap "a/pre" answers to each."""
    paths = [mined.folder / name for name in mined.pictures]
    images = np.concatenate([look(path, SIZE, 2) for path in paths])
    return np.asarray(model.taps(model.variables, images, PLAIN)["a/pre"])


def test_windows_cut_a_picture_without_a_gap(folder):
    path = folder / "00.png"
    assert len(windows(3)) == 1 + 4 + 9
    seen = look(path, SIZE, 2)
    np.testing.assert_array_equal(seen[0], load_image(path, SIZE))
    whole = load_image(path, (32, 40))
    rows = [np.concatenate(seen[1 + 2 * i : 3 + 2 * i], axis=1) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(rows), whole)
    for image, window in zip(seen, windows(2), strict=True):
        np.testing.assert_array_equal(look_at(path, SIZE, window), image)
    with pytest.raises(ValueError, match="levels=0"):
        windows(0)


def test_pictures_are_found_at_any_depth(folder, tmp_path):
    found = [p.relative_to(folder).as_posix() for p in pictures_under(folder)]
    assert len(found) == COUNT and found == sorted(found)
    assert "sub/deep/01.png" in found
    with pytest.raises(ValueError, match="no picture"):
        pictures_under(tmp_path)
    with pytest.raises(ValueError, match="folder of pictures"):
        pictures_under(folder / "00.png")


def test_the_ends_are_those_of_a_full_sort(mined, all_):
    high, low = all_.max((1, 2)), all_.min((1, 2))  # [55, 6]
    for channel in range(all_.shape[-1]):
        by_picture = high[:, channel].reshape(COUNT, 5).max(1)
        best = np.argsort(-by_picture)[:3]
        found = examples(mined, "a/pre", channel, "top", 3)
        assert [mined.pictures[i] for i in best] == [e.picture for e in found]
        np.testing.assert_allclose([e.score for e in found], by_picture[best], 1e-5)
        first = windows(2).index(found[0].window) + 5 * best[0]
        assert found[0].at == all_[first, ..., channel].argmax()
        worst = np.argsort(low[:, channel].reshape(COUNT, 5).min(1))[:3]
        found = examples(mined, "a/pre", channel, "bottom", 3)
        assert [mined.pictures[i] for i in worst] == [e.picture for e in found]


def test_statistics_are_those_of_all_examples(mined, all_):
    for channel in range(all_.shape[-1]):
        found, a = statistics(mined, "a/pre", channel), all_[..., channel]
        expected = [a.mean(), a.std(), a.mean((1, 2)).max(), a.max(), a.min()]
        np.testing.assert_allclose(found[:5], expected, 1e-4, 1e-5)


def test_the_sample_is_fair_and_slight_examples_are_slight(mined, all_):
    ledger = mined.ledgers["a/pre"]
    chosen = np.sort(np.argsort(draws(np.arange(5 * COUNT), 0))[:20])
    np.testing.assert_array_equal(ledger.sample.example, chosen)
    drawn = draws(np.arange(20_000), 7).astype(np.float64) / 2**64
    assert abs(drawn.mean() - 0.5) < 0.01 and abs(drawn.std() - 12**-0.5) < 0.01
    assert not np.array_equal(draws(np.arange(9), 0), draws(np.arange(9), 1))
    high, low = all_.max((1, 2))[chosen, 0], all_.min((1, 2))[chosen, 0]
    (slight,) = examples(mined, "a/pre", 0, "slightly positive", 1)
    rank = np.searchsorted(np.sort(high[high > 0]), slight.score - 1e-6)
    assert rank == round(0.25 * ((high > 0).sum() - 1))
    (slight,) = examples(mined, "a/pre", 0, "slightly negative", 1)
    assert low.min() < slight.score < 0
    assert len(examples(mined, "a/pre", 0, "random", 4)) == 4


@pytest.mark.parametrize("batch", [1, 30])
def test_the_batch_changes_nothing(model, folder, mined, batch):
    again = mine(model, TAPS, folder, ASKED, batch=batch, report=lambda line: None)
    for tap in TAPS:
        for one, other in ((mined, again), (again, mined)):
            a, b = one.ledgers[tap], other.ledgers[tap]
            np.testing.assert_array_equal(a.top.example, b.top.example)
            np.testing.assert_array_equal(a.bottom.example, b.bottom.example)
            np.testing.assert_array_equal(a.sample.example, b.sample.example)
            np.testing.assert_allclose(a.total, b.total, 1e-5, 1e-5)
            np.testing.assert_allclose(a.sample.high, b.sample.high, 1e-5, 1e-5)


def test_a_stopped_look_goes_on_to_the_same_bits(model, folder, tmp_path, monkeypatch):
    def stop(line):
        raise KeyboardInterrupt  # after the state was written, as a kill would

    options = dict(batch=5, save_seconds=0.0, workdir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        mine(model, TAPS, folder, ASKED, report=stop, **options)
    said = []
    found = mine(model, TAPS, folder, ASKED, report=said.append, **options)
    assert said[0] == f"goes on after 1 of {COUNT} pictures"
    whole = mine(model, TAPS, folder, ASKED, batch=5, report=lambda line: None)
    for tap in TAPS:
        for a, b in zip(found.ledgers[tap], whole.ledgers[tap], strict=True):
            np.testing.assert_equal(a, b)
    again = []
    mine(model, TAPS, folder, ASKED, report=again.append, **options)
    assert again == []  # nothing was left to do
    with pytest.raises(ValueError, match=r"another look: keep was 3, now 2"):
        mine(model, TAPS, folder, ASKED._replace(keep=2), workdir=tmp_path)

    monkeypatch.setattr("dreamjax.mining.run.stop_requests", lambda: _Asked())
    with pytest.raises(Interrupted, match="goes on from here"):
        mine(model, TAPS, folder, ASKED, workdir=tmp_path / "new", report=said.append)


class _Asked:
    def __enter__(self):
        return [2]

    def __exit__(self, *error):
        return None


def test_a_broken_file_is_told_and_skipped(model, folder, mined, tmp_path):
    for path in pictures_under(folder):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "05x.png").write_bytes(b"not a picture")
    said = []
    found = mine(model, TAPS, tmp_path, ASKED, batch=4, report=said.append)
    assert found.broken == ("05x.png",)
    assert "05x.png" in said[0] and said[0].startswith("skipped")
    assert found.used == COUNT
    assert found.ledgers["logits"].count == mined.ledgers["logits"].count
    best = [e.picture for e in examples(found, "a/pre", 0, "top", 3)]
    whole = [e.picture for e in examples(mined, "a/pre", 0, "top", 3)]
    assert best == [name.split("/")[-1] for name in whole]
    with pytest.raises(ValueError, match="none of its pictures"):
        mine(model, TAPS, [tmp_path / "05x.png"], ASKED, report=said.append)


def test_c6_mining_says_how_many_it_looked_at(model, folder, tmp_path):
    for name in ("00.png", "sub/deep/01.png", "sub/deep/02.png"):
        (tmp_path / name.split("/")[-1]).write_bytes((folder / name).read_bytes())
    (tmp_path / "05x.JFIF").write_bytes(b"not a picture")
    said = []
    mine(model, TAPS, tmp_path, ASKED, batch=4, report=said.append)
    assert said[-1].startswith("3 of 4 pictures, 1 skipped: 05x.JFIF")


def test_directions_come_after_the_channels(model, folder, mined):
    axes = np.zeros((6, 2), np.float32)
    axes[2, 0], axes[4, 1] = 1, -2
    found = mine(
        model,
        ["a/pre"],
        folder,
        ASKED,
        directions={"a/pre": axes},
        batch=4,
        report=lambda line: None,
    )
    for channel, same in ((1, 1), (6, 2)):
        assert examples(found, "a/pre", channel, "top", 3) == examples(
            mined, "a/pre", same, "top", 3
        )
    turned = examples(found, "a/pre", 7, "top", 3)
    straight = examples(mined, "a/pre", 4, "bottom", 3)
    assert [e.picture for e in turned] == [e.picture for e in straight]
    np.testing.assert_allclose(
        [e.score for e in turned], [-2 * e.score for e in straight], 1e-5
    )
    with pytest.raises(ValueError, match=r"directions.shape=\(5, 2\)"):
        mine(model, ["a/pre"], folder, ASKED, directions={"a/pre": axes[1:]})


def test_a_unit_sees_its_field_within_the_picture():
    window, reach = Window(1, 0, 0), Reach(stride=8, before=4, after=12)
    inside = Example("x", window, 1.0, at=1 * 5 + 2)
    assert box(inside, reach, 5, (64, 40)) == (4, 12, 20, 28)
    assert box(inside._replace(at=0), reach, 5, (64, 40)) == (0, 0, 12, 12)
    assert box(inside, None, 5, (64, 40)) == (0, 0, 64, 40)


def test_records_and_a_sheet(mined, tmp_path):
    layer = Shown("a/pre", (1, 8, 10, 6), Reach(2, 2, 2))
    paths = write_layer(
        mined, RECORD, layer, [0, 1], each=1, crop="unit", folder=tmp_path
    )
    assert [path.name for path in paths] == ["a_pre.json", "a_pre.jpg"]
    about = json.loads(paths[0].read_text())
    assert len(about["channels"]) == 6 and about["settings"]["keep"] == 3
    record = about["channels"][1]
    assert record == as_record(mined, "a/pre", 1, 3, layer.reach, 10)
    assert list(record["examples"]) == list(KINDS)
    best = record["examples"]["top"][0]
    assert best["score"] == pytest.approx(record["most"])
    top, left, bottom, right = best["box"]
    assert 0 < bottom - top <= 4 and 0 < right - left <= 4
    sheet = Image.open(paths[1])
    assert sheet.width > 600 and np.asarray(sheet).std() > 10


def test_examples_are_panels(mined):
    best = examples(mined, "a/pre", 0, "top", 2)
    panels = example_panels(mined, best, 3)
    assert [panel.caption for panel in panels] == [
        *(f"{one.score:.3g}" for one in best),
        "",
    ]
    seen = look_at(mined.folder / best[0].picture, SIZE, best[0].window)
    np.testing.assert_array_equal(panels[0].image[1:-1, 1:-1], seen[1:-1, 1:-1])
    assert (panels[0].image[0] == FRAME).all() and panels[2].image is None


def test_what_cannot_be_is_said(model, folder, mined):
    with pytest.raises(ValueError, match='Did you mean "a/pre"'):
        mine(model, ["a/pr"], folder, ASKED)
    with pytest.raises(ValueError, match="by='peak'"):
        mine(model, TAPS, folder, ASKED._replace(by="peak"))
    with pytest.raises(ValueError, match="count=4"):
        examples(mined, "a/pre", 0, "top", 4)
    with pytest.raises(ValueError, match="channel=6"):
        examples(mined, "a/pre", 6, "top", 3)
    with pytest.raises(ValueError, match="kind='best'"):
        examples(mined, "a/pre", 0, "best", 3)


def test_credits_of_what_is_shown(tmp_path):
    pictures = [tmp_path / "b.jpg", tmp_path / "sub" / "a.jpg"]
    assert credits_of(pictures) is None
    lines = "picture,author\nsub/a.jpg,Ada\nb.jpg,Bo\n"
    (tmp_path / "CREDITS.csv").write_text(lines)
    assert credits_of(pictures[:1]) == b"picture,author\nb.jpg,Bo\n"
    assert credits_of(pictures) == b"picture,author\nb.jpg,Bo\nsub/a.jpg,Ada\n"
    assert credits_of([tmp_path / "c.jpg"]) is None


def test_a6_a_damaged_state_is_named(model, folder, tmp_path):
    mine(model, TAPS, folder, ASKED, workdir=tmp_path, report=lambda line: None)
    path = tmp_path / "mined.npz"
    data = path.read_bytes()
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["0.total"] = arrays["0.total"] + 1  # the archive's checksums would hold
    np.savez(path, **arrays)
    other = path.read_bytes()
    for harm in (other, data[: len(data) // 2], b"", bytes(len(data))):
        path.write_bytes(harm)
        with pytest.raises(ValueError, match=r"mined\.npz.* is damaged"):
            mine(model, TAPS, folder, ASKED, workdir=tmp_path)
