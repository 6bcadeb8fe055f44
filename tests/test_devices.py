"""Runs on several devices and several processes: the same pictures."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dreamjax import hosts, runner
from dreamjax.interrupt import Interrupted
from dreamjax.plan import read_plan
from dreamjax.workdir import announce, is_running, locked
from tests.conftest import FAST_COMPILE
from tests.test_sweep_stages import config_of

REPO = Path(__file__).resolve().parent.parent
FAST = " ".join(FAST_COMPILE)

DEVICES = """
import sys
import jax, numpy as np
from dreamjax import runner
from tests.test_sweep_stages import config_of
assert jax.local_device_count() == 8
for count in (1, 2, 8):
    config = config_of((0, 1, 2, 3, 0))  # 10 runs: 8 devices are filled to 16
    config.runs_per_call = 0
    lines = []
    result = runner.run(
        config, f"{sys.argv[1]}/{count}", devices=count, report=lines.append
    )
    print(lines[0])
    np.save(f"{sys.argv[1]}/{count}.npy", result.images)
"""

HOSTS = """
import sys
from dreamjax.hosts import connect
from dreamjax.interrupt import Interrupted
from tests.test_devices import job_config
connect(2, int(sys.argv[2]))
from dreamjax import runner
try:
    runner.run(job_config(), sys.argv[1])
except Interrupted as stopped:
    print(stopped, flush=True)
    sys.exit(130)
print("done", flush=True)
"""


def job_config():
    """Twelve runs in six blocks, long enough to be killed in."""
    config = config_of((0, 1, 2, 3, 0, 1), 400)
    config.runs_per_call = 2
    config.log_every = 50
    config.checkpoint_seconds = 0.05
    return config


def python(script, *arguments, devices=1):
    flags = f"{FAST} --xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=REPO,
        env={**os.environ, "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_eight_devices_make_the_pictures_of_one(tmp_path):
    process = python(DEVICES, tmp_path, devices=8)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    assert "1 block of 16, one compiled program in 8 copies side by side on" in said
    one, two, eight = (np.load(tmp_path / f"{n}.npy") for n in (1, 2, 8))
    assert one.shape[0] == 10 and np.ptp(one) > 0.1
    np.testing.assert_allclose(two, one, atol=1e-3)
    np.testing.assert_allclose(eight, one, atol=1e-3)


def test_more_devices_than_there_are_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"devices=9 .* 1 … 1 are here"):
        runner.run(config_of(), tmp_path, devices=9)


def wait_for(condition, processes, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def test_d1_a_process_that_ends_harms_no_other(tmp_path):
    """The follower is killed, the leader is asked to stop; both are started again."""
    straight = runner.run(job_config(), tmp_path / "one", report=lambda line: None)
    workdir = tmp_path / "two"
    leader, follower = (python(HOSTS, workdir, process) for process in (0, 1))
    own = [workdir / "results" / f"block_{n:04d}.npz" for n in range(6)]

    def made(numbers):
        return lambda: all(own[number].exists() for number in numbers)

    try:
        flying = workdir / "checkpoints" / "block_0001.npz"
        wait_for(flying.exists, [leader, follower])
        follower.send_signal(signal.SIGKILL)
        follower.communicate(timeout=60)
        wait_for(made((0, 2)), [leader])
        follower = python(HOSTS, workdir, 1)
        wait_for(made((0, 2, 4)), [leader])
        assert not (workdir / "summary.csv").exists()  # the leader waits
        leader.send_signal(signal.SIGTERM)
        said = leader.communicate(timeout=60)[0]
        assert leader.returncode == 130, said
        assert "the same command goes on" in said
        wait_for(made((1, 3, 5)), [follower])  # as if nothing had happened
        assert follower.poll() is None
        leader = python(HOSTS, workdir, 0)
        for process in (leader, follower):
            said = process.communicate(timeout=120)[0]
            assert process.returncode == 0, said
            assert "done" in said
    finally:
        for process in (leader, follower):
            process.kill()
            process.wait()
            process.stdout.close()
    assert len(read_plan(workdir).blocks) == 6
    found = runner.run(job_config(), workdir, report=lambda line: None)
    assert found.compile_seconds == 0
    np.testing.assert_array_equal(found.images, straight.images)
    logs = [path / "metrics.jsonl" for path in (tmp_path / "one", workdir)]
    assert logs[0].read_text() == logs[1].read_text()


@pytest.fixture
def joined(monkeypatch):
    """Makes this process one of a job of two."""

    def join(process):
        monkeypatch.setattr(hosts, "_joined", hosts.Hosts(process, 2))

    return join


def test_d2_a_process_with_another_config_is_told_the_key(tmp_path, joined):
    theirs = job_config()
    theirs.size, theirs.steps, theirs.log_every = (40, 40), 2, 2
    joined(0)
    with pytest.raises(ValueError, match="process 1 of this job is not running"):
        runner.run(theirs, tmp_path, wait=0, report=lambda line: None)
    joined(1)
    with pytest.raises(ValueError, match=r"size: \[40, 40\] there"):
        runner.run(job_config(), tmp_path, report=lambda line: None)
    more = job_config()
    more.size = (40, 40)  # of the same work, with other steps
    with locked(tmp_path, 0, 2):
        announce(tmp_path, 0, "another digest")
        with pytest.raises(ValueError, match="steps: 2 there, 400 now"):
            runner.run(more, tmp_path, report=lambda line: None)


def test_d3_a_process_that_never_starts_is_not_waited_for_in_silence(tmp_path, joined):
    joined(1)
    with pytest.raises(ValueError, match="process 0 of this job is not running"):
        runner.run(job_config(), tmp_path, wait=0.1, report=lambda line: None)
    now, lines = 0.0, []
    waiting = hosts.Waiting(tmp_path, 600, lines.append, clock=lambda: now)
    for now in range(601):
        if now < 600:
            waiting.look([0, 1], "blocks 1, 3")
    assert len(lines) == 10  # the first after 10 seconds, then one a minute
    assert lines[0] == (
        "waiting for blocks 1, 3 of process 0, 1; not running, to be started again:"
        " [0, 1]"
    )
    with pytest.raises(ValueError, match="600 seconds of waiting for blocks 1, 3"):
        waiting.look([0, 1], "blocks 1, 3")
    with locked(tmp_path, 0, 2):
        waiting.look([0], "blocks 1, 3")  # a process that runs may take its time


def test_d5_a_stop_is_heard_while_the_plan_is_awaited(tmp_path, joined):
    joined(1)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        timer.start()
        runner.run(job_config(), tmp_path, report=lambda line: None)


def listening():
    """Returns the inodes of this process's listening sockets."""
    tables = [Path(f"/proc/self/net/{name}") for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table.read_text().split("\n")]
    inodes = {row[9] for row in rows if len(row) > 9 and row[3] == "0A"}
    return inodes & {
        os.readlink(fd).removeprefix("socket:[").removesuffix("]")
        for fd in Path("/proc/self/fd").iterdir()
        if fd.is_symlink()
    }


