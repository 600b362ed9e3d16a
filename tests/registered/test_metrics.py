"""BoundaryMetric beside MMSegmentation's IoUMetric, on the same samples."""

import math

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import MMLogger
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import METRICS
from PIL import Image

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import labels
from mmseg_boundary.labels import is_void
from mmseg_boundary.metrics import boundary_f, count_boundary_iou, count_trimap_iou, iou
from mmseg_boundary.metrics.boundary_iou import width_at_ratio
from tests.support.scenes import segmentation
from tests.support.skips import needs_gpu

CLASSES = ('sky', 'road', 'car', 'unicorn')  # the last is in no image
WIDTHS = (1, 2, 3, 5, 9, 15)
SIZES = ((40, 52), (31, 60), (52, 40), (40, 52), (25, 25))
PAIRS = [segmentation(size, seed=seed, wrong=0.1) for seed, size in enumerate(SIZES)]


def build(type='BoundaryMetric', classes=CLASSES, **arguments):
    metric = METRICS.build(dict(type=type, **arguments))
    metric.dataset_meta = dict(classes=classes)
    return metric


def sample(pred, label, name='a.png', **info):
    """As the evaluator hands it over."""
    return dict(
        pred_sem_seg=dict(data=pred[None]),
        gt_sem_seg=dict(data=label[None]),
        img_path=f'/images/{name}',
        **info,
    )


def evaluate(metric, pairs=PAIRS, batch_size=2):
    samples = [sample(*pair) for pair in pairs]
    for start in range(0, len(samples), batch_size):
        metric.process({}, samples[start : start + batch_size])
    assert len(metric.results) == len(pairs)
    return metric.evaluate(len(pairs))


def test_the_keys():
    keys = {'aAcc', 'mIoU', 'mAcc', 'mBoundaryIoU'}
    for name in ('BoundaryIoU', 'BoundaryF', 'TrimapIoU'):
        keys |= {f'm{name}_{width}px' for width in WIDTHS}
    assert set(evaluate(build())) == keys
    assert set(evaluate(build(boundary_f_mode='csurka'))) == keys | {'mBoundaryF'}
    few = build(boundary_metrics=['TrimapIoU'], widths=[4], iou_metrics=['mDice'])
    assert set(evaluate(few)) == {'aAcc', 'mDice', 'mAcc', 'mTrimapIoU_4px'}


def test_the_keys_of_shares_of_the_diagonal():
    """Beside those at `dilation_ratio` and of Csurka's tolerance, which keep theirs."""
    scores = evaluate(build(widths=[3, 0.008, 0.02], boundary_f_mode='csurka'))
    names = ('mBoundaryIoU', 'mBoundaryF', 'mTrimapIoU')
    keys = {f'{name}_{width}' for name in names for width in ('3px', '0.008d', '0.02d')}
    assert set(scores) == {'aAcc', 'mIoU', 'mAcc', 'mBoundaryIoU', 'mBoundaryF'} | keys
    assert scores['mBoundaryIoU_0.02d'] == scores['mBoundaryIoU']
    whole = evaluate(build(widths=[3], boundary_f_mode='csurka'))
    assert all(scores[key] == value for key, value in whole.items())
    davis = evaluate(build(widths=[0.03], boundary_metrics=['BoundaryF']))
    assert {math.ceil(0.03 * math.hypot(*size)) for size in SIZES} == {2, 3}
    values = [
        boundary_f(*pair, 4, (math.ceil(0.03 * math.hypot(*pair[1].shape)),)) for pair in PAIRS
    ]
    expected = 100 * np.nanmean(np.stack([each.numpy() for each in values]))
    assert davis['mBoundaryF_0.03d'] == pytest.approx(expected)


