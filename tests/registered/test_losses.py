"""The registered losses in MMSegmentation's own heads, and the errors only they have."""

import pytest
import torch
from mmengine.registry import DATASETS, METRICS, DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import METRICS as SCOPED_METRICS
from mmseg.registry import MODELS

import mmseg_boundary.registered  # noqa: F401
from tests.support import last_run
from tests.support.heads import head, samples

EPL = ('', 'Point', 'Line')
RATIOS = ('SoftDiceLoss', 'JaccardLoss')


def test_a_head_trains_on_a_list_of_losses():
    decode_head = head([dict(type='CrossEntropyLoss'), dict(type='EPLLoss')])
    features = [torch.randn(2, 4, 4, 5)]
    labels = torch.randint(3, (2, 16, 20))
    labels[:, :3] = 255
    losses = decode_head.loss(features, samples(labels), train_cfg={})
    assert set(losses) == {'loss_ce', 'loss_epl', 'acc_seg'}
    losses['loss_epl'].backward()
    assert decode_head.conv_seg.weight.grad.abs().max() > 0


def test_the_parts_are_logged_by_listing_the_two_losses():
    parts = [
        dict(type='EPLPointLoss', loss_weight=0.02),
        dict(type='EPLLineLoss', loss_weight=0.2),
    ]
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(3, (2, 9, 9))
    values = [MODELS.build(part)(logits, labels) for part in parts]
    whole = MODELS.build(dict(type='EPLLoss'))(logits, labels)
    assert sum(values).item() == pytest.approx(whole.item())


def test_a_pair_of_kernels_is_point_then_line():
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(3, (2, 9, 9))

    def value(loss, **arguments):
        return MODELS.build(dict(type=loss, **arguments))(logits, labels).item()

    pair = value('EPLLoss', kernel_size=(3, 5), point_weight=1.0, line_weight=1.0)
    parts = value('EPLPointLoss', kernel_size=3) + value('EPLLineLoss', kernel_size=5)
    assert pair == pytest.approx(parts)


def test_the_binary_head_of_one_logit():
    decode_head = head([dict(type='EPLLoss')], num_classes=2, out_channels=1, threshold=0.3)
    labels = torch.randint(2, (2, 16, 20))
    losses = decode_head.loss([torch.randn(2, 4, 4, 5)], samples(labels), train_cfg={})
    losses['loss_epl'].backward()
    assert decode_head.conv_seg.weight.grad.abs().max() > 0


LOVASZ = dict(type='LovaszLoss', reduction='none')


def of_lovasz(labels, arguments=LOVASZ, **options):
    torch.manual_seed(0)
    decode_head = head([arguments, dict(type='ActiveBoundaryLoss')], **options)
    return decode_head.loss([torch.randn(2, 4, 4, 5)], samples(labels), train_cfg={})


def test_the_lovasz_loss_beside_the_active_boundary_loss():
    """What the page of the active boundary loss says of MMSegmentation's."""
    labels = torch.randint(3, (2, 16, 20))
    labels[:, :3] = 255
    value = of_lovasz(labels)['loss_lovasz']
    of_77 = of_lovasz(labels.where(labels != 255, 77), ignore_index=77)
    assert of_77['loss_lovasz'] == value > 0
    sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10)
    loss, logits = MODELS.build(LOVASZ), torch.randn(2, 3, 16, 20)
    unweighted = loss(logits, labels, ignore_index=255)
    assert loss(logits, labels, weight=torch.zeros(2, 16, 20), ignore_index=255) == unweighted
    with pytest.raises(ValueError, match='ActiveBoundaryLoss is no mean over pixels'):
        of_lovasz(labels, sampler=sampler)

    one_logit = dict(num_classes=2, out_channels=1, threshold=0.3)
    binary = labels.where(labels == 255, labels % 2)
    with pytest.raises(ValueError, match='Sigmoid output possible only with 1 class'):
        of_lovasz(binary, **one_logit)
    hinge = of_lovasz(binary, LOVASZ | dict(loss_type='binary'), **one_logit)
    assert all(hinge[key].isfinite() for key in ('loss_lovasz', 'loss_abl'))

    void = torch.full_like(labels, 255)
    found = of_lovasz(void)
    assert found['loss_lovasz'].mean().isnan() and found['loss_abl'] == 0
    void[0, 3, 4] = 1
    with pytest.raises(IndexError):
        of_lovasz(void)


