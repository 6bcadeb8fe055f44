"""Judging by eye: the log, the server and its page."""

import csv
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dreamjax.images import png_bytes
from dreamjax.judgments import (
    LOG,
    Answer,
    Session,
    candidates,
    correlations,
    open_log,
    read_log,
)
from dreamjax.report.rank_server import make_server, rank_page
from tests import browser
from tests.sweeps import make_sweep

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path):
    """Five runs; the score ascends with the run, "noise" descends."""
    runs = [({"tv": 0.1 * i}, {"score": 1.0 * i, "noise": -1.0 * i}) for i in range(5)]
    return make_sweep(tmp_path / "sweep", runs)


@contextmanager
def judging(folder, **options):
    with open_log(folder) as log:
        yield Session(folder, candidates(folder), log, **options)


def like_the_larger(session, count):
    """A judge who prefers the run with the larger number."""
    for _ in range(count):
        left, right = session.pair
        session.answer("left" if left > right else "right")


# The log


def test_a_restart_goes_on_with_the_same_pair(folder):
    with judging(folder) as session:
        like_the_larger(session, 4)
        pair, answers = session.pair, session.answers
    with judging(folder) as again:
        assert (again.pair, again.answers) == (pair, answers)
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    assert [line["answer"] for line in lines] == [a.answer for a in answers]
    assert all(line["time"].startswith("20") for line in lines)


def test_another_seed_asks_other_pairs(folder):
    asked = set()
    for seed in range(8):
        asked.add(Session(folder, candidates(folder), None, seed).pair)
    assert len(asked) > 3


def test_undo_takes_back_what_stands_and_asks_it_again(folder):
    with judging(folder) as session:
        session.answer("undo")
        assert not (folder / LOG).read_bytes()
        like_the_larger(session, 2)
        pair = session.pair
        session.answer("tie")
        assert session.pair != pair and session.number == 3
        session.answer("undo")
        assert session.pair == pair and session.number == 2
        session.answer("skip")
        assert session.pair != pair
    assert len((folder / LOG).read_text().splitlines()) == 5
    assert [a.answer for a in read_log(folder / LOG)][2:] == ["skip"]


def test_a_skipped_pair_is_no_judgment_and_not_asked_again(folder):
    with judging(folder) as session:
        seen = []
        while session.pair is not None:
            seen.append(frozenset(session.pair))
            session.answer("skip")
        assert len(set(seen)) == len(seen) == 10 and session.judgments == []
        with pytest.raises(ValueError, match="no pair is left"):
            session.answer("left")


def test_a_line_cut_short_by_a_kill_is_dropped(folder):
    with judging(folder) as session:
        like_the_larger(session, 3)
    whole = (folder / LOG).read_bytes()
    (folder / LOG).write_bytes(whole + b'{"left": 3, "ri')
    assert len(read_log(folder / LOG)) == 3
    with judging(folder) as session:
        assert session.number == 3
        like_the_larger(session, 1)
    assert (folder / LOG).read_bytes().startswith(whole)
    assert len(read_log(folder / LOG)) == 4


@pytest.mark.parametrize(
    "line", ["{", '{"answer": "left"}', '{"answer": "yes"}', "3",
             '{"left": 1, "right": 1, "answer": "tie"}']
)  # fmt: skip
def test_a_damaged_line_is_named(folder, line):
    good = '{"left": 1, "right": 0, "answer": "left"}\n'
    (folder / LOG).write_text(good + line + "\n" + good)
    with pytest.raises(ValueError, match="damaged in line 2"):
        read_log(folder / LOG)
    (folder / LOG).write_text(good)
    assert read_log(folder / LOG) == [Answer(1, 0, "left")]


def test_two_judges_at_once_are_refused(folder):
    with open_log(folder), pytest.raises(ValueError, match="another process"):
        open_log(folder).__enter__()


# The ranking


