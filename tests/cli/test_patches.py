"""A tool patches its own process once, before it reads a config."""

import pytest
from mmengine.config import config as loader
from mmengine.hooks import CheckpointHook, EarlyStoppingHook

from mmseg_boundary import compat
from mmseg_boundary.cli import patches
from tests.support.skips import ROOT


def test_installing_again_changes_nothing():
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    def patched():
        keys = [hook._default_greater_keys for hook in (CheckpointHook, EarlyStoppingHook)]
        transforms = LoadImageFromFile.transform, LoadAnnotations._load_seg_map
        return loader.is_installed, loader.get_installed_path, transforms, [*map(list, keys)]

    patches.install()
    compat.prefer_greater(['BoundaryF'])
    once = patched()
    patches.install()
    compat.prefer_greater(['BoundaryF'])
    assert patched() == once
    assert all(keys.count('BoundaryF') == 1 for keys in once[-1])


@pytest.mark.parametrize('path', sorted((ROOT / 'tools').glob('*.py')), ids=lambda path: path.name)
def test_a_tool_patches_before_it_reads_a_config(path):
    """Every one that reads one with our functions."""
    source = path.read_text()
    reads = [source.find(f' = {name}(') for name in ('load_config', 'read_config')]
    first = min((place for place in reads if place >= 0), default=None)
    assert first is None or 0 <= source.find('    patches.install()\n') < first