@pytest.mark.parametrize('mode', ['band', 'deeplab'])
def test_the_trimaps_mode(mode, tmp_path):
    """In the title and in `details`; the keys are the same, and no other score moves."""
    logger = MMLogger.get_instance(f'trimap {mode}', log_file=str(tmp_path / 'log'))
    metric = build(trimap_mode=mode)
    scores, plain = evaluate(metric), evaluate(build())
    printed = (tmp_path / 'log').read_text()
    for handler in logger.handlers:
        handler.close()
    assert scores.keys() == plain.keys() and metric.details['trimap_mode'] == mode
    assert f"mode '{mode}'" in printed and 'no pixel to count' not in printed
    counts = sum(count_trimap_iou(*pair, 4, WIDTHS, mode=mode) for pair in PAIRS)
    assert scores['mTrimapIoU_3px'] == pytest.approx(100 * iou(counts).nanmean(0)[2].item())
    moved = {key for key in scores if scores[key] != plain[key]}
    assert moved == ({f'mTrimapIoU_{width}px' for width in WIDTHS} if mode == 'deeplab' else set())


@pytest.mark.parametrize('nan_to_num', [None, 0])
def test_a_trimap_of_void_without_void(nan_to_num, tmp_path):
    """The table says why there is no number."""
    logger = MMLogger.get_instance(f'no void {nan_to_num}', log_file=str(tmp_path / 'log'))
    pairs = [(pred, label.where(label != 255, 0)) for pred, label in PAIRS]
    scores = evaluate(build(trimap_mode='deeplab', nan_to_num=nan_to_num), pairs)
    printed = (tmp_path / 'log').read_text()
    for handler in logger.handlers:
        handler.close()
    assert math.isnan(scores['mTrimapIoU_3px']) == (nan_to_num is None)
    assert "Trimap IoU has no pixel to count: mode 'deeplab' takes those beside void" in printed
    assert 'NaN without void' in printed and scores['mBoundaryF_3px'] > 0


def test_ious_are_ious_of_sums_in_percent():
    scores = evaluate(build())
    for name, count in (('BoundaryIoU', count_boundary_iou), ('TrimapIoU', count_trimap_iou)):
        means = iou(sum(count(*pair, 4, WIDTHS) for pair in PAIRS)).nanmean(0)
        for width, mean in zip(WIDTHS, means.tolist()):
            assert scores[f'm{name}_{width}px'] == pytest.approx(100 * mean)


def test_boundary_iou_has_each_image_at_its_own_width():
    ratio = 0.06
    assert len({width_at_ratio(*size, ratio) for size in SIZES}) > 1
    counts = sum(
        count_boundary_iou(*pair, 4, (width_at_ratio(*pair[1].shape, ratio),)) for pair in PAIRS
    )
    mean = iou(counts).nanmean().item()
    assert evaluate(build(dilation_ratio=ratio))['mBoundaryIoU'] == pytest.approx(100 * mean)


def test_f_is_a_mean_over_images_in_percent():
    values = np.stack([boundary_f(*pair, 4, WIDTHS).numpy() for pair in PAIRS])[:, :3]
    assert not np.isnan(values).any()
    expected = 100 * values.mean((0, 1))
    scores = evaluate(build())
    for width, mean in zip(WIDTHS, expected):
        assert scores[f'mBoundaryF_{width}px'] == pytest.approx(mean)
    # The class that is nowhere counts as 1.
    inflated = evaluate(build(boundary_f_mode='gscnn'))
    assert inflated['mBoundaryF_3px'] == pytest.approx((3 * expected[2] + 100) / 4)


def test_void_is_boundary_moves_the_trimap_alone():
    without, with_void = evaluate(build()), evaluate(build(void_is_boundary=True))
    moved = {key for key in without if without[key] != with_void[key]}
    assert moved and all(key.startswith('mTrimapIoU') for key in moved)


