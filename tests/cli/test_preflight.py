"""Numbers of classes, validation labels and one logit, checked before a run trains."""

from pathlib import Path
from types import SimpleNamespace

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn

from mmseg_boundary.cli import errors, preflight
from mmseg_boundary.cli.errors import plain_errors
from mmseg_boundary.cli.preflight import (
    ObjectSeenHook,
    compare_classes,
    decode_heads,
    prepare_training,
    require_known_validation_labels,
)
from mmseg_boundary.registered import BoundaryMetric

FCN = dict(type='FCNHead', in_channels=4, channels=4, in_index=0)


def run_with(*heads, auxiliary=None):
    """A runner whose model has these decode heads; several are those of a cascade."""
    register_all_modules()
    built = [MODELS.build(ConfigDict(head)) for head in heads]
    model = nn.Module()
    model.decode_head = built[0] if len(built) == 1 else nn.ModuleList(built)
    if auxiliary:
        model.auxiliary_head = MODELS.build(ConfigDict(auxiliary))
    return SimpleNamespace(model=model)


def data_set(count, **metainfo):
    return SimpleNamespace(metainfo=dict(classes=list(map(str, range(count))), **metainfo))


def compare(run, count, **metainfo):
    compare_classes(decode_heads(run), data_set(count, **metainfo))


def ocr_head(num_classes):
    return dict(FCN, type='OCRHead', ocr_channels=4, num_classes=num_classes)


# --- Numbers of classes ---------------------------------------------------------------------------


def test_as_many_classes_as_the_data_set(warned):
    other = dict(FCN, num_classes=3)  # auxiliary heads may predict something else
    compare(run_with(dict(FCN, num_classes=19), auxiliary=other), 19)
    assert warned == []


def test_fewer_classes_than_the_data_set(warned):
    with pytest.raises(ValueError) as caught:
        compare(run_with(dict(FCN, num_classes=11)), 12)
    assert str(caught.value) == (
        'model.decode_head has num_classes=11, too few for the 12 classes of the training set '
        '(SimpleNamespace): give all heads num_classes=12.'
    )
    assert warned == []


def test_a_class_that_is_reduced_away_is_no_class():
    """`classes` with a name for label 0 under reduce_zero_label."""
    with pytest.raises(ValueError, match='num_classes=151, or leave label 0, which reduce_zero'):
        compare(run_with(dict(FCN, num_classes=150)), 151, reduce_zero_label=True)
    compare(run_with(dict(FCN, num_classes=150)), 150, reduce_zero_label=True)


def test_more_classes_than_the_data_set(warned):
    compare(run_with(dict(FCN, num_classes=21)), 19)
    (said,) = warned
    assert said.startswith('model.decode_head has num_classes=21, more than the 19 classes of the')


@pytest.mark.parametrize('num_classes', [1, 2])
@pytest.mark.parametrize('count', [1, 2])
def test_one_logit_is_two_classes(num_classes, count, warned):
    compare(run_with(dict(FCN, num_classes=num_classes, out_channels=1, threshold=0.3)), count)
    assert warned == []


@pytest.mark.parametrize('num_classes', [1, 2])
def test_one_logit_is_not_three_classes(num_classes):
    head = dict(FCN, num_classes=num_classes, out_channels=1, threshold=0.3)
    with pytest.raises(ValueError, match='has one logit, .* num_classes=3 and no out_channels'):
        compare(run_with(head), 3)


@pytest.mark.parametrize('first, last', [(3, 4), (4, 3)])
def test_every_head_of_a_cascade(first, last, warned):
    run = run_with(dict(FCN, num_classes=first), ocr_head(last))
    place = 0 if first < last else 1
    with pytest.raises(ValueError, match=rf'model.decode_head.{place} has num_classes=3'):
        compare(run, 4)
    compare(run, 3)
    (said,) = warned
    assert said.startswith(f'model.decode_head.{1 - place} has num_classes=4, more')
    compare(run_with(dict(FCN, num_classes=4), ocr_head(4)), 3)
    assert len(warned) == 2 and 'decode_head.0' in warned[1] and 'decode_head.1' in warned[1]


