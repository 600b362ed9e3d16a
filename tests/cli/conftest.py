import logging

import pytest

from mmseg_boundary.cli import alignment, preflight, pretrained
from tests.support.small_run import write_config, write_data


@pytest.fixture
def place(tmp_path):
    """Two images and a config, see small_run."""
    write_data(tmp_path / 'data')
    write_config(tmp_path)
    return tmp_path


@pytest.fixture
def warned(monkeypatch):
    """What is logged as a warning."""
    said = []

    def print_log(sentence, logger, level):
        assert (logger, level) == ('current', logging.WARNING)
        said.append(sentence)

    for module in (alignment, preflight, pretrained):
        monkeypatch.setattr(module, 'print_log', print_log)
    return said