def test_ranking_beside_the_metrics(folder):
    with judging(folder) as session:
        like_the_larger(session, 9)
        session.answer("tie")
        session.export()
    with (folder / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == list("12345")
    assert rows[0]["score"] == "4.0" and rows[-1]["run"] == "0"
    assert sum(float(row["wins"]) for row in rows) == 10
    assert sum(int(row["ties"]) for row in rows) == 2
    assert sum(float(row["strength"]) for row in rows) == pytest.approx(0, abs=1e-3)
    related = correlations(session.rows, session.ranking)
    found = {name: (kind, rho, n) for kind, name, rho, n in related}
    assert found["score"][0] == "metric" and found["tv"][0] == "hyperparameter"
    assert found["score"][1] > 0.8 and found["score"][2] == 5
    assert found["noise"][1] == -found["score"][1]
    table = (folder / "preference.csv").read_text().splitlines()
    assert table[0] == "kind,name,rank_correlation,n" and len(table) == 4


def test_only_runs_with_a_picture_and_of_these_the_best(folder):
    assert [row["run"] for row in candidates(folder, top=2)] == [3, 4]
    (folder / "runs" / "run_0004.png").unlink()
    assert [row["run"] for row in candidates(folder, top=2)] == [2, 3]
    outside = folder.parent / "secret.png"
    outside.write_bytes(png_bytes(np.zeros((2, 2, 3))))
    (folder / "runs" / "run_0004.png").symlink_to(outside)
    assert [row["run"] for row in candidates(folder)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="1 pictures to compare"):
        candidates(folder, top=1)


# The server


@contextmanager
def serving(folder, page=None):
    """Yields the session and the address of the page."""
    with judging(folder) as session:
        server, address = make_server(session, page or rank_page("T </script>"))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield session, address
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def get(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.headers, answer.read()


def post(address, value, **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    request = urllib.request.Request(address + "answer", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def refused(work, *arguments, **options):
    with pytest.raises(urllib.error.HTTPError) as error:
        work(*arguments, **options)
    error.value.close()
    return error.value.code


def test_page_pictures_and_answers(folder):
    with serving(folder) as (session, address):
        headers, page = get(address)
        assert b"T \\u003c/script\\u003e" in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        state = json.loads(get(address + "state")[1])
        assert state["number"] == 0 and tuple(state["pair"]) == session.pair
        kind, picture = get(f"{address}picture/{state['pair'][0]}")
        expected = folder / f"runs/run_{state['pair'][0]:04d}.png"
        assert kind["Content-Type"] == "image/png"
        assert picture == expected.read_bytes()
        state = post(address, {"answer": "left", "number": 0})
        assert state["number"] == state["judgments"] == 1 and state["seen"] == 2
        assert (folder / "ranking.csv").exists()
        assert refused(post, address, {"answer": "left", "number": 0}) == 409
        assert post(address, {"answer": "undo", "number": 1})["number"] == 0


def test_what_is_no_picture_of_the_sweep_is_not_served(folder):
    (folder / "runs" / "run_0002.png").unlink()
    (folder / "runs" / "run_0002.png").symlink_to(folder / "config.json")
    with serving(folder) as (_, address):
        names = ["../config.json", "..%2fconfig.json", "/etc/passwd", "0.png", "-1"]
        for name in [*names, "2", "99", "00", "", "runs/run_0000.png"]:
            assert refused(get, f"{address}picture/{name}") == 404
        for place in ["judgments.jsonl", "answer", "picture", "state/"]:
            assert refused(get, address + place) == 404


def test_b8_only_the_page_itself_may_ask_and_answer(folder):
    good = {"answer": "left", "number": 0}
    with serving(folder) as (session, address):
        port = int(address.split(":")[2].split("/")[0])
        root = f"http://127.0.0.1:{port}/"
        for wrong in [root, root + "x/", root + "state", address[:-2] + "/"]:
            assert refused(get, wrong) == 404
        assert refused(post, root, good) == 404
        assert refused(post, address, good, Origin="http://evil.example") == 403
        assert refused(post, address, good, Origin="null") == 403
        assert refused(post, address, good, Content_Type="text/plain") == 415
        assert refused(post, address, good, Host="evil.example") == 404
        assert (
            refused(
                get,
                urllib.request.Request(
                    address, headers={"Host": f"evil.example:{port}"}
                ),
            )
            == 404
        )
        assert refused(post, address, b"x" * 2000) == 413
        for bad in [
            b"",
            b"{",
            b"[]",
            b'{"answer": "left"}',
            b"\xff",
            {"answer": "all", "number": 0},
            {"answer": [], "number": 0},
        ]:
            assert refused(post, address, bad) == 400
        assert session.number == 0
        tunneled = dict(Host="localhost:9", Origin="http://localhost:9")
        assert post(address, good, **tunneled)["number"] == 1
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("DELETE", "/")
        assert connection.getresponse().status == 501
        connection.close()


def test_answers_from_many_threads_are_one_after_another(folder):
    with serving(folder) as (session, address):
        codes = []

        def work():
            try:
                post(address, {"answer": "left", "number": 0})
                codes.append(200)
            except urllib.error.HTTPError as error:
                codes.append(error.code)
                error.close()

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200] + [409] * 5 and session.number == 1


def test_a_port_in_use_is_named(folder):
    with serving(folder) as (session, address):
        port = int(address.split(":")[2].split("/")[0])
        with pytest.raises(ValueError, match=f"port={port}"):
            make_server(session, "", port)


# The page in a browser

USER = """
<script>
const wait = (n) => new Promise((done) => {
  const look = () => document.documentElement.dataset.ready === String(n)
    ? done() : setTimeout(look, 5);
  look();
});
const key = (name) => document.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true }));
(async () => {
  const seen = [];
  await wait(0); key("ArrowLeft"); key("ArrowLeft");
  await wait(1); key("ArrowRight");
  await wait(2); key("ArrowDown");
  await wait(3); key("S");
  await wait(4); key("Backspace");
  await wait(3); $("right").click();
  await wait(4); seen.push($("a").naturalWidth, $("progress").textContent);
  for (let n = 4; state.pair; n++) { await wait(n); key("s"); await wait(n + 1); }
  seen.push($("message").textContent);
  document.documentElement.dataset.seen = JSON.stringify(seen);
})();
</script>
"""


@browser.in_browser
def test_a_judge_in_a_browser(folder):
    page = rank_page("Five").replace("</body>", f"{USER}</body>")
    with serving(folder, page) as (session, address):
        flags = [*browser.FLAGS, "--disable-gpu", "--virtual-time-budget=60000"]
        profile = f"--user-data-dir={folder.parent / 'profile'}"
        done = subprocess.run(
            [browser.BROWSER, *flags, profile, address],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=True,
        )
        answers = [a.answer for a in session.answers]
    assert [x for x in done.stderr.splitlines() if "CONSOLE" in x] == []
    assert "data-error" not in done.stdout
    assert answers == ["left", "right", "tie", "right"] + ["skip"] * 6
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    width, progress, message = json.loads(found[1].replace("&quot;", '"'))
    assert width == 8
    assert progress.startswith("4 judged, 5 of 5 pictures seen")
    assert message.startswith("Every pair has been judged.")


# The command


def start(folder, *flags):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.rank", str(folder), *flags],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_is_killed_goes_on_and_ends_with_a_ranking(folder):
    running = start(folder, "--noopen")
    address = running.stdout.readline().strip()
    post(address, {"answer": "left", "number": 0})
    running.kill()
    running.communicate(timeout=60)
    running = start(folder, "--noopen")
    address = running.stdout.readline().strip()
    assert json.loads(get(address + "state")[1])["number"] == 1
    post(address, {"answer": "tie", "number": 1})
    post(address, {"answer": "left", "number": 2})
    running.terminate()
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert "3 judgments of " in said and "rank correlation with score" in said
    table = (folder / "ranking.csv").read_bytes()
    (folder / "ranking.csv").unlink()
    Session(folder, candidates(folder), None).export()  # as --export does
    assert (folder / "ranking.csv").read_bytes() == table


def test_b6_requests_that_cannot_be_are_answered(folder, capfd):
    nested = b'{"answer": "left", "number": ' + b"[" * 900 + b"]" * 40 + b"}"
    with serving(folder) as (session, address):
        port, token = address.split(":")[2].split("/")[:2]

        def ask(*lines, body=b""):
            with socket.create_connection(("127.0.0.1", int(port)), 10) as sent:
                head = "\r\n".join([*lines, "Connection: close", "", ""])
                sent.sendall(head.encode("latin-1") + body)
                answer = b""
                while more := sent.recv(4096):
                    answer += more
            return int(answer.split()[1])

        get = f"GET /{token}/state HTTP/1.1"
        for host in ("[::1", "[", "a]b", "[x]", "[::1%", "::1]"):
            assert ask(get, f"Host: {host}") in (400, 404), host
        assert ask(get, "Host: [::1") == 400
        assert ask(get) == 404
        answer = f"POST /{token}/answer HTTP/1.1", f"Host: 127.0.0.1:{port}"
        kind = "Content-Type: application/json"
        for length in ("9" * 5000, "-1", "1e3", "", "\xb2", "0x10"):
            assert ask(*answer, kind, f"Content-Length: {length}") == 400, length
        assert ask(*answer, kind, "Content-Length: 1001") == 413
        for body in (nested, b"[" * 999, b'{"a":' * 190):
            size = f"Content-Length: {len(body)}"
            assert ask(*answer, kind, size, body=body) == 400
        assert session.number == 0
        folder.joinpath("runs", "run_0000.png").chmod(0)
        session.export = unwritable
        good = b'{"answer": "left", "number": 0}'
        assert ask(*answer, kind, f"Content-Length: {len(good)}", body=good) == 500
    assert capfd.readouterr().err == ""


def unwritable():
    raise OSError(28, "No space left on device", "ranking.csv")
