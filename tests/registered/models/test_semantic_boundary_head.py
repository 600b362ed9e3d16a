"""The auxiliary head of semantic boundaries: its function, and in segmentors of three backbones."""

import io
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS, MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import semantic_boundary_loss
from mmseg_boundary.registered.check_finite_loss import NonFiniteLoss
from mmseg_boundary.registered.model_losses import LossCalls, find_loss, losses_of
from tests.support import naive
from tests.support.forked import as_ranks
from tests.support.heads import samples
from tests.support.nets import preprocessed
from tests.support.scenes import scene
from tests.support.skips import needs_gpu

BN = dict(type='BN')
# {backbone: (its settings, the channels of its stages)}
BACKBONES = {
    'ResNet': (
        dict(depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 1, 1), norm_cfg=BN),
        (4, 8, 16, 32),
    ),
    'MobileNetV2': (
        dict(widen_factor=0.1, strides=(1, 2, 2, 1, 1, 1, 1), out_indices=(1, 2, 4, 6)),
        (8, 8, 16, 32),
    ),
    'MixVisionTransformer': (
        dict(embed_dims=4, num_layers=[1] * 4, num_heads=[1, 1, 2, 2], mlp_ratio=2),
        (4, 4, 8, 8),
    ),
}
SIZE = 32, 48


def build(backbone='ResNet', boundaries=True, num_classes=3, **options):
    """A segmentor with MMSegmentation's head as auxiliary head and, in a list, ours beside it."""
    init_default_scope('mmseg')
    settings, (first, second, third, fourth) = BACKBONES[backbone]
    fcn = dict(type='FCNHead', in_channels=third, channels=4, num_convs=1, in_index=2)
    fcn |= dict(num_classes=num_classes, norm_cfg=BN, dropout_ratio=0)
    ours = dict(type='SemanticBoundaryHead', in_channels=(first, second, fourth))
    ours |= dict(num_classes=num_classes, **options)
    torch.manual_seed(0)
    model = MODELS.build(
        ConfigDict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=SIZE, seg_pad_val=255),
            backbone=dict(type=backbone, **settings),
            decode_head=dict(fcn, in_channels=fourth, in_index=3),
            auxiliary_head=[fcn, ours] if boundaries else fcn,
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
    )
    model.init_weights()
    return model.train()


def head(num_classes=3, **options):
    settings = dict(type='SemanticBoundaryHead', in_channels=(4, 5, 6), in_index=(0, 1, 2))
    torch.manual_seed(0)
    built = MODELS.build(dict(settings | options, num_classes=num_classes))
    built.init_weights()
    return built.train()


def features(images=2):
    generator = torch.Generator().manual_seed(1)
    sizes = ((4, 8, 12), (5, 4, 6), (6, 4, 6))
    return [torch.randn(images, *size, generator=generator) for size in sizes]


def labelled(images=2, classes=3, size=(16, 23), seed=0):
    return scene(max(classes, 2), (images, *size), void_share=0.05, seed=seed).labels


def trained(model, seed=0):
    """(total, log) of a batch with void."""
    torch.manual_seed(seed)
    batch = preprocessed(model, 3, *SIZE)
    return model.parse_losses(model.loss(batch['inputs'], batch['data_samples']))


# --- The function ---------------------------------------------------------------------------------


def test_it_is_the_published_one():
    """With reflection padding before and a grouped convolution after, as the authors write it."""
    ours, given = head(align_corners=True), features()
    with torch.no_grad():
        for each in ours.parameters():
            each.normal_()
    maps = []
    for feature, project, conv in zip(given, ours.projections, ours.convs):
        side = F.relu(
            F.batch_norm(
                F.conv2d(feature, project.conv.weight),
                None,
                None,
                *((project.bn.weight, project.bn.bias)),
                training=True,
            )
        )
        side = F.interpolate(side, (16, 23), mode='bilinear', align_corners=True)
        maps.append(F.conv2d(F.pad(side, (1,) * 4, mode='reflect'), conv.weight, conv.bias))
    *sides, last = maps
    joined = torch.cat([each for k in range(3) for each in (last[:, k : k + 1], *sides)], 1)
    fuse, of_last = ours(given, (16, 23))
    torch.testing.assert_close(of_last, last)
    torch.testing.assert_close(fuse, ours.fuse(joined))
    assert [each.shape[2:] for each in ours(given)] == [(8, 12)] * 2


def test_its_parameters_are_the_published_ones():
    ours = head(num_classes=7)
    shapes = {name: tuple(each.shape) for name, each in ours.named_parameters()}
    assert shapes == {
        'projections.0.conv.weight': (1, 4, 1, 1),
        'projections.0.bn.weight': (1,),
        'projections.0.bn.bias': (1,),
        'projections.1.conv.weight': (1, 5, 1, 1),
        'projections.1.bn.weight': (1,),
        'projections.1.bn.bias': (1,),
        'projections.2.conv.weight': (7, 6, 1, 1),
        'projections.2.bn.weight': (7,),
        'projections.2.bn.bias': (7,),
        'convs.0.weight': (1, 1, 3, 3),
        'convs.1.weight': (1, 1, 3, 3),
        'convs.2.weight': (7, 7, 3, 3),
        'convs.2.bias': (7,),
        'fuse.weight': (7, 3, 1, 1),
        'fuse.bias': (7,),
    }