@pytest.mark.parametrize('nan_to_num', [None, 0])
def test_the_rest_is_what_iou_metric_says_but_not_rounded(nan_to_num):
    arguments = dict(iou_metrics=['mIoU', 'mDice', 'mFscore'], nan_to_num=nan_to_num)
    theirs, ours = evaluate(build('IoUMetric', **arguments)), evaluate(build(**arguments))
    for key, value in theirs.items():
        assert round(ours[key], 2) == pytest.approx(float(value), abs=1e-5), key
    assert any(ours[key] != round(ours[key], 2) for key in theirs)
    # The class that is nowhere is left out, or counted as the user says.
    share = 3 / 4 if nan_to_num == 0 else 1
    assert ours['mTrimapIoU_3px'] == pytest.approx(share * evaluate(build())['mTrimapIoU_3px'])


def test_areas_are_summed_in_integers():
    """500 images of Cityscapes' size, one pixel of each wrong: float32 loses them."""
    area = 2**21
    one = torch.tensor([[area - 1], [area + 1], [area], [area]])
    metric = build(classes=('road',), boundary_metrics=[])
    scores = metric.compute_metrics([dict(areas=one + shift) for shift in range(500)])
    total = 500 * area + sum(range(500))
    assert scores['mIoU'] == 100 * (total - 500) / (total + 500)
    assert sum(one[1].float() + shift for shift in range(500)).item() != total + 500


def test_order_and_split_do_not_show():
    """To the last bit, for every mode."""
    for mode in ('present', 'gscnn', 'csurka'):
        scores = evaluate(build(boundary_f_mode=mode))
        assert evaluate(build(boundary_f_mode=mode), PAIRS[::-1], batch_size=1) == scores
        assert evaluate(build(boundary_f_mode=mode), PAIRS[2:] + PAIRS[:2], batch_size=5) == scores


def test_what_travels_between_ranks_is_small():
    metric = build()
    metric.process({}, [sample(*PAIRS[0])])
    (record,) = metric.results
    assert isinstance(record.pop('path'), str)
    assert all(value.device.type == 'cpu' for value in record.values())
    assert (
        sum(value.numel() for value in record.values()) < 4 * len(CLASSES) * (len(WIDTHS) + 2) * 2
    )
    assert {value.dtype for key, value in record.items() if key != 'BoundaryF'} == {torch.int64}


def test_an_image_is_decoded_once(monkeypatch):
    """For all metrics together."""
    decoded = []

    def counted(label, ignore_index):
        decoded.append(label)
        return is_void(label, ignore_index)

    monkeypatch.setattr(labels, 'is_void', counted)
    evaluate(build(unknown_labels='wrong'))
    assert len(decoded) == len(PAIRS)


# --- As with IoUMetric ----------------------------------------------------------------------------


@pytest.mark.parametrize('format_only', [False, True])
def test_label_images(format_only, tmp_path):
    """1 is added where the data set's labels were reduced by 1; without labels none is scored."""
    metric = build(output_dir=str(tmp_path), format_only=format_only)
    pred, label = PAIRS[0]
    samples = [sample(pred, label), sample(pred, label, 'b.jpg', reduce_zero_label=True)]
    if format_only:
        for each in samples:
            del each['gt_sem_seg']
    metric.process({}, samples)
    assert bool(metric.evaluate(2)) != format_only
    assert (np.asarray(Image.open(tmp_path / 'a.png')) == pred.numpy()).all()
    assert (np.asarray(Image.open(tmp_path / 'b.png')) == pred.numpy() + 1).all()


@pytest.mark.parametrize('has_channel', [True, False])
def test_predictions_of_one_logit_are_float_and_some_have_no_channel(has_channel):
    classes = ('ground', 'object')
    pairs = [
        (pred.clamp(max=1), label.where(label == 255, label.clamp(max=1))) for pred, label in PAIRS
    ]
    scores = evaluate(build(classes=classes), pairs)
    metric = build(classes=classes)
    for pred, label in pairs:
        each = sample(pred.float(), label)
        if not has_channel:
            each['pred_sem_seg']['data'] = pred.float()
        metric.process({}, [each])
    assert metric.evaluate(len(pairs)) == scores