def test_k_nets_number_is_that_of_its_kernels():
    stock = '.mim/configs/knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py'
    config = Config.fromfile(Path(mmseg.__path__[0], stock)).model.decode_head
    config.num_stages = 1
    config.kernel_update_head = config.kernel_update_head[:1]
    config.kernel_generate_head.update(in_channels=8, channels=8, norm_cfg=dict(type='BN'))
    config.kernel_update_head[0].update(feedforward_channels=8)
    run = run_with(config)
    compare(run, 150)
    with pytest.raises(ValueError, match='model.decode_head has num_classes=150'):
        compare(run, 151)


def test_heads_without_a_number_of_classes_are_left_alone(warned):
    """VPD's estimates depths, with one channel, on data sets whose `classes` are kinds of rooms;
    Mask2Former's is MMDetection's; SAN's has one class less; a segmentor may have no head."""
    depth = dict(
        type='VPDDepthHead', in_channels=[16] * 4, embed_dim=8, feature_dim=16,
        num_deconv_layers=1, num_deconv_filters=[16],
    )  # fmt: skip
    compare(run_with(depth), 27)
    masks = nn.Module()
    masks.num_classes = 3
    # SAN's for VOC has 20: its text encoder adds the background.
    san = preflight.SideAdapterCLIPHead.__new__(preflight.SideAdapterCLIPHead)
    nn.Module.__init__(san)
    san.num_classes = san.out_channels = 20
    for model in (*(SimpleNamespace(decode_head=head) for head in (masks, san)), SimpleNamespace()):
        compare(SimpleNamespace(model=model), 27)
    assert warned == []


@pytest.mark.parametrize('metainfo', [None, {}, dict(classes=None), dict(classes=())])
def test_data_sets_without_classes_are_left_alone(metainfo, warned):
    heads = decode_heads(run_with(dict(FCN, num_classes=3)))
    compare_classes(heads, SimpleNamespace(metainfo=metainfo))
    compare_classes(heads, [1, 2])
    assert warned == []


def test_heads_of_a_wrapped_model(monkeypatch):
    run = run_with(dict(FCN, num_classes=3))
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = run.model
    assert list(decode_heads(SimpleNamespace(model=wrapper))) == ['model.decode_head']


@pytest.mark.parametrize('rank', [0, 1])
def test_what_all_ranks_check_is_said_once(rank, monkeypatch):
    """Labels that one rank alone has seen are said by that one."""
    monkeypatch.setenv('LOCAL_RANK', str(rank))
    monkeypatch.setattr(errors, 'PATIENCE', 0)
    run = run_with(dict(FCN, num_classes=3))
    run.train_loop, run.train_dataloader = object(), SimpleNamespace(dataset=data_set(4))
    with pytest.raises(SystemExit) as end, plain_errors(Config(dict(model={}))):
        prepare_training(run)
    assert end.value.code == 1 if rank else end.value.code.startswith('model.decode_head has')
    metric = BoundaryMetric()
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    with (
        pytest.raises(SystemExit, match='/labels/a.png holds'),
        plain_errors(Config(dict(model={}))),
    ):
        metric.process({}, [sample(UNKNOWN).to_dict()])


# --- Validation labels ----------------------------------------------------------------------------


def sample(label):
    return SegDataSample(
        gt_sem_seg=PixelData(data=torch.as_tensor(label)[None]),
        metainfo=dict(seg_map_path='/labels/a.png', img_path='/images/a.png'),
    )


def validation(labels, *metrics):
    for metric in metrics:
        metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    dataset = [dict(data_samples=sample(label)) for label in labels]
    return SimpleNamespace(
        val_loop=SimpleNamespace(evaluator=SimpleNamespace(metrics=metrics)),
        val_dataloader=SimpleNamespace(dataset=dataset),
    )


KNOWN, UNKNOWN = np.array([[0, 2, 255]]), np.array([[0, 2, 11]])


def test_the_first_validation_labels():
    metric = BoundaryMetric()
    require_known_validation_labels(validation([KNOWN] * 3, IoUMetric(), metric))
    with pytest.raises(ValueError, match=r'/labels/a.png holds \[11\]'):
        require_known_validation_labels(validation([KNOWN, UNKNOWN], IoUMetric(), metric))
    assert metric.results == []
    # Reading all of a data set would take as long as validating.
    require_known_validation_labels(
        validation([KNOWN] * preflight.FIRST_LABELS + [UNKNOWN], metric)
    )


