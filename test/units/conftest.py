"""A unit over a tree for each test."""

import pytest
from tar_bench import TarBench


@pytest.fixture
def bench(tmp_path):
    return TarBench(tmp_path)