@pytest.mark.parametrize('thresh', [0.7, None])
def test_the_ohem_sampler(thresh):
    """With a threshold it weighs pixels, which the point loss takes; without, it ranks them by a
    value per pixel, which none of our losses has."""
    decode_head = head(
        [dict(type='EPLPointLoss')],
        sampler=dict(type='OHEMPixelSampler', thresh=thresh, min_kept=10),
    )
    arguments = [torch.randn(2, 4, 4, 5)], samples(torch.randint(3, (2, 16, 20)))
    if thresh is None:
        with pytest.raises(ValueError, match='give the sampler a `thresh`'):
            decode_head.loss(*arguments, train_cfg={})
    else:
        assert decode_head.loss(*arguments, train_cfg={})['loss_epl_point'] > 0


@pytest.mark.parametrize('of_loss', [11, None])
def test_heads_that_give_no_void_label(of_loss):
    """DDRNet's gives none to its losses, PIDNet's to the first alone."""
    loss = dict(type='SoftDiceLoss', ignore_index=of_loss)
    small = dict(in_channels=8, channels=4, num_classes=3, align_corners=False, ignore_index=11)
    labels = torch.randint(3, (2, 16, 20))
    labels[:, :5] = 11
    maps = torch.randn(2, 8, 4, 5)
    ddr = MODELS.build(dict(type='DDRHead', loss_decode=[loss, loss], **small))
    four = [loss, loss, dict(type='BoundaryLoss'), loss]
    pid = MODELS.build(dict(type='PIDHead', loss_decode=four, **small))
    given = samples(labels)
    for sample, label in zip(given, labels):
        sample.gt_edge_map = PixelData(data=(label == 1).long()[None])
    for decode_head, features, keys in (
        (ddr, (maps[:, :4], maps), ('loss_context', 'loss_spatial')),
        (pid, (maps[:, :4], maps, maps[:, :4]), ('loss_sem_p', 'loss_sem_i')),
    ):
        if of_loss is None:
            with pytest.raises(ValueError, match=r'labels hold \[11\].*void is 255'):
                decode_head.loss(features, given, train_cfg={})
        else:
            losses = decode_head.loss(features, given, train_cfg={})
            assert all(0 < losses[key] < 1 for key in keys)


def test_a_void_label_of_the_loss_beside_that_of_the_head():
    labels = samples(torch.randint(3, (2, 16, 20)))
    for of_head, of_loss in ((255, 255), (11, 11), (11, None)):
        decode_head = head([dict(type='EPLLoss', ignore_index=of_loss)], ignore_index=of_head)
        decode_head.loss([torch.randn(2, 4, 4, 5)], labels, train_cfg={})
    # The head's own default counts as given: it is by which MMSegmentation's parts go.
    decode_head = head([dict(type='EPLLoss', ignore_index=11)])
    with pytest.raises(ValueError, match='EPLLoss has ignore_index=11, .*gives ignore_index=255'):
        decode_head.loss([torch.randn(2, 4, 4, 5)], labels, train_cfg={})