def test_convolutions_begin_small():
    ours = head(num_classes=40, in_channels=(300, 300, 300))
    for name, each in ours.named_parameters():
        if name in ('projections.0.conv.weight', 'convs.2.weight', 'fuse.weight'):
            assert each.std().item() == pytest.approx(0.01, rel=0.25), name
        elif name.endswith('bias'):
            assert each.eq(0).all()


@pytest.mark.parametrize('stride', [1, 2, 4])
@pytest.mark.parametrize('num_logits', [1, 3])
def test_its_losses_are_those_of_the_definition(num_logits, stride):
    binary = dict(num_classes=2, out_channels=1) if num_logits == 1 else {}
    ours = head(**binary, output_stride=stride, radius=1, loss_weight=5.0)
    labels = labelled(classes=num_logits)
    losses = ours.loss(features(), samples(labels), None)
    assert list(losses) == ['loss_sbd_fuse', 'loss_sbd_last']
    outputs = ours(features(), (-(-16 // stride), -(-23 // stride)))
    for value, output in zip(losses.values(), outputs):
        assert output.shape[1] == num_logits
        expected = naive.semantic_boundary_loss(output.double(), labels, 255, 1, stride)
        assert value.item() == pytest.approx(5 * expected, rel=1e-5)
    resized = ours.loss_by_feat([F.interpolate(each, (8, 12)) for each in outputs], samples(labels))
    assert all(value.isfinite() for value in resized.values())


@pytest.mark.parametrize('ignore_index, void', [(255, 255), (None, 255), (7, 7)])
def test_the_heads_void(ignore_index, void):
    labels = labelled()
    ours = head(ignore_index=ignore_index)
    losses = ours.loss(features(), samples(labels.where(labels != 255, void)), None)
    expected = head().loss(features(), samples(labels), None)
    assert {key: each.item() for key, each in losses.items()} == {
        key: each.item() for key, each in expected.items()
    }
    if void != 255:
        with pytest.raises(ValueError, match=r'labels hold \[255\], but there are 3 classes'):
            ours.loss(features(), samples(labels), None)


def test_labels_of_void_alone_have_a_gradient_of_0():
    ours = head()
    losses = ours.loss(features(), samples(torch.full((2, 16, 23), 255)), None)
    sum(losses.values()).backward()
    assert all(each.item() == 0 for each in losses.values())
    assert all(each.grad is not None and each.grad.eq(0).all() for each in ours.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    """The convolutions are in half precision, and the losses are not."""
    ours, labels = head(), samples(labelled())
    exact = ours.loss(features(), labels, None)
    with torch.autocast('cpu', dtype):
        fuse, last = ours(features(), (16, 23))
        losses = ours.loss(features(), labels, None)
    assert last.dtype == dtype
    for key, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[key].item(), rel=0.02)
    sum(losses.values()).backward()
    assert all(each.grad.isfinite().all() for each in ours.parameters())


@needs_gpu
def test_cuda_agrees_with_the_cpu():
    ours, labels = head(), labelled()
    expected = ours.loss(features(), samples(labels), None)
    found = ours.cuda().loss([each.cuda() for each in features()], samples(labels.cuda()), None)
    for key, value in found.items():
        assert value.item() == pytest.approx(expected[key].item(), rel=1e-4)


def test_two_ranks_are_one(tmp_path):
    """The mean of the ranks' gradients is that of all images; every parameter is used, as
    DistributedDataParallel requires. Statistics are those of the images of a rank: eval mode."""
    given, labels = features(2), labelled(2)
    one = head().eval()
    sum(one.loss(given, samples(labels), None).values()).backward()

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head().eval()

        def forward(self, *arguments):
            return self.head.loss(*arguments)

    def work(rank):
        torch.set_num_threads(1)
        model = MMDistributedDataParallel(Wrapped())
        share = [each[rank : rank + 1] for each in given]
        for _ in range(2):  # the second forward fails if a parameter was not used
            model.zero_grad()
            losses = model(share, samples(labels[rank : rank + 1]), None)
            sum(losses.values()).backward()
        for ours, theirs in zip(model.parameters(), one.parameters()):
            torch.testing.assert_close(ours.grad, theirs.grad)

    assert as_ranks(2, work, tmp_path) == [True, True]


# --- In a segmentor -------------------------------------------------------------------------------


@pytest.mark.parametrize('backbone', BACKBONES)
def test_one_step_changes_the_edge_stream_and_the_backbone(backbone):
    """All parameters of the head; and its own gradient reaches the stages that it reads."""
    model = build(backbone)
    ours = model.auxiliary_head[1]
    before = {name: each.detach().clone() for name, each in ours.named_parameters()}
    total, log = trained(model)
    keys = ['aux_1.loss_sbd_fuse', 'aux_1.loss_sbd_last']
    assert [key for key in log if key.startswith('aux_1.')] == keys
    parts = [log[key] for key in log if '.loss_' in key]
    assert len(parts) == 4 and log['loss'].item() == pytest.approx(sum(parts).item())
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    optimizer.update_params(total)
    for name, each in ours.named_parameters():
        assert not each.equal(before[name]), name

    losses = model.auxiliary_head[1].loss(*inputs_of(model), None)
    reached = torch.autograd.grad(
        sum(losses.values()), list(model.backbone.parameters()), allow_unused=True
    )
    assert any(each is not None and each.abs().max() > 0 for each in reached)


def inputs_of(model):
    batch = preprocessed(model, 3, *SIZE)
    return model.extract_feat(batch['inputs']), batch['data_samples']


@pytest.mark.parametrize('backbone', BACKBONES)
def test_backbone_and_decode_head_load_into_the_stock_net(backbone):
    """And theirs into ours: of other auxiliary heads alone keys are missing. The net that is
    tested is the same."""
    with_edges, stock = build(backbone), build(backbone, boundaries=False)
    trained(with_edges)  # statistics
    file = io.BytesIO()
    torch.save(with_edges.state_dict(), file)
    file.seek(0)
    found = stock.load_state_dict(torch.load(file, weights_only=True), strict=False)
    assert {key.split('.')[0] for key in found.missing_keys} == {'auxiliary_head'}
    back = with_edges.load_state_dict(stock.state_dict(), strict=False)
    assert all(key.startswith('auxiliary_head.') for key in back.missing_keys)
    batch = preprocessed(stock, 3, *SIZE)['inputs']
    for model in (with_edges, stock):
        model.eval()
    with torch.no_grad():
        one, other = (model.predict(batch)[1].seg_logits.data for model in (with_edges, stock))
    assert one.equal(other) and one.shape == (3, *SIZE)


def test_predicting_with_it_is_refused():
    settings = dict(type='SemanticBoundaryHead', in_channels=(4, 8, 32), num_classes=3)
    model = build()
    model.decode_head = MODELS.build(settings)
    words = 'cannot predict a segmentation: make it one of `auxiliary_head`, and give'
    with pytest.raises(ValueError, match=words):
        model.eval().predict(torch.zeros(1, 3, *SIZE))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(in_channels=(4, 5)), r'in_channels=\(4, 5\) and in_index=\(0, 1, 2\); give the'),
        (dict(in_channels=(4,), in_index=(0,)), 'for two stages or more'),
        (dict(in_channels=4, in_index=0), 'in_channels=4 and in_index=0; give the channels'),
        (dict(input_transform='resize_concat'), "is 'resize_concat'; leave it out, since"),
        (dict(radius=0), 'radius is 0; give 1 or more pixels.'),
        (dict(output_stride=8), 'output_stride is 8; choose one of 1, 2, 4.'),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        head(**options)


# --- What looks at losses -------------------------------------------------------------------------


def test_the_hooks_see_both_terms():
    """Their weights are scheduled and logged, and a term that is not finite ends the training."""
    model = build(loss_weight=5.0)
    calls = LossCalls(model)
    keys = [f'aux_1.loss_sbd_{output}' for output in ('fuse', 'last')]
    assert [each.key for each in losses_of(model) if each.head == 'aux_1'] == keys
    schedules = [dict(loss=key, kind='constant', start=0.5) for key in keys]
    schedule = HOOKS.build(dict(type='LossWeightSchedule', schedules=schedules, interval=1))
    check = HOOKS.build(dict(type='CheckFiniteLossHook', uncalled_loss='stop'))
    runner = SimpleNamespace(model=model, iter=0, epoch=0, message_hub=MessageHub('sbd'))
    _, plain = trained(model)
    for hook in (schedule, check):
        hook.before_train(runner)
    schedule.before_train_iter(runner, 0)
    _, log = trained(model)
    assert runner.message_hub.get_scalar('train/aux_1.weight_sbd_fuse').current() == 2.5
    for key in keys:
        assert log[key].item() == pytest.approx(plain[key].item() / 2, rel=1e-4)
    assert not calls.missed()
    for hook in (schedule, check):
        hook.after_train_iter(runner, 0, None, log)
    assert find_loss(model, 'aux_1.loss_sbd_last').loss.loss_weight == 2.5
    with pytest.raises(NonFiniteLoss, match='^aux_1.loss_sbd_fuse is nan at iteration 1'):
        check.after_train_iter(runner, 0, None, {**log, keys[0]: torch.tensor(float('nan'))})
    schedule.after_train(runner)
    assert find_loss(model, 'aux_1.loss_sbd_last').loss.loss_weight == 5


def test_its_losses_are_semantic_boundary_losses_with_a_weight():
    ours, labels = head(loss_weight=2.0), labelled()
    losses = ours.loss(features(), samples(labels), None)
    outputs = ours(features(), (16, 23))
    expected = [2 * semantic_boundary_loss(each, encode(labels, 3)).item() for each in outputs]
    assert [each.item() for each in losses.values()] == pytest.approx(expected)
