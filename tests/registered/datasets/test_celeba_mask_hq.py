"""CelebAMask-HQ and its converter, on small files in the published layout."""

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

TOOL = 'dataset_converters/celeba_mask_hq'
PIPELINE = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]
FOLDERS = dict(img_path='images', seg_map_path='labels')
NUMBERS = (0, 7, 1999, 2000, 23_200, 29_999)  # of four folders, and of all splits
# {part: (its rows, its number in a label)}; hair covers skin, a neck covers a necklace
ROWS = dict(skin=((0, 6), 1), l_eye=((1, 2), 4), hair=((4, 8), 13), neck_l=((8, 10), 16))
ROWS['neck'] = ((9, 11), 17)
EXPECTED = [1, 4, 1, 1, 13, 13, 13, 13, 16, 17, 17, 0]


def write_source(folder, numbers=NUMBERS):
    """Images of 24x24, and masks of 12x12 as RGB, as published."""
    source = folder / 'CelebAMask-HQ'
    (source / 'CelebA-HQ-img').mkdir(parents=True)
    for number in numbers:
        image = np.full((24, 24, 3), number % 251, np.uint8)
        assert cv2.imwrite(str(source / f'CelebA-HQ-img/{number}.jpg'), image)
        place = source / f'CelebAMask-HQ-mask-anno/{number // 2000}'
        place.mkdir(parents=True, exist_ok=True)
        for part, ((first, last), _) in ROWS.items():
            mask = np.zeros((12, 12, 3), np.uint8)
            mask[first:last] = 255
            assert cv2.imwrite(str(place / f'{number:05}_{part}.png'), mask)
    return source


