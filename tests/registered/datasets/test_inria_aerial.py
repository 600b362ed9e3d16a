"""Inria's aerial images and their converter, on small tiles in the published layout."""

import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules

from tests.support.commands import run
from tests.support.forked import killed_at_image
from tests.support.skips import ROOT
from tests.support.small_run import run_tool, truncate

TOOL = 'dataset_converters/inria_aerial'
SIDE = 30
TILES = ('austin5', 'tyrol-w6', 'vienna36')  # the first is for validation


def write_source(folder, tiles=TILES):
    rng = np.random.default_rng(0)
    source = folder / 'AerialImageDataset'
    for kind in ('images', 'gt'):
        (source / 'train' / kind).mkdir(parents=True)
    (source / 'test/images').mkdir(parents=True)
    for tile in tiles:
        image = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        label = rng.choice(np.array([0, 255], np.uint8), (SIDE, SIDE))
        assert cv2.imwrite(str(source / f'train/images/{tile}.tif'), image)
        assert cv2.imwrite(str(source / f'train/gt/{tile}.tif'), label)
    assert cv2.imwrite(str(source / 'test/images/bellingham1.tif'), image)
    return source


def convert(folder, *options, source=None, target='data'):
    source = source or folder / 'AerialImageDataset'
    return run_tool(TOOL, source, folder / target, *options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.png')}


@pytest.mark.parametrize(
    'size, starts', [(15, [0, 15]), (10, [0, 10, 20]), (16, [0, 14]), (13, [0, 8, 17]), (40, [0])]
)
def test_patches_cover_a_tile(size, starts, tmp_path):
    """And put together they are it; overlaps differ by one pixel at most."""
    source = write_source(tmp_path)
    assert convert(tmp_path, '--partial', '--size', size) is None
    for tile, split in zip(TILES, ('val', 'train', 'train')):
        image = cv2.imread(str(source / f'train/images/{tile}.tif'))
        label = cv2.imread(str(source / f'train/gt/{tile}.tif'), cv2.IMREAD_UNCHANGED)
        names = {f'{tile}_{top}_{left}.png' for top in starts for left in starts}
        found = (tmp_path / 'data/ann_dir' / split).glob(f'{tile}_*')
        assert {path.name for path in found} == names
        for top in starts:
            for left in starts:
                window = slice(top, top + size), slice(left, left + size)
                name = f'{split}/{tile}_{top}_{left}.png'
                patch = cv2.imread(str(tmp_path / 'data/img_dir' / name))
                mask = cv2.imread(str(tmp_path / 'data/ann_dir' / name), cv2.IMREAD_UNCHANGED)
                assert np.array_equal(patch, image[window])
                assert np.array_equal(mask * 255, label[window]) and mask.max() <= 1


def test_the_real_sizes():
    """Tiles of 5000: patches of 500 do not overlap, and those of 512 by 12 or 14 pixels."""
    text = (ROOT / f'tools/{TOOL}.py').read_text()
    namespace = {}
    code = text[text.index('def starts(') :].partition('\n\n\n')[0]
    exec(f'{text[text.index("CITIES") : text.index("BUILDING")]}{code}', namespace)
    assert namespace['starts'](5000, 500) == list(range(0, 5000, 500))
    corners = namespace['starts'](5000, 512)
    assert len(corners) == 10 and corners[-1] == 5000 - 512
    assert {512 - step for step in np.diff(corners)} <= {13, 14}
    assert len(namespace['TILES']) == 180


def build(folder, split='train', **options):
    register_all_modules()
    names = ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')
    return DATASETS.build(
        dict(
            type='InriaAerialDataset',
            data_root=str(folder / 'data'),
            data_prefix=dict(img_path=f'img_dir/{split}', seg_map_path=f'ann_dir/{split}'),
            pipeline=[dict(type=name) for name in names],
            **options,
        )
    )


def test_labels_are_background_and_building(tmp_path):
    write_source(tmp_path)
    convert(tmp_path, '--partial', '--size', '15')
    train, val = build(tmp_path), build(tmp_path, 'val')
    assert (len(train), len(val)) == (8, 4)
    assert train.metainfo['classes'] == ('background', 'building')
    assert train[0]['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 1]


def test_a_killed_conversion_goes_on(tmp_path, capsys):
    """Between a patch and its label, and between two; unfinished files are no images of it."""
    write_source(tmp_path)
    data = tmp_path / 'data'
    killed_at_image(4, lambda: convert(tmp_path, '--partial', '--size', '15'))
    assert sorted(path.parts[-3] for path in data.rglob('austin*')) == [
        *['ann_dir'],
        *['img_dir'] * 2,
    ]
    killed_at_image(8, lambda: convert(tmp_path, '--partial', '--size', '15'))
    (data / 'img_dir/val/.99.austin5_0_0.png').write_bytes(b'half')
    first = {path: path.stat().st_mtime_ns for path in data.rglob('ann_dir/*/*.png')}
    assert len(first) == 4
    assert convert(tmp_path, '--partial', '--size', '15') is None
    assert '8 patches cut, 4 were there already' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(build(tmp_path, 'val')) == 4
    (data / 'img_dir/val/.99.austin5_0_0.png').unlink()
    assert convert(tmp_path, '--partial', '--size', '15', target='anew') is None
    assert contents(data) == contents(tmp_path / 'anew') and len(contents(data)) == 24


def test_several_processes_make_the_same(tmp_path):
    """By the command line."""
    source = write_source(tmp_path)
    convert(tmp_path, '--partial', '--size', '15')
    options = ('--nproc', 2, '--partial', '--size', 15)
    said = run(sys.executable, ROOT / f'tools/{TOOL}.py', source, tmp_path / 'two', *options)
    assert '3/3' in said and '12 patches cut, 0 were there already' in said
    assert contents(tmp_path / 'two') == contents(tmp_path / 'data')


def test_what_is_missing_is_a_sentence(tmp_path):
    source = write_source(tmp_path)
    said = convert(tmp_path, source=source / 'train')
    assert said.endswith('train/train/images does not exist: name the folder AerialImageDataset, '
                         'in which train has images and gt.')  # fmt: skip
    assert 'has 3 of 180 tiles, and lacks austin1.tif: unpack all parts' in convert(tmp_path)
    assert '--size got 0; give 1 or more' in convert(tmp_path, '--size', '0')
    assert not (tmp_path / 'data').exists()
    label = source / 'train/gt/tyrol-w6.tif'
    for pixels in (np.full((SIDE, SIDE), 1, np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)):
        assert cv2.imwrite(str(label), pixels)
        assert 'tyrol-w6.tif is no label of 0 and 255' in convert(tmp_path, '--partial')
    assert cv2.imwrite(str(label), np.zeros((SIDE, 2 * SIDE), np.uint8))
    assert 'tyrol-w6.tif is 30x30, and its label is 60x30' in convert(tmp_path, '--partial')
    truncate(label, 0)
    assert 'gt/tyrol-w6.tif cannot be read as an image' in convert(tmp_path, '--partial')
    label.unlink()
    assert 'gt/tyrol-w6.tif does not exist' in convert(tmp_path, '--partial')
    for image in (source / 'train/images').iterdir():
        image.unlink()
    assert 'has 0 of 180 tiles' in convert(tmp_path, '--partial')


def test_a_config_reads_it(tmp_path, monkeypatch):
    """In tests patches of 500 are padded to what the net can halve four times."""
    write_source(tmp_path)
    convert(tmp_path, '--partial', '--size', '15')
    monkeypatch.setenv('INRIA_AERIAL_ROOT', str(tmp_path / 'data'))
    config = Config.fromfile(ROOT / 'configs/unet/unet-s5-d16_bf1_inria.py')
    register_all_modules()
    preprocessor = MODELS.build(config.model.data_preprocessor)
    for name, training, side, classes in (
        ('train', True, 480, {0, 1, 255}),
        ('val', False, 16, {0, 1}),
    ):
        dataset = DATASETS.build(config[f'{name}_dataloader'].dataset)
        batch = {key: [dataset[0][key]] for key in ('inputs', 'data_samples')}
        done = preprocessor(batch, training=training)
        assert done['inputs'].shape == (1, 3, side, side)
        assert set(done['data_samples'][0].gt_sem_seg.data.unique().tolist()) == classes