@pytest.mark.parametrize(
    'arguments, words',
    [
        *((dict(type=f'EPL{part}Loss', kernel_size=6), 'is 6; give an odd') for part in EPL),
        *((dict(type=f'EPL{part}Loss', splitter='D'), "is 'D'; choose one of") for part in EPL),
        (dict(type='EPLLoss', mu=3), 'mu is 3; give an even number'),
        (dict(type='EPLLoss', mu=0), 'mu is 0; give an even number, 2 or more'),
        (dict(type='EPLLineLoss', edc='cubed'), "edc is 'cubed'; choose one of 'paper', 'squared'"),
        (dict(type='EPLLineLoss', variant='mine'), "variant is 'mine'; choose one of"),
        (dict(type='EPLPointLoss', norm='l3'), "norm is 'l3'; choose one of 'l1', 'l2', 'pixel'"),
        (dict(type='EPLPointLoss', padding='wrap'), "padding is 'wrap'; choose one of"),
        (dict(type='EPLLoss', kernel_size=(3, 5, 7)), r'give one odd number or a \(point, line\)'),
        (
            dict(type='EPLLineLoss', variant='authors', edc='squared'),
            "variant='authors' has a ratio of its own",
        ),
        (
            dict(type='EPLLoss', variant='authors', class_weight=[1.0]),
            "class_weight has no meaning with variant='authors'",
        ),
        (dict(type='KervadecBoundaryLoss', normalize='sum'), "choose one of None, 'diag', 'max'"),
        (dict(type='KervadecBoundaryLoss', classes=[]), 'give different class numbers, or None'),
        (dict(type='KervadecBoundaryLoss', classes=[1, 1]), 'give different class numbers'),
        (dict(type='DistanceTransformLoss', metric='manhattan'), "choose one of 'euclidean', 'ch"),
        (dict(type='DistanceTransformLoss', class_reduction='max'), "choose one of 'mean', 'sum'"),
        (
            dict(type='DistanceTransformLoss', class_reduction='sum', class_weight=[1.0]),
            "class_weight has no meaning with class_reduction='sum'",
        ),
        (dict(type='BF1Loss', theta0=1), 'theta0 is 1; give an odd number of pixels, 3 or more'),
        (dict(type='BF1Loss', theta=4), 'theta is 4; give an odd number of pixels, 1 or more'),
        *((dict(type=ratio, smooth=-1.0), 'smooth is -1.0; give 0 or more') for ratio in RATIOS),
        *(
            (dict(type=ratio, per_class=False, class_weight=[1.0]), 'one ratio for all classes')
            for ratio in RATIOS
        ),
        (dict(type='SoftmaxFocalLoss', gamma=-1), r'gamma is -1; give 0 \(cross-entropy\) or more'),
        (dict(type='BoundaryWeightedCELoss', radius=0), 'radius is 0; give 1 or more pixels'),
        (dict(type='BoundaryWeightedCELoss', boundary_weight=-1), 'is -1; give 0 or more'),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(arguments)


def test_classes_that_have_no_logit_are_named():
    loss = MODELS.build(dict(type='KervadecBoundaryLoss', classes=[0, 1]))
    with pytest.raises(ValueError, match=r'holds \[0\].*1 logits are of the classes \[1\]'):
        loss(torch.randn(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(type='EPLLoss', kernel_size=7.0), 'kernel_size is 7.0; give an odd number'),
        (dict(type='EPLPointLoss', splitter=['A']), r"splitter is \['A'\]; choose one of"),
        (dict(type='EPLLoss', class_weight=2.0), 'class_weight is 2.0; give a list'),
        (dict(type='EPLLoss', class_weight=[]), r'class_weight is \[\]; give a list'),
        (dict(type='EPLLoss', class_weight=[0.0, 0.0]), 'and not all 0'),
        (dict(type='EPLLoss', class_weight=[float('nan'), 1.0]), 'class_weight is'),
        (dict(type='EPLLoss', ignore_index=[255]), r'ignore_index is \[255\]; give a whole'),
        (dict(type='EPLLoss', pixel_weight=None), "pixel_weight is None; choose one of 'refuse'"),
        (dict(type='EPLLoss', loss_name=None), "loss_name is None; begin it with 'loss_'"),
    ],
)
def test_odd_arguments_are_named_too(arguments, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(arguments)


@pytest.mark.parametrize('shape', [(1, 9, 9), (9,), (2, 3, 9, 9)])
def test_pixel_weights_are_one_per_pixel(shape):
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(3, (2, 9, 9))
    with pytest.raises(ValueError, match='give one weight per pixel'):
        MODELS.build(dict(type='EPLPointLoss'))(logits, labels, weight=torch.ones(shape))


@pytest.mark.parametrize('scope', ['mmseg', 'mmseg_boundary'])
def test_both_scopes_know_our_types_and_mmsegs(scope):
    """As parts of an inherited config, and as the default scope of a whole one."""
    for name in ('EPLLoss', 'CrossEntropyLoss'):
        assert type(MODELS.build(dict(type=name, _scope_=scope))).__name__ == name
    assert type(METRICS.build(dict(type='IoUMetric', _scope_=scope))).__name__ == 'IoUMetric'
    assert len(DATASETS.build(dict(type='ShapesDataset', length=2, _scope_=scope))) == 2
    with DefaultScope.overwrite_default_scope(scope):
        assert type(MODELS.build(dict(type='EPLLoss'))).__name__ == 'EPLLoss'


def test_the_scope_of_a_run_ends_with_its_test():
    DefaultScope.get_instance('a run', scope_name='mmengine')
    with pytest.raises(KeyError, match='IoUMetric is not in the mmengine::metric registry'):
        SCOPED_METRICS.build(dict(type='IoUMetric'))
    last_run.forget()
    SCOPED_METRICS.build(dict(type='IoUMetric'))


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='LossSum', losses=[dict(type='CrossEntropyLoss')]),
        dict(type='NeighbourPenalised', loss=dict(type='CrossEntropyLoss')),
    ],
    ids=lambda wrapper: wrapper['type'],
)
def test_a_wrapper_names_the_array_that_it_was_given(wrapper):
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(3, (2, 9, 9))
    for given in ((logits.numpy(), labels), (logits, labels.numpy())):
        with pytest.raises(ValueError, match='came as a NumPy array; give a tensor, such as torch'):
            MODELS.build(wrapper)(*given)