def test_the_prefix_of_one_of_several_evaluators():
    evaluator = Evaluator([build('IoUMetric'), build(prefix='near', keep_results=True)])
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process([sample(*pair) for pair in PAIRS])
    scores = evaluator.evaluate(len(PAIRS))
    assert {'mIoU', 'near/mIoU', 'near/mBoundaryF_3px'} <= set(scores)


@pytest.mark.parametrize(
    'key', ['mIoU', 'mBoundaryIoU', 'mBoundaryF_3px', 'near/mTrimapIoU_1px', 'mBoundaryF_0.008d']
)
def test_the_best_checkpoint_by_any_key(key):
    hook = CheckpointHook(save_best=key)
    assert hook.is_better_than[hook.key_indicators[0]](2.0, 1.0)
    assert EarlyStoppingHook(monitor=key).rule == 'greater'


# --- Labels outside the classes -------------------------------------------------------------------


def with_unknown(labels=(0,), unknown=11):
    """The pairs with class 2 of some labels, and void of the others, replaced by `unknown`."""
    return [
        (pred, label.where(label != (2 if index in labels else 255), unknown))
        for index, (pred, label) in enumerate(PAIRS)
    ]


@pytest.mark.parametrize('info', [dict(seg_map_path='/labels/a.png'), {}, dict(seg_map_path=None)])
def test_unknown_labels_are_refused_by_file(info, tmp_path):
    """Of a batch nothing is counted or written; the labels' file is named, else the image's."""
    metric = build(output_dir=str(tmp_path))
    good, bad = sample(*PAIRS[0], name='b.png'), sample(*with_unknown()[0], **info)
    with pytest.raises(ValueError) as caught:
        metric.process({}, [good, bad])
    file = info.get('seg_map_path') or '/images/a.png'
    said = str(caught.value)
    assert said.startswith(f'{file} holds [11], but the metric knows 4 classes (0 to 3) and 255')
    assert 'ignore_index=11' in said and "unknown_labels='wrong'" in said
    assert not metric.results and not list(tmp_path.iterdir())


def test_wrong_counts_unknown_labels_as_iou_metric():
    pairs = with_unknown()
    ours, theirs = (
        evaluate(build(unknown_labels='wrong'), pairs),
        evaluate(build('IoUMetric'), pairs),
    )
    for key, value in theirs.items():
        assert round(ours[key], 2) == pytest.approx(float(value), abs=1e-5), key
    expected = iou(
        sum(count_boundary_iou(*pair, 4, WIDTHS, unknown_labels='wrong') for pair in pairs)
    )
    assert ours['mBoundaryIoU_3px'] == pytest.approx(100 * expected.nanmean(0)[2].item())
    assert ours['mBoundaryF_3px'] < evaluate(build())['mBoundaryF_3px']


def test_void_under_another_number():
    """Told, it is void, also where that is the index of a class; not told, it is refused."""
    scores = evaluate(build())
    for void in (11, 3, -1):  # 3 is the class that is in no image
        pairs = with_unknown((), void)
        assert evaluate(build(ignore_index=void), pairs) == scores
        if void != 3:
            with pytest.raises(ValueError, match=rf'holds \[{void}\]'):
                evaluate(build(), pairs)


def test_predicted_numbers_outside_the_classes_are_wrong_pixels():
    pairs = [(pred.where(pred != 2, 11), label) for pred, label in PAIRS]
    scores = evaluate(build(), pairs)
    assert scores == evaluate(build(unknown_labels='wrong'), pairs)
    assert scores['mIoU'] < evaluate(build())['mIoU']


def test_nothing_is_checked_where_nothing_is_counted(tmp_path):
    metric = build(output_dir=str(tmp_path), format_only=True)
    metric.process({}, [sample(*with_unknown()[0])])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize('prediction', [torch.float32, torch.uint8])
