"""What every test may use."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# The same examples in every run, and no deadline: a busy machine is not a failure.
settings.register_profile("auricle", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("auricle")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings, for tests that carry `@pytest.mark.shared`."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the recordings of ../shared/data are not here")
    return SHARED_DATA


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that draws the same in every run."""
    return np.random.default_rng(0)
