"""Signals: one line at the first, the same status always, nothing lost."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dreamjax import interrupt, progress
from dreamjax.interrupt import GO_ON, Interrupted, nothing_to_save, stop_requests
from dreamjax.progress import Compiling
from dreamjax.terminal import Terminal

REPO = Path(__file__).resolve().parent.parent

COMMAND = """
import ctypes, sys, time
from dreamjax.interrupt import nothing_to_save, stop_requests, watch
watch()
from dreamjax.files import atomic_open
stage = sys.argv[1]

def ready():
    print("ready", flush=True)

def in_c(seconds):  # as a compile is: no bytecode of this thread runs meanwhile
    ready()
    for _ in range(3):  # a signal ends a poll; a compile goes on
        ctypes.CDLL(None).poll(None, 0, int(1000 * seconds))
    print("goes on")

if stage == "imports":
    in_c(20)
if stage == "compile":
    with stop_requests(), nothing_to_save():
        in_c(20)
if stage == "report":
    with atomic_open(sys.argv[2], "w") as file:
        file.write("half")
        ready()
        time.sleep(20)
if stage == "loop":
    with stop_requests() as stop:
        ready()
        end = time.monotonic() + 20
        while not stop and time.monotonic() < end:
            time.sleep(.02)
        time.sleep(float(sys.argv[2]))  # the step in flight
        print("saved", flush=True)
    print("never")
"""


def started(stage, *arguments, ignored=False):
    words = [sys.executable, "-c", COMMAND, stage, *map(str, arguments)]
    if ignored:
        words = ["nohup", *words]
    process = subprocess.Popen(
        words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process, *, within=15.0):
    start = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < within
    lines = [line for line in err.splitlines() if "nohup" not in line]
    return process.returncode, out, lines


NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("stage", ["imports", "compile", "report"])
def test_d7_where_nothing_is_in_flight_the_first_signal_ends_it(stage, tmp_path):
    (tmp_path / "file").write_text("old")
    for number in NUMBERS if stage == "compile" else NUMBERS[:1]:
        process = started(stage, tmp_path / "file")
        process.send_signal(number)
        code, out, lines = ended(process)
        assert (code, out, len(lines)) == (130, "", 1)
        assert lines[0].startswith(f"{interrupt.REQUESTS[number]}: stopped.")
    assert (tmp_path / "file").read_text() == "old"


def test_d6_d7_a_loop_saves_first_and_says_so_at_once():
    for number in (signal.SIGHUP, signal.SIGINT):
        process = started("loop", 0.5)
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)  # with the first: no haste
        code, out, lines = ended(process)
        assert out == "saved\n" and "stopping when" in lines[0]
        assert code == 1 and GO_ON in lines[-1]  # `launch` makes 130 of `Interrupted`


def test_d7_a_second_signal_ends_it_at_once():
    process = started("loop", 20)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith("Ctrl-C: stopping when")
    time.sleep(interrupt.HASTE + 0.1)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "", [])


def test_d6_nohup_is_respected():
    process = started("loop", 0, ignored=True)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process)[1] == "saved\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_d7_a_command_answers_while_it_imports():
    words = [sys.executable, "-m", "experiments.layers"]
    process = subprocess.Popen(
        words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    status, caught = Path(f"/proc/{process.pid}/status"), 0
    while not caught & 1 << (signal.SIGHUP - 1) and process.poll() is None:
        time.sleep(0.005)  # Python itself starts
        caught = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.count("\n") == 1 and err.startswith("Ctrl-C: stopped.")


def test_d7_a_program_that_calls_the_library_keeps_its_handlers():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    with pytest.raises(Interrupted), stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop == [signal.SIGHUP]
    with stop_requests(raises=False) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), nothing_to_save():
            pass
    assert {number: signal.getsignal(number) for number in NUMBERS} == before
    assert interrupt._state.loops == [] and interrupt._state.unsaved == 0


def test_d6_a_terminal_that_has_gone_stops_no_saving(tmp_path):
    ours, theirs = os.openpty()
    stream = Terminal(os.fdopen(theirs, "wb"), encoding="utf-8", line_buffering=True)
    print("a\x1b[2Jb", file=stream)
    assert os.read(ours, 100) == b"a\\x1b[2Jb\r\n"
    os.close(ours)
    for _ in range(3):
        print("more", file=stream)
    stream.flush()
    stream.close()


def test_d4_a_line_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "log"
    stream = Terminal(path.open("wb"), encoding="utf-8", line_buffering=True)
    print("waiting for 1", file=stream)
    assert path.read_text() == "waiting for 1\n"
    stream.close()


def test_c7_a_compile_tells_its_time(monkeypatch):
    monkeypatch.setattr("dreamjax.progress.SILENT", 0.05)
    monkeypatch.setattr("dreamjax.progress.EVERY", 0.05)
    lines = []
    with Compiling(lines.append) as compiling:
        time.sleep(0.2)
        compiling.end()
        said = len(lines)
        assert said >= 2 and lines[0] == "compiling … 0 s"
        time.sleep(0.1)
        assert len(lines) == said
    with Compiling(lines.append):
        pass
    assert len(lines) == said
    assert threading.active_count() < 50


def test_d7_a_compile_that_nobody_watches_any_more_ends_without_a_trace(
    monkeypatch, capsys
):
    monkeypatch.setattr(progress, "SILENT", 0.001)
    told = threading.Event()

    def closed(line):
        told.set()
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with Compiling(closed):
        assert told.wait(5)
    assert "Traceback" not in capsys.readouterr().err