@pytest.mark.parametrize(
    'metric',
    [
        lambda: BoundaryMetric(ignore_index=11, unknown_labels='wrong'),
        lambda: BoundaryMetric(unknown_labels='wrong'),
        lambda: BoundaryMetric(format_only=True, output_dir='unused'),
        IoUMetric,
    ],
)
def test_metrics_that_refuse_nothing(metric, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_known_validation_labels(validation([UNKNOWN], metric()))


def test_void_is_the_evaluators():
    reduced = np.array([[0, 2, 11]])
    require_known_validation_labels(validation([reduced], BoundaryMetric(ignore_index=11)))
    with pytest.raises(ValueError, match=r'holds \[255\].*11 as void'):
        require_known_validation_labels(validation([KNOWN], BoundaryMetric(ignore_index=11)))


def test_runs_without_validation_or_without_its_labels():
    require_known_validation_labels(SimpleNamespace(val_loop=None))
    run = validation([KNOWN], BoundaryMetric())
    del run.val_dataloader.dataset[0]['data_samples'].gt_sem_seg
    run.val_dataloader.dataset += [dict(inputs=[]), dict(data_samples=[sample(UNKNOWN)]), [1]]
    require_known_validation_labels(run)
    prepare_training(SimpleNamespace(train_loop=None))  # MMEngine says what is missing


# --- One logit ------------------------------------------------------------------------------------


def batch(*labels):
    return dict(inputs=[], data_samples=[sample(np.array([label])) for label in labels])


def show(hook, *batches, ends=True):
    for index, data_batch in enumerate(batches):
        hook.before_train_iter(None, index, data_batch)
    if ends:
        hook.after_train(None)


EMPTY, MASK, OBJECT = batch([0, 0]), batch([0, 0], [0, 255]), batch([0, 0], [0, 1])


def test_an_object_that_is_void_is_warned_of_once(warned):
    show(ObjectSeenHook(255), *[EMPTY] * 50, *[MASK] * 150)
    (said,) = warned
    assert 'first 100 batches' in said and '255 is void: the object is never seen' in said


def test_the_warning_comes_after_100_batches(warned):
    hook = ObjectSeenHook(255)
    show(hook, *[MASK] * 99, ends=False)
    assert warned == []
    show(hook, MASK, ends=False)
    assert len(warned) == 1


def test_a_run_of_fewer_batches_is_warned_at_its_end(warned):
    show(ObjectSeenHook(255), MASK, MASK)
    assert len(warned) == 1 and 'first 2 batches' in warned[0]


@pytest.mark.parametrize(
    'batches', [[OBJECT, MASK], [MASK] * 99 + [OBJECT], [EMPTY] * 120, [batch([1, 255])], []]
)
def test_an_object_that_is_seen_or_no_void_is_no_news(batches, warned):
    show(ObjectSeenHook(255), *batches)
    assert warned == []


def test_void_of_another_number(warned):
    show(ObjectSeenHook(2), batch([0, 2]), MASK)
    assert '2 is void: the object is never seen' in warned[0]
    show(ObjectSeenHook(2), MASK)
    assert len(warned) == 1


def test_the_device_is_not_asked(warned):
    """A loader that gives labels on a GPU, none, or something else."""
    onto_device = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 2, 2, device='meta')))
    odd = [dict(data_samples=[onto_device, SegDataSample()]), dict(inputs=[]), None, [1, 2]]
    show(ObjectSeenHook(255), *odd)
    assert warned == []


@pytest.mark.parametrize(
    'heads, void',
    [
        ([dict(FCN, num_classes=2, out_channels=1, threshold=0.3)], 255),
        ([dict(FCN, num_classes=2, out_channels=1, threshold=0.3, ignore_index=7)], 7),
        ([dict(FCN, num_classes=2, out_channels=1, threshold=0.3, ignore_index=None)], None),
        ([dict(FCN, num_classes=2)], None),
    ],
)
def test_a_head_of_one_logit_gets_the_hook(heads, void):
    run, hooks = run_with(*heads), []
    run.train_loop, run.val_loop = object(), None
    run.train_dataloader = SimpleNamespace(dataset=data_set(2))
    run.register_hook = hooks.append
    prepare_training(run)
    assert [hook.ignore_index for hook in hooks] == ([] if void is None else [void])