def test_labels_of_one_logit(prediction):
    """0 and 255, as masks are often stored, are two known labels; 0, 1 and 2 are one too many."""
    classes = ('ground', 'object')
    label = PAIRS[0][1].clamp(max=2)
    pred = (label > 0).to(prediction)
    for known in (label.clamp(max=1), label.where(label == 0, 255)):
        evaluate(build(classes=classes), [(pred, known)])
    with pytest.raises(ValueError, match=r'holds \[2\], but the metric knows 2 classes'):
        evaluate(build(classes=classes), [(pred, label)])


@pytest.mark.parametrize('dtype', [torch.uint8, torch.uint16, torch.int32])
def test_labels_of_narrow_types(dtype):
    """The class 156 is not the void -100."""
    classes = tuple(map(str, range(157)))
    pairs = [(pred.where(pred != 2, 156), (label % 255)) for pred, label in PAIRS]
    pairs = [(pred, label.where(label != 2, 156)) for pred, label in pairs]
    expected = evaluate(build(classes=classes, ignore_index=-100), pairs)
    narrow = [(pred, label.to(dtype)) for pred, label in pairs]
    np.testing.assert_equal(evaluate(build(classes=classes, ignore_index=-100), narrow), expected)


@pytest.mark.parametrize('reduced', [True, False])
def test_reduced_zero_labels(reduced, tmp_path):
    """Through MMSegmentation's loading: label 0 of the files becomes 255, 1 to 3 become 0 to 2."""
    written = torch.arange(4).repeat_interleave(4).expand(16, -1).numpy().astype(np.uint8)
    for place, pixels in (('image', np.zeros((16, 16, 3), np.uint8)), ('label', written)):
        (tmp_path / place).mkdir()
        assert cv2.imwrite(str(tmp_path / place / 'a.png'), pixels)
    dataset = BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='image', seg_map_path='label'),
        img_suffix='.png',
        reduce_zero_label=reduced,
        metainfo=dict(classes=('a', 'b', 'c')),
        pipeline=[LoadImageFromFile(), LoadAnnotations(), PackSegInputs()],
    )
    given = dataset[0]['data_samples'].to_dict()
    pred = torch.from_numpy(written)[None].long() - 1
    metric = build(classes=dataset.metainfo['classes'])
    if reduced:
        metric.process({}, [given | dict(pred_sem_seg=dict(data=pred))])
        assert metric.evaluate(1)['mIoU'] == 100
    else:
        with pytest.raises(ValueError, match=r'label/a.png holds \[3\].*reduce_zero_label'):
            metric.process({}, [given | dict(pred_sem_seg=dict(data=pred))])


# --- Tables ---------------------------------------------------------------------------------------


def test_the_tables(tmp_path):
    """Widths in the title, means below, and in how many images each class is."""
    logger = MMLogger.get_instance('tables', log_file=str(tmp_path / 'log'))
    scores = evaluate(build(widths=(1, 4), void_is_boundary=True))
    printed = (tmp_path / 'log').read_text()
    for handler in logger.handlers:
        handler.close()
    for words in (
        'Boundary IoU in percent, n = 1, 4 px (pixels inside the class at a chessboard distance',
        'Boundary F in percent, n = 1, 4 px (boundaries match at a Euclidean distance <= n',
        'Trimap IoU in percent, n = 1, 4 px (pixels at a Euclidean distance < n from the true',
        '; void is a boundary; ',
        '| 0.02 of the diagonal |',
        '| unicorn |   0    |',
        f'{scores["mBoundaryF_4px"]:.2f} |',
    ):
        assert words in printed


