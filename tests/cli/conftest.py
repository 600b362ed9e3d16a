import pytest

from tests.support.small_run import write_config, write_data


@pytest.fixture
def place(tmp_path):
    """Two images and a config, see small_run."""
    write_data(tmp_path / 'data')
    write_config(tmp_path)
    return tmp_path