def convert(folder, *options, source=None):
    source = source or folder / 'CelebAMask-HQ'
    return run_tool(TOOL, source, folder / 'data', *options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.*')}


def test_parts_are_painted_in_their_order(tmp_path):
    write_source(tmp_path)
    assert convert(tmp_path, '--partial') is None
    for number in NUMBERS:
        label = cv2.imread(str(tmp_path / f'data/labels/{number}.png'), cv2.IMREAD_UNCHANGED)
        assert label.shape == (12, 12) and label[:, 0].tolist() == EXPECTED
        assert (label == label[:, :1]).all()
        image = cv2.imread(str(tmp_path / f'data/images/{number}.jpg'))
        assert image.shape == (12, 12, 3) and abs(int(image.mean()) - number % 251) <= 1
    lists = {name: (tmp_path / f'data/{name}.txt').read_text() for name in ('train', 'val', 'test')}
    assert lists == dict(train='0\n7\n1999\n2000\n', val='23200\n', test='29999\n')


def build(folder, **options):
    register_all_modules()
    given = dict(type='CelebAMaskHQDataset', data_root=str(folder / 'data'), data_prefix=FOLDERS)
    return DATASETS.build({**given, 'ann_file': 'train.txt', 'pipeline': PIPELINE, **options})


def labels_of(dataset):
    return dataset[0]['data_samples'].gt_sem_seg.data[0, :, 0].tolist()


def test_all_parts_a_face_and_some_parts(tmp_path):
    write_source(tmp_path)
    convert(tmp_path, '--partial')
    parts = build(tmp_path)
    assert len(parts) == 4 and len(parts.metainfo['classes']) == 19
    assert len({tuple(color) for color in parts.metainfo['palette']}) == 19
    assert labels_of(parts) == EXPECTED
    names = [parts.metainfo['classes'][number] for _, number in ROWS.values()]
    assert names == ['skin', 'left eye', 'hair', 'necklace', 'neck']
    face = build(tmp_path, one_face=True)
    assert face.metainfo['classes'] == ('background', 'face') and len(face.metainfo['palette']) == 2
    assert labels_of(face) == [1] * 11 + [0]
    some = build(tmp_path, metainfo=dict(classes=('background', 'hair')))
    assert labels_of(some) == [255] * 4 + [1] * 4 + [255] * 3 + [0]
    with pytest.raises(ValueError, match=r"one_face=True and the classes \('hair',\)"):
        build(tmp_path, one_face=True, metainfo=dict(classes=('hair',)))


def test_the_order_of_the_classes_is_that_of_the_parts():
    """By what the names begin with: the files say l_eye, the class is a left eye."""
    text = (ROOT / f'tools/{TOOL}.py').read_text()
    namespace = {}
    exec(text[text.index('PARTS = ') : text.index('PER_FOLDER')], namespace)
    register_all_modules()
    classes = DATASETS.get('CelebAMaskHQDataset').METAINFO['classes'][1:]
    short = dict(l='left', r='right', u='upper', eye_g='eyeglasses', ear_r='earring')
    short |= dict(neck_l='necklace')
    for part, name in zip(namespace['PARTS'], classes, strict=True):
        words = [short.get(part)] if part in short else part.split('_')
        words = [short.get(word, word) for word in words]
        if part == 'l_lip':
            words = ['lower', 'lip']
        assert name.replace('brow', '').split() == ' '.join(words).replace('brow', 'eye').split()


def test_a_killed_conversion_goes_on(tmp_path, capsys):
    """Between an image and its label, and between two faces; what is whole is not made again."""
    write_source(tmp_path)
    data = tmp_path / 'data'
    killed_at_image(6, lambda: convert(tmp_path, '--partial'))
    assert sorted(path.name for path in data.rglob('*.*')) == [
        *('0.jpg', '0.png', '1999.jpg', '7.jpg', '7.png')
    ]
    killed_at_image(3, lambda: convert(tmp_path, '--partial'))
    first = {path: path.stat().st_mtime_ns for path in data.rglob('*.png')}
    assert len(first) == 3 and not list(data.glob('*.txt'))
    assert convert(tmp_path, '--partial') is None
    said = capsys.readouterr().out
    assert '6 faces, of which 3 are in' in said and '3 converted: ' in said
    assert {path: path.stat().st_mtime_ns for path in first} == first
    once = contents(data)
    (tmp_path / 'anew').mkdir()
    write_source(tmp_path / 'anew')
    convert(tmp_path / 'anew', '--partial')
    assert once == contents(tmp_path / 'anew/data') and len(once) == 30


def test_each_face_is_tested_in_one_of_five_folds(tmp_path):
    write_source(tmp_path)
    convert(tmp_path, '--partial')

    def faces(name):
        return list(map(int, (tmp_path / f'data/folds/{name}.txt').read_text().split()))

    parts = 'train', 'val', 'test'
    for fold in range(5):
        assert sorted(sum((faces(f'{fold}_{part}') for part in parts), [])) == list(NUMBERS)
    assert sorted(sum((faces(f'{fold}_test') for fold in range(5)), [])) == list(NUMBERS)
    assert faces('4_val') == [0, 7, 1999, 2000]  # the tenth after the last fifth is the first


def test_several_processes_make_the_same(tmp_path):
    """By the command line."""
    source = write_source(tmp_path)
    convert(tmp_path, '--partial')
    options = ('--nproc', 2, '--partial')
    said = run(sys.executable, ROOT / f'tools/{TOOL}.py', source, tmp_path / 'two', *options)
    assert '6/6' in said and '6 converted: ' in said
    assert contents(tmp_path / 'two') == contents(tmp_path / 'data')


def test_what_is_missing_is_a_sentence(tmp_path):
    source = write_source(tmp_path)
    said = convert(tmp_path, source=source / 'CelebA-HQ-img')
    assert said.endswith('as it is in CelebAMask-HQ.zip.') and 'has no folder CelebA-HQ-img' in said
    said = convert(tmp_path)
    assert 'has 6 of 30000 images (0.jpg to 29999.jpg), and lacks 1.jpg: unpack' in said
    assert not (tmp_path / 'data').exists()
    for part in ROWS:
        (source / f'CelebAMask-HQ-mask-anno/0/00007_{part}.png').unlink()
    assert 'has no mask of face 7 (such as 00007_skin.png)' in convert(tmp_path, '--partial')
    small = np.zeros((6, 6), np.uint8)
    for part in ('skin', 'neck'):
        mask = source / f'CelebAMask-HQ-mask-anno/0/00007_{part}.png'
        assert cv2.imwrite(str(mask), small if part == 'neck' else np.zeros((12, 12), np.uint8))
    assert 'neck.png is 6x6, and other masks of this face are 12x12' in convert(
        tmp_path, '--partial'
    )
    truncate(mask, 0)
    assert 'neck.png cannot be read as an image' in convert(tmp_path, '--partial')
    for image in (source / 'CelebA-HQ-img').iterdir():
        image.unlink()
    assert 'has 0 of 30000 images' in convert(tmp_path, '--partial')


def test_a_config_of_the_thesis_reads_it(tmp_path, monkeypatch):
    write_source(tmp_path)
    convert(tmp_path, '--partial')
    monkeypatch.setenv('CELEBA_MASK_HQ_ROOT', str(tmp_path / 'data'))
    config = Config.fromfile(ROOT / 'configs/unet/unet-r34_dt_celeba.py')
    register_all_modules()
    assert [len(DATASETS.build(config[f'{name}_dataloader'].dataset)) for name in
            ('train', 'val', 'test')] == [4, 1, 1]  # fmt: skip
    samples = [DATASETS.build(config.train_dataloader.dataset)[index] for index in (0, 1)]
    batch = {key: [sample[key] for sample in samples] for key in ('inputs', 'data_samples')}
    done = MODELS.build(config.model.data_preprocessor)(batch, training=True)
    assert done['inputs'].shape == (2, 3, 256, 256)
    assert set(done['data_samples'][0].gt_sem_seg.data.unique().tolist()) == {0, 1}
    test = DATASETS.build(config.test_dataloader.dataset)[0]
    assert test['data_samples'].gt_sem_seg.shape == (12, 12)
    assert config.train_dataloader.batch_size == 32
    assert config.train_cfg.max_iters == 60 * (23_200 // 32)
