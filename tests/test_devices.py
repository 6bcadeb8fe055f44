"""Runs on several devices and several processes: the same pictures."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dreamjax import hosts, runner
from dreamjax.plan import read_plan
from dreamjax.workdir import is_running, locked
from tests.test_sweep_stages import config_of

REPO = Path(__file__).resolve().parent.parent
FAST = "--xla_backend_optimization_level=0"

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
from pathlib import Path
import jax
from dreamjax.hosts import connect, leave
from tests.test_devices import job_config
process = int(sys.argv[3])
connect(sys.argv[2], 2, process)
assert jax.process_count() == 2
from dreamjax import runner
runner.run(job_config(), sys.argv[1])
leave(Path(sys.argv[1]))
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
    assert "1 block of 16, one compiled program on 8 devices" in said
    one, two, eight = (np.load(tmp_path / f"{n}.npy") for n in (1, 2, 8))
    assert one.shape[0] == 10 and np.ptp(one) > 0.1
    np.testing.assert_allclose(two, one, atol=1e-3)
    np.testing.assert_allclose(eight, one, atol=1e-3)


def test_more_devices_than_there_are_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"devices=9 .* 1 … 1 are here"):
        runner.run(config_of(), tmp_path, devices=9)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(condition, processes, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def test_two_processes_share_a_sweep_and_one_is_killed_and_started_again(tmp_path):
    straight = runner.run(job_config(), tmp_path / "one", report=lambda line: None)
    workdir, address = tmp_path / "two", f"127.0.0.1:{free_port()}"
    leader = python(HOSTS, workdir, address, 0)
    follower = python(HOSTS, workdir, address, 1)
    try:
        flying = workdir / "checkpoints" / "block_0001.npz"
        wait_for(flying.exists, [leader, follower])
        follower.send_signal(signal.SIGKILL)
        follower.communicate(timeout=60)
        own = [workdir / "results" / f"block_{n:04d}.npz" for n in (0, 2, 4)]
        wait_for(lambda: all(path.exists() for path in own), [leader])
        assert not (workdir / "summary.csv").exists()  # the leader waits
        follower = python(HOSTS, workdir, address, 1)
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


def test_a_share_is_every_nth_block():
    assert hosts.share([0, 1, 2, 3, 5, 8], hosts.Hosts(1, 3)) == [1]
    assert hosts.share([0, 1, 2, 3, 5, 8], hosts.Hosts(2, 3)) == [2, 5, 8]
    assert hosts.this_host() == (0, 1) and hosts.this_host().leads


@pytest.mark.parametrize(
    "given", [("localhost:1", None, None), (None, 2, 0), ("localhost:1", 2, 2)]
)
def test_half_a_place_in_a_job_is_refused(given):
    with pytest.raises(ValueError, match="process"):
        hosts.connect(*given)


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