@pytest.mark.skipif(not Path("/proc/self/net").exists(), reason="needs Linux's /proc")
def test_d9_a_job_listens_nowhere(monkeypatch):
    monkeypatch.setattr(hosts, "_joined", None)
    before = listening()
    with socket.create_server(("127.0.0.1", 0)):
        assert len(listening()) == len(before) + 1  # it would be seen
    assert hosts.connect(2, 0).leads
    assert listening() == before


def test_a_share_is_every_nth_block():
    assert hosts.share([0, 1, 2, 3, 5, 8], hosts.Hosts(1, 3)) == [1]
    assert hosts.share([0, 1, 2, 3, 5, 8], hosts.Hosts(2, 3)) == [2, 5, 8]
    assert hosts.this_host() == (0, 1) and hosts.this_host().leads


@pytest.mark.parametrize("given", [(2, None), (None, 0), (2, 2), (0, 0), (None, None)])
def test_half_a_place_in_a_job_is_refused(given, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(ValueError, match="process"):
        hosts.connect(*given)


SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NODELIST": "a"}


@pytest.mark.parametrize(
    ("environment", "given", "place"),
    [
        (SLURM | {"SLURM_LOCALID": "1"}, (None, None), (3, 8)),
        (SLURM, (8, 2), (2, 8)),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"},
            (None,) * 2,
            (1, 2),
        ),
        ({"PMI_RANK": "0", "PMI_SIZE": "4"}, (None, None), (0, 4)),
        ({"RANK": "5", "WORLD_SIZE": "6", "LOCAL_RANK": "1"}, (None, None), (5, 6)),
        ({"JOB_COMPLETION_INDEX": "2"}, (3, None), (2, 3)),
    ],
)
def test_launchers_tell_a_process_its_place(environment, given, place, monkeypatch):
    shown = {}
    monkeypatch.setattr(hosts, "_joined", None)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(hosts.jax.config, "update", shown.__setitem__)
    assert hosts.connect(*given) == place == hosts.this_host()
    local = "SLURM_LOCALID" in environment or "LOCAL_RANK" in environment
    assert shown.get("jax_cuda_visible_devices") == ("1" if local else None)


def test_a_batch_script_is_no_process_of_its_job(monkeypatch):
    alone = {name: SLURM[name] for name in SLURM if name != "SLURM_STEP_NODELIST"}
    monkeypatch.setattr(os, "environ", alone)
    with pytest.raises(ValueError, match="no launcher"):
        hosts.connect()


def test_processes_of_a_job_hold_their_folder_together(tmp_path):
    with locked(tmp_path, 0, 2), locked(tmp_path, 1, 2):
        assert is_running(tmp_path, 1)
        with pytest.raises(ValueError, match="in use"), locked(tmp_path, 1, 2):
            pass
        with pytest.raises(ValueError, match="in use"), locked(tmp_path):
            pass
    assert not is_running(tmp_path, 1)
    with locked(tmp_path), pytest.raises(ValueError), locked(tmp_path, 0, 2):
        pass
