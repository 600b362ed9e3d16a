"""The published protocols: numbers of the papers and of the implementations that they adopted."""

import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.utils import register_all_modules

from tests.support.skips import ROOT


@cache
def read(name):
    return Config.fromfile(ROOT / f'configs/{name.partition("-")[0]}/{name}.py')


# {config: (crop, batch on four GPUs, epochs, images, whether the last batch is left out)}
PROTOCOLS = {
    'pspnet-r50_ce_voc': ((473, 473), 16, 50, 10582, True),
    'psanet-r50_ce_voc': ((465, 465), 16, 50, 10582, True),
    'pspnet-r50_ce_voc256': ((256, 256), 12, 50, 10582, True),
    'deeplabv3plus-r101_ce_voc': ((513, 513), 16, 50, 10582, False),
    'pspnet-r50_ce_city': ((560, 560), 16, 200, 2975, True),
    'psanet-r50_ce_city': ((560, 560), 16, 200, 2975, True),
    'pspnet-r50_ce_city256': ((256, 512), 12, 200, 2975, True),
}
SEMSEG = [name for name in PROTOCOLS if not name.startswith('deeplab')]


@pytest.mark.parametrize('name', PROTOCOLS)
def test_crops_batches_and_lengths(name):
    """EPL's Tables VIII and IX, its ablations, and the epochs of the implementations."""
    crop, batch, epochs, images, drop_last = PROTOCOLS[name]
    config = read(name)
    assert config.crop_size == config.model.data_preprocessor.size == crop
    assert config.train_dataloader.batch_size * 4 == batch
    iterations = epochs * (images // batch if drop_last else math.ceil(images / batch))
    (schedule,) = config.param_scheduler
    assert (schedule.type, schedule.end, schedule.power) == ('PolyLR', iterations, 0.9)
    assert (schedule.eta_min, schedule.by_epoch) == (0, False)
    assert config.train_cfg.max_iters == iterations
    assert iterations % config.train_cfg.val_interval == 0
    assert config.default_hooks.checkpoint.interval == config.train_cfg.val_interval
    loaders = config.train_dataloader.dataset
    for dataset in loaders.get('datasets', [loaders]):
        (crops,) = (step for step in dataset.pipeline if step.type == 'RandomCrop')
        assert crops.crop_size == crop and 'cat_max_ratio' not in crops
    # 8 k + 1, as these crops are, fits the corners of stride 8.
    aligned = all(side % 8 == 1 for side in crop)
    assert config.model.decode_head.align_corners == aligned


class Parts(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name in ('backbone', 'decode_head', 'auxiliary_head'):
            self.add_module(name, torch.nn.Linear(1, 1, bias=False))


@pytest.mark.parametrize(
    'name, lr, decay',
    [
        ('pspnet-r50_ce_voc', 0.01, 1e-4),
        ('psanet-r101_epl_city', 0.01, 1e-4),
        ('deeplabv3plus-r101_ce_voc', 0.007, 5e-4),
    ],
)
def test_heads_learn_ten_times_as_fast(name, lr, decay):
    parts = Parts()
    optimizer = build_optim_wrapper(parts, read(name).optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.SGD
    found = {id(group['params'][0]): group for group in optimizer.param_groups}
    for part, factor in (('backbone', 1), ('decode_head', 10), ('auxiliary_head', 10)):
        group = found[id(getattr(parts, part).weight)]
        assert group['lr'] == pytest.approx(factor * lr)
        assert (group['momentum'], group['weight_decay']) == (0.9, decay)
        assert not group['nesterov']


@pytest.mark.parametrize('name', SEMSEG)
def test_windows_are_two_thirds_of_a_crop_apart(name):
    config = read(name)
    windows = config.model.test_cfg
    assert (windows.mode, windows.crop_size) == ('slide', config.crop_size)
    assert windows.stride == tuple(math.ceil(side * 2 / 3) for side in config.crop_size)
    assert config.model.data_preprocessor.test_cfg.size == config.crop_size


@pytest.mark.parametrize('name', ['psanet-r50_epl_voc', 'psanet-r101_ce_city'])
def test_the_mask_of_psanet_covers_the_map_of_a_crop(name):
    config = read(name)
    side = math.ceil(config.crop_size[0] / 8)
    shrunk = (side - 1) // 2 + 1 if side % 2 else side // 2
    assert config.model.decode_head.mask_size == (2 * shrunk - 1,) * 2


# {config: (stock parameters, semseg's, whose stem is wider)}; of PSANet semseg's alone are known
PARAMETERS = {
    'pspnet-r50_ce_voc': (48_977_034, 49_081_578),
    'pspnet-r101_ce_voc': (67_969_162, 68_073_706),
    'pspnet-r50_epl_city': (None, 49_080_038),
    'pspnet-r101_epl_city': (None, 68_072_166),
    'psanet-r50_ce_voc': (53_069_962, 53_174_506),
    'psanet-r101_ce_voc': (None, 72_166_634),
}


def on_meta(model):
    register_all_modules()
    with torch.device('meta'):
        return MODELS.build(dict(model, pretrained=None))


def size_of(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize('name', PARAMETERS)
def test_the_wider_stem_of_the_readme_gives_semsegs_network(name):
    page = (ROOT / f'configs/{name.partition("-")[0]}/README.md').read_text()
    assert 'model.backbone.stem_channels=128' in page
    stock, theirs = PARAMETERS[name]
    config = Config(read(name).to_dict())
    if stock:
        assert size_of(on_meta(config.model)) == stock
    config.merge_from_dict({'model.backbone.stem_channels': 128})
    net = on_meta(config.model)
    assert size_of(net) == theirs
    if name.startswith('psanet'):
        assert net.decode_head.proj.conv.padding == (0, 0)
    for stage, dilation in ((net.backbone.layer3, 2), (net.backbone.layer4, 4)):
        assert {block.conv2.dilation for block in stage} == {(dilation, dilation)}


def test_the_backbone_of_deeplab():
    net = on_meta(read('deeplabv3plus-r101_epl_voc').model).backbone
    assert size_of(net) == 42_500_160
    assert [block.conv2.dilation[0] for block in net.layer4] == [2, 4, 8]
    shapes = [tuple(map_.shape[1:]) for map_ in net(torch.empty(1, 3, 513, 513, device='meta'))]
    assert shapes == [(256, 129, 129), (512, 65, 65), (1024, 33, 33), (2048, 33, 33)]


def write_voc(folder, size):
    rng = np.random.default_rng(0)
    for place, kind, lists in (
        ('JPEGImages', 'jpg', ()),
        ('SegmentationClass', 'png', ('train', 'val')),
        ('SegmentationClassAug', 'png', ('aug',)),
    ):
        (folder / place).mkdir(parents=True)
        (folder / 'ImageSets/Segmentation').mkdir(parents=True, exist_ok=True)
        shape = size if kind == 'png' else (*size, 3)
        assert cv2.imwrite(str(folder / place / f'a.{kind}'), rng.integers(0, 21, shape, np.uint8))
        for name in lists:
            (folder / f'ImageSets/Segmentation/{name}.txt').write_text('a\n')


@pytest.mark.parametrize(
    'name, tested', [('psanet-r50_epl_voc', (384, 512)), ('deeplabv3plus-r101_epl_voc', (513, 684))]
)
def test_the_pipelines_of_voc_run(name, tested, tmp_path):
    """On an image of 60 x 80 pixels, which a random factor of its own size leaves small."""
    register_all_modules()
    np.random.seed(0)
    write_voc(tmp_path, (60, 80))
    config = Config(read(name).to_dict())
    train = config.train_dataloader.dataset
    for dataset in (*train.datasets, config.val_dataloader.dataset):
        dataset.data_root = str(tmp_path)
    data = DATASETS.build(train)
    assert len(data) == 2
    preprocessor = MODELS.build(config.model.data_preprocessor)
    samples = [data[index % 2] for index in range(6)]
    batch = dict(
        inputs=[sample['inputs'] for sample in samples],
        data_samples=[sample['data_samples'] for sample in samples],
    )
    own = name.startswith('psanet')
    heights = [sample['inputs'].shape[1] for sample in samples]
    assert (max(heights) <= 120) if own else (max(heights) > 300)
    done = preprocessor(batch, training=True)
    assert done['inputs'].shape == (6, 3, *config.crop_size)
    labels = torch.stack([sample.gt_sem_seg.data for sample in done['data_samples']])
    assert set(labels.unique().tolist()) == {*range(21), 255}

    (sample,) = DATASETS.build(config.val_dataloader.dataset)
    assert sample['inputs'].shape[1:] == tested
    assert sample['data_samples'].gt_sem_seg.shape == (60, 80)
    steps = Compose([TRANSFORMS.build(step) for step in config.tta_pipeline])
    info = DATASETS.build(config.val_dataloader.dataset).get_data_info(0)
    inputs = steps(info)['inputs']
    assert len(inputs) == 12
    assert [max(each.shape) for each in inputs[::2]] == [
        pytest.approx(factor * tested[1], abs=1.5) for factor in (0.5, 0.75, 1, 1.25, 1.5, 1.75)
    ]
