"""Four processes that all tests share."""

import pytest
from ranks import World


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Four ranks; ``call(n, ...)`` runs on the first n of them."""
    world = World(4, tmp_path_factory.mktemp("world"))
    yield world
    world.close()