def test_details_hold_the_numbers_of_the_tables():
    metric = build()
    scores = evaluate(metric)
    per_class = metric.details['per_class']
    assert metric.details['images'] == [5, 5, 5, 0]
    assert set(per_class) == {key[1:] for key in scores if key != 'aAcc'}
    for key, values in per_class.items():
        assert len(values) == len(CLASSES) and math.isnan(values[-1])
        assert np.nanmean(values) == pytest.approx(scores[f'm{key}'])


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('widths', [1, np.int64(1), np.arange(1, 2)], ids=repr)
def test_a_single_width(widths):
    """As `--cfg-options test_evaluator.widths=1` gives it."""
    metric = build(widths=widths)
    scores = evaluate(metric)
    assert metric.details['widths'] == [1] and scores == evaluate(build(widths=[1]))
    assert 'mBoundaryF_1px' in scores and 'mBoundaryF_2px' not in scores


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(boundary_metrics=['mF']), "boundary_metrics has 'mF'; choose of 'BoundaryIoU'"),
        (dict(widths=[0]), r'widths is \(0,\); give one or more whole numbers of pixels'),
        (dict(widths=[]), r'widths is \(\); give one or more whole numbers of pixels'),
        (dict(widths=[1.5]), 'whole numbers of pixels'),
        (dict(widths=[0.008, 1.0]), r'widths is \(0.008, 1.0\); .* shares of the image'),
        (dict(widths=[True]), r'widths is \(True,\); .* floats between 0 and 1'),
        (dict(trimap_mode='kohli'), "trimap_mode is 'kohli'; choose one of 'band', 'deeplab'"),
        (
            dict(trimap_mode='deeplab', void_is_boundary=True),
            "void_is_boundary=True has no meaning with trimap_mode='deeplab'.*drop it",
        ),
        (dict(dilation_ratio=2), 'dilation_ratio is 2; give a share of the diagonal'),
        (dict(boundary_f_mode='davis'), "mode is 'davis'; choose one of 'present'"),
        (dict(unknown_labels='ignore'), "unknown_labels is 'ignore'; choose one of 'refuse', 'wro"),
        (dict(width=3), "unexpected keyword argument 'width'"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        build(**arguments)


@needs_gpu
def test_cuda_agrees_with_the_cpu():
    assert evaluate(build(), [(pred.cuda(), label) for pred, label in PAIRS]) == evaluate(build())


def test_per_image_neither_order_nor_batch_shows():
    names = ['b', 'a', 'd', 'c', 'e']
    samples = [sample(*pair, name=f'{name}.png') for name, pair in zip(names, PAIRS)]
    found = []
    for batch in (samples, samples[::-1]):
        metric = build(boundary_f_mode='csurka')
        for each in batch:
            metric.process({}, [each])
        metric.evaluate(len(batch))
        found.append(metric.per_image())
    first, second = found
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert first['names'].tolist() == sorted(names)
    assert first['boundary_f'].shape == (5, 4, 6) and first['boundary_f_at_ratio'].shape == (5, 4)
    assert np.isnan(first['boundary_f'][:, 3]).all()  # the class that is nowhere
    pred, label = PAIRS[1]  # of the image a
    counts = count_trimap_iou(pred, label, 4, WIDTHS)
    np.testing.assert_array_equal(first['trimap_iou'][0], counts.numpy())


def test_per_image_has_a_column_for_each_width_and_share():
    metric = build(widths=[3, 0.03], trimap_mode='deeplab')
    scores = evaluate(metric)
    arrays = metric.per_image()
    assert arrays['widths'].tolist() == [3, 0.03] == metric.details['widths']
    both, either = arrays['trimap_iou'].sum(0)[:, 1].T
    with np.errstate(invalid='ignore'):
        assert 100 * np.nanmean(both / either) == pytest.approx(scores['mTrimapIoU_0.03d'])
    whole = build(widths=[3])
    evaluate(whole)
    assert whole.per_image()['widths'].dtype == np.int64


def test_per_image_names_files_of_one_name_by_their_paths():
    metric = build()
    pred, label = PAIRS[0]
    for folder in 'yx':
        given = sample(pred, label) | dict(img_path=f'/{folder}/a.png')
        metric.process({}, [given])
    metric.evaluate(2)
    assert metric.per_image()['names'].tolist() == ['/x/a.png', '/y/a.png']


def test_per_image_before_an_evaluation():
    with pytest.raises(ValueError, match='BoundaryMetric has no image to tell of: evaluate first'):
        build().per_image()
