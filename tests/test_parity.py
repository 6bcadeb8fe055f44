"""Every network against the framework that its weights come from: `tests/parity.py`.

Taps and gradients must agree to 1e-4 of each tap's largest magnitude, in float32.
"""

import re

import numpy as np
import pytest

from dreamjax.models.zoo import PORTS
from tests.parity import PROOFS, TOLERANCE, parity_errors
from tests.seeded import GOLDEN, load_golden

NOT_TRAINED = re.compile(
    "(running_mean|running_var|num_batches_tracked"
    "|/2|/3"  # Keras' mean and variance of a batch norm
    "|^normalization/[01]"  # and of the input
    r"|batch_normalization_\d+/1)$"  # the mean where it has no scale
)


def test_every_weight_set_has_a_golden_file():
    assert {path.stem for path in GOLDEN.glob("*.npz")} == set(PROOFS.values())
    for path in GOLDEN.glob("*.npz"):
        assert path.stat().st_size < 200_000


@pytest.mark.parametrize("name", dict.fromkeys(PROOFS.values()))
def test_parity(name):
    errors = parity_errors(name)
    worst = max(errors, key=errors.get)
    gradient = errors["gradient"]
    print(f"{name}: worst {worst} {errors[worst]:.1e}, gradient {gradient:.1e}")
    assert not {tap: e for tap, e in errors.items() if not e <= TOLERANCE}


@pytest.mark.parametrize("name", PORTS)
def test_number_of_parameters(name):
    tensors = load_golden(PROOFS[name]).meta["tensors"]
    trained = [shape for n, shape in tensors if not NOT_TRAINED.search(n)]
    count = sum(int(np.prod(shape)) for shape in trained)
    assert PORTS[name].record.parameters == count
