"""The head of GSCNN: its size, its function, its losses, and in segmentors of several backbones."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import GenerateEdge
from mmseg.registry import HOOKS, MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import balanced_edge_loss, softmax_focal_loss
from mmseg_boundary.registered.model_losses import LossCalls, find_loss, losses_of
from tests.support.forked import as_ranks
from tests.support.heads import samples
from tests.support.losses import LOSSES
from tests.support.nets import preprocessed
from tests.support.scenes import scene
from tests.support.skips import ROOT, needs_gpu

CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)
EPL = dict(type='EPLLoss', kernel_size=7, mu=2, point_weight=1.0, line_weight=1.0)
SIZE = 96, 96
# {backbone: (its settings, the head's channels, its features)}
BACKBONES = {
    # a stem at stride 2, stages at 4 and 8
    'ResNetEncoder': (
        dict(depth=18, stem_channels=16, base_channels=16)
        | dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        (16, 16, 32, 64, 128),
        (0, 1, 2, 3, 4),
    ),
    # no stem: the first stage, at stride 4, twice
    'ResNet': (
        dict(depth=18, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'))
        | dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        (4, 4, 8, 16, 32),
        (0, 0, 1, 2, 3),
    ),
    'MobileNetV2': (
        dict(widen_factor=0.1, strides=(1, 2, 2, 1, 1, 1, 1), out_indices=(0, 1, 2, 4, 6)),
        (8, 8, 8, 16, 32),
        (0, 1, 2, 3, 4),
    ),
    'MixVisionTransformer': (
        dict(embed_dims=4, num_layers=[1] * 4, num_heads=[1, 1, 2, 2], mlp_ratio=2),
        (4, 4, 4, 8, 8),
        (0, 0, 1, 2, 3),
    ),
}


def build(backbone='ResNetEncoder', size=SIZE, kind='EdgeEncoderDecoder', classes=3, **options):
    init_default_scope('mmseg')
    settings, channels, index = BACKBONES[backbone]
    decode_head = dict(type='GSCNNHead', in_channels=channels, in_index=index, channels=16)
    decode_head |= dict(num_classes=classes, threshold=0.5, loss_decode=[CE])
    torch.manual_seed(0)
    model = MODELS.build(
        ConfigDict(
            type=kind,
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
                size=size,
                seg_pad_val=255,
            ),
            backbone=dict(type=backbone, **settings),
            decode_head=decode_head | options,
            test_cfg=dict(mode='whole'),
        )
    )
    model.init_weights()
    return model.train()


def head(classes=3, **options):
    """Of features of few channels, without edges of images, and with no loss left out."""
    settings = dict(type='GSCNNHead', in_channels=(4, 5, 6, 7, 8), channels=8, low_channels=3)
    settings |= dict(edge_channels=(4, 3, 2), edge_source='none', num_classes=classes)
    torch.manual_seed(0)
    built = MODELS.build(settings | dict(loss_decode=CE) | options)
    built.init_weights()
    return built.train()


def features(images=2, edges=False):
    generator = torch.Generator().manual_seed(1)
    sizes = ((4, 16, 20), (5, 16, 20), (6, 8, 10), (7, 4, 5), (8, 4, 5))
    given = [torch.randn(images, *size, generator=generator) for size in sizes]
    return [*given, torch.rand(images, 1, 32, 40, generator=generator)] if edges else given


def labelled(classes=3, seed=0, void_share=0.05):
    return scene(classes, (2, 32, 40), void_share=void_share, seed=seed).labels


def count(module):
    return sum(each.numel() for each in module.parameters())


def losses_of_batch(model, classes=3, size=SIZE):
    torch.manual_seed(1)
    batch = preprocessed(model, classes, *size)
    return model.loss(batch['inputs'], batch['data_samples'])


# --- Its size -------------------------------------------------------------------------------------


def test_its_parameters_are_counted():
    """By parts, as another hand counted the published network, without its layer that nothing
    uses."""
    with torch.device('meta'):
        ours = MODELS.build(dict(type='GSCNNHead', num_classes=19, edge_source='none'))
        maps = [
            torch.empty(2, channels, side, side)
            for channels, side in zip(ours.in_channels, (560, 280, 140, 70, 70), strict=True)
        ]
        seg_logits, edge_logits = ours(maps)
    stream = ours.shape_stream
    assert [count(each) for each in stream.sources] == [257, 513, 4097]
    assert [count(each) for each in stream.blocks] == [73_984, 18_560, 4_672]
    assert [count(each) for each in stream.convs] == [2_080, 528, 136]
    assert [count(each) for each in stream.gates] == [2_248, 616, 184]
    assert count(stream.last) == 8 and count(ours.edge_attention) == 2
    assert count(stream) + count(ours.edge_attention) == 107_885
    assert count(ours.aspp) == 30_412_032
    assert (count(ours.low), count(ours.bottleneck)) == (6_144, 393_216)
    assert count(ours.decoder) + count(ours.conv_seg) == 1_296_128
    assert count(ours) == 137_278_125 - 105_062_720
    assert seg_logits.shape == (2, 19, 280, 280) and edge_logits.shape == (2, 1, 560, 560)


@pytest.mark.parametrize('edge_source', ['none', 'sobel'])
def test_the_published_network(edge_source):
    """The config's, on WRN-38. The source of edges adds no parameter."""
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs/gscnn/gscnn-wrn38_ce_city.py').model
    config.backbone.update(norm_cfg=dict(type='BN'), init_cfg=None, with_cp=False)
    config.decode_head.update(norm_cfg=dict(type='BN'), edge_source=edge_source)
    with torch.device('meta'):
        model = MODELS.build(config)
        found = model.extract_feat(torch.empty(2, 3, 560, 560))
        seg_logits, edge_logits = model.decode_head(found)
    assert count(model) == 137_278_125
    assert [each.shape[1] for each in found[:5]] == [64, 128, 256, 512, 4096]
    assert [each.shape[2] for each in found[:5]] == [560, 280, 140, 70, 70]
    assert seg_logits.shape == (2, 19, 280, 280) and edge_logits.shape == (2, 1, 560, 560)


def test_the_edge_source_changes_no_parameter():
    shapes = [
        {name: each.shape for name, each in head(edge_source=source).named_parameters()}
        for source in ('none', 'sobel', 'canny')
    ]
    assert shapes[0] == shapes[1] == shapes[2]


# --- Its function ---------------------------------------------------------------------------------


def normalized(x, norm):
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def upsampled(x, size):
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


def test_it_is_the_published_function():
    """Written once more, layer by layer; the normalizations are none of the identity."""
    ours, given = head(edge_source='canny').eval(), features(edges=True)
    with torch.no_grad():
        for name, each in [*ours.named_parameters(), *ours.named_buffers()]:
            if each.is_floating_point():
                each.uniform_(0.5, 1.5) if name.endswith('_var') else each.normal_(0, 0.5)
        m1, m2, m3, m4, m7, edges = given
        stream, full = ours.shape_stream, (32, 40)
        x = upsampled(m1, full)
        for deep, source, block, conv, gate in zip(
            (m3, m4, m7), stream.sources, stream.blocks, stream.convs, stream.gates, strict=True
        ):
            inner = F.relu(normalized(F.conv2d(x, block.conv1.weight, padding=1), block.bn1))
            inner = normalized(F.conv2d(inner, block.conv2.weight, padding=1), block.bn2)
            x = F.conv2d(F.relu(x + inner), conv.weight, conv.bias)
            source_map = upsampled(F.conv2d(deep, source.weight, source.bias), full)
            first, one, _, two, last, _ = gate.attention
            alpha = normalized(torch.cat([x, source_map], 1), first)
            alpha = F.relu(F.conv2d(alpha, one.weight, one.bias))
            alpha = normalized(F.conv2d(alpha, two.weight, two.bias), last).sigmoid()
            x = F.conv2d(x + alpha * x, gate.conv.weight)
        edge_logits = F.conv2d(x, stream.last.weight)
        of_stream, of_image = ours.edge_attention.weight.flatten()
        attention = (of_stream * edge_logits.sigmoid() + of_image * edges).sigmoid()
        small = upsampled(attention, (4, 5))

        def branch(x, layers, **options):
            conv, norm, _ = layers
            return F.relu(normalized(F.conv2d(x, conv.weight, **options), norm))

        _, *pool = ours.aspp.pool
        branches = [
            branch(m7.mean((2, 3), keepdim=True), pool).expand(2, 8, 4, 5),
            branch(small, ours.aspp.edge),
            branch(m7, ours.aspp.convs[0]),
            *(
                branch(m7, layers, padding=rate, dilation=rate)
                for layers, rate in zip(ours.aspp.convs[1:], (12, 24, 36), strict=True)
            ),
        ]
        x = F.conv2d(torch.cat(branches, 1), ours.bottleneck.weight)
        x = torch.cat([F.conv2d(m2, ours.low.weight), upsampled(x, (16, 20))], 1)
        for layers in ours.decoder:
            x = branch(x, layers, padding=1)
        found_seg, found_edges = ours(given)
    torch.testing.assert_close(found_edges, edge_logits)
    torch.testing.assert_close(found_seg, F.conv2d(x, ours.conv_seg.weight))
    metas = [dict(img_shape=(32, 40))] * 2
    torch.testing.assert_close(
        ours.predict(given, metas, {}), upsampled(found_seg, (32, 40))
    )  # fmt: skip


def test_weights_begin_as_documented():
    """The gates' last convolutions by Xavier's rule, the others by what they read."""
    ours = head(in_channels=(200, 200, 200, 200, 4096), edge_channels=(150, 120, 100), channels=100)
    stream = ours.shape_stream
    for gate, width in zip(stream.gates, (150, 120, 100), strict=True):
        assert gate.conv.weight.std().item() == pytest.approx((1 / width) ** 0.5, rel=0.05)
        hidden = gate.attention[1].weight
        assert hidden.std().item() == pytest.approx((2 / (width + 1)) ** 0.5, rel=0.05)
    deepest = stream.sources[2].weight
    assert deepest.std().item() == pytest.approx((2 / 4096) ** 0.5, rel=0.1)
    assert ours.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.2)


# --- Its losses -----------------------------------------------------------------------------------


def test_the_losses_are_those_of_its_logits():
    ours, given, labels = head(), features(), labelled()
    with torch.no_grad():
        seg_logits = upsampled(ours(given)[0], (32, 40))
        edge_logits = 3 * torch.randn(2, 1, 32, 40, generator=torch.Generator().manual_seed(2))
        torch.manual_seed(5)
        losses = ours.loss_by_feat((seg_logits, edge_logits), samples(labels))
        torch.manual_seed(5)
        dual = ours.loss_dual(seg_logits, labels)
    assert list(losses) == ['loss_ce', 'acc_seg', 'loss_edge', 'loss_attention', 'loss_dual']
    edges = torch.tensor([naive_edges(each) for each in labels.tolist()])
    target = encode(edges.masked_fill(labels == 255, 255), 1)
    expected = 20 * balanced_edge_loss(edge_logits, target)
    torch.testing.assert_close(losses['loss_edge'], expected)
    surely = edge_logits.squeeze(1).sigmoid() > 0.8
    assert 0.05 < surely.float().mean() < 0.95
    there = encode(labels.where(surely, 255), 3)
    torch.testing.assert_close(losses['loss_attention'], softmax_focal_loss(seg_logits, there, 0))
    torch.testing.assert_close(losses['loss_dual'], dual)


def naive_edges(labels):
    """Of one image: within one pixel of one that has a 4-neighbor of another class."""
    height, width = len(labels), len(labels[0])
    steps = (0, 1), (1, 0), (0, -1), (-1, 0)

    def at(row, column):
        return labels[row][column] if 0 <= row < height and 0 <= column < width else 255

    def changes(row, column):
        others = [at(row + down, column + right) for down, right in steps]
        return at(row, column) != 255 and not {at(row, column), 255} >= {*others}

    return [
        [
            int(any(changes(row + down, column + right) for down, right in ((0, 0), *steps)))
            for column in range(width)
        ]
        for row in range(height)
    ]


def test_edges_are_those_of_generate_edge():
    """Its band of 4 pixels at a step; but not those that it marks in void and at corners."""
    labels = torch.zeros(1, 20, 30, dtype=torch.long)
    labels[:, :, 15:] = 1
    results = dict(img_shape=(20, 30), gt_seg_map=labels[0].numpy().astype(np.uint8))
    stock = torch.from_numpy(GenerateEdge(edge_width=3).transform(results)['gt_edge_map'])
    seen = []
    ours = head()
    ours.loss_edge.register_forward_pre_hook(lambda loss, given: seen.append(given[1]))
    ours.loss_by_feat((torch.zeros(1, 3, 20, 30), torch.zeros(1, 1, 20, 30)), samples(labels))
    assert seen[0].equal(stock[None].long())
    assert seen[0][0, 3].nonzero().squeeze(1).tolist() == [13, 14, 15, 16]


def test_where_nothing_is_an_edge_the_attention_is_0():
    ours = head()
    logits = torch.randn(2, 3, 32, 40, requires_grad=True)
    losses = ours.loss_by_feat((logits, torch.full((2, 1, 32, 40), 1.3)), samples(labelled()))
    assert losses['loss_attention'].item() == 0
    losses['loss_attention'].backward()
    assert logits.grad.eq(0).all()
    losses = ours.loss_by_feat((logits, torch.full((2, 1, 32, 40), 1.4)), samples(labelled()))
    assert losses['loss_attention'].item() == pytest.approx(losses['loss_ce'].item(), rel=1e-5)


def test_void_alone_is_0_with_a_graph():
    ours = head()
    losses = ours.loss(features(), samples(torch.full((2, 32, 40), 255)), None)
    parts = [each for key, each in losses.items() if key.startswith('loss_')]
    assert len(parts) == 4 and all(each.item() == 0 for each in parts)
    sum(parts).backward()
    assert all(each.grad is not None and each.grad.eq(0).all() for each in ours.parameters())


def test_labels_of_one_class_alone():
    ours = head()
    losses = ours.loss(features(), samples(torch.ones(2, 32, 40, dtype=torch.long)), None)
    assert losses['loss_edge'].item() == 0
    assert all(each.isfinite() for each in losses.values())


@pytest.mark.parametrize('ignore_index, void', [(255, 255), (None, 255), (7, 7)])
def test_the_heads_void(ignore_index, void):
    labels = labelled()
    values = []
    focal = dict(type='SoftmaxFocalLoss')
    for ours, given in (
        (head(loss_decode=focal), labels),
        (head(loss_decode=focal, ignore_index=ignore_index), labels.where(labels != 255, void)),
    ):
        torch.manual_seed(3)
        losses = ours.loss(features(), samples(given), None)
        values.append({key: each.item() for key, each in losses.items() if 'loss' in key})
    assert values[0] == values[1]


def test_one_logit():
    loss_decode = [dict(type='SoftmaxFocalLoss', gamma=0), EPL]
    ours = head(2, out_channels=1, threshold=0.5, loss_decode=loss_decode, edge_threshold=1e-3)
    losses = ours.loss(features(), samples(labelled(2)), None)
    assert all(each.isfinite() and each > 0 for key, each in losses.items() if 'loss' in key)
    assert ours(features())[0].shape[1] == 1


def test_losses_may_be_left_out_and_replaced():
    ours = head(loss_edge=None, loss_attention=None, loss_dual=None)
    losses = ours.loss(features(), samples(labelled()), None)
    assert list(losses) == ['loss_ce', 'acc_seg']
    ours = head(
        loss_edge=dict(type='BoundaryLoss', loss_weight=20.0),
        loss_attention=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        loss_dual=dict(type='BF1Loss'),
    )
    assert [(each.key, each.place) for each in losses_of(ours_in(ours))] == [
        ('decode.loss_ce', 'loss_decode'),
        ('decode.loss_edge', 'loss_edge'),
        ('decode.loss_attention', 'loss_attention'),
        ('decode.loss_dual', 'loss_dual'),
    ]
    labels = labelled(void_share=0.0)
    given = features(), samples(labels), None
    expected = head().loss(*given)
    losses = ours.loss(*given)
    for key in ('loss_edge', 'loss_attention'):
        assert losses[key].item() == pytest.approx(expected[key].item(), rel=1e-4), key


def ours_in(decode_head):
    model = nn.Module()
    model.decode_head = decode_head
    return model


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    """The convolutions are in half precision, and the losses are not."""
    ours, labels = head(edge_source='sobel'), samples(labelled())
    with torch.autocast('cpu', dtype):
        seg_logits, edge_logits = ours(features(edges=True))
        losses = ours.loss(features(edges=True), labels, None)
    assert seg_logits.dtype == edge_logits.dtype == dtype
    for key in ours.further_losses:
        assert losses[key].dtype == torch.float32 and losses[key].isfinite()
    sum(each for key, each in losses.items() if 'loss' in key).backward()
    assert all(each.grad.isfinite().all() for each in ours.parameters())


def test_its_losses_read_nothing_back(monkeypatch):
    """MMSegmentation's accuracy does."""
    ours = head(loss_decode=dict(type='SoftmaxFocalLoss'))
    given = features(), samples(labelled())

    def forbidden(*args, **kwargs):
        raise AssertionError('read back')

    monkeypatch.setattr(torch.Tensor, 'item', forbidden)
    monkeypatch.setattr(torch.Tensor, '__bool__', forbidden)
    monkeypatch.setattr(torch.Tensor, 'tolist', forbidden)
    monkeypatch.setattr('mmseg_boundary.labels._require_known', lambda *args: None)  # on CUDA async
    sum(ours.loss(*given, None)[key] for key in ours.further_losses).backward()


@needs_gpu
@pytest.mark.parametrize('edge_source', ['none', 'sobel'])
def test_nothing_waits_for_the_gpu(edge_source, monkeypatch):
    """But the accuracy that MMSegmentation logs."""
    model = build(edge_source=edge_source, loss_decode=[dict(type='SoftmaxFocalLoss'), EPL]).cuda()
    batch = preprocessed(model, 3, *SIZE)
    monkeypatch.setattr(
        'mmseg.models.decode_heads.decode_head.accuracy', lambda *args, **kwargs: torch.zeros(1)
    )

    def step():
        losses = model.loss(batch['inputs'], batch['data_samples'])
        sum(each for key, each in losses.items() if 'loss' in key).backward()

    step()  # what is made once may wait
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode('default')


# --- In a segmentor -------------------------------------------------------------------------------


@pytest.mark.parametrize('edge_source', ['sobel', 'canny', 'none'])
def test_one_step_with_epl(edge_source):
    """All parameters of the head move, those of the edge stream too; and every one of the backbone
    has a gradient, as DistributedDataParallel requires."""
    model = build(edge_source=edge_source, loss_decode=[CE, EPL])
    ours = model.decode_head
    before = {name: each.detach().clone() for name, each in ours.named_parameters()}
    total, log = model.parse_losses(losses_of_batch(model))
    keys = ['loss_ce', 'loss_epl', 'loss_edge', 'loss_attention', 'loss_dual']
    assert [key for key in log if 'loss_' in key] == [f'decode.{key}' for key in keys]
    parts = [log[f'decode.{key}'].item() for key in keys]
    assert log['loss'].item() == pytest.approx(sum(parts)) and all(each > 0 for each in parts[:3])
    total.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for name, each in ours.named_parameters():
        # of [sigmoid(edge logit), 0] the second weight stays
        assert not each.equal(before[name]), name
    for name, each in model.named_parameters():
        assert each.grad is not None and each.grad.isfinite().all(), name
    assert all(each.grad.abs().max() > 0 for each in model.backbone.parameters())


@pytest.mark.parametrize('only', ['loss_edge', 'loss_ce'])
def test_the_shape_stream_learns_from_edges_and_from_the_segmentation(only):
    model = build()
    losses = losses_of_batch(model)
    stream = list(model.decode_head.shape_stream.parameters())
    found = torch.autograd.grad(losses[f'decode.{only}'], stream)
    assert all(each.abs().max() > 0 for each in found)


@pytest.mark.parametrize('name', LOSSES)
def test_every_loss_steps(name):
    """On the segmentation's logits, beside those of the edges."""
    ours = head(loss_decode=[CE, dict(type=name, **LOSSES[name].on_small_images)])
    losses = ours.loss(features(), samples(labelled()), None)
    last_layer = ours.conv_seg.weight
    loss = losses[ours.loss_decode[1].loss_name]
    (gradient,) = torch.autograd.grad(loss, last_layer, retain_graph=True)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    before = last_layer.detach().clone()
    sum(each for key, each in losses.items() if 'loss' in key).backward()
    torch.optim.SGD(ours.parameters(), lr=0.1).step()
    assert not last_layer.equal(before) and last_layer.isfinite().all()


@pytest.mark.parametrize('backbone', BACKBONES)
def test_backbones_and_odd_sizes(backbone):
    size = 41, 57
    model = build(backbone, size)
    losses = losses_of_batch(model, size=size)
    assert all(each.isfinite().all() for each in losses.values())
    model.eval()
    with torch.no_grad():
        (found,) = model.predict(torch.randn(1, 3, *size))
        seg_logits, edge_logits = model(torch.randn(1, 3, *size))
    assert found.seg_logits.data.shape == (3, *size)
    assert edge_logits.shape == (1, 1, *size) and seg_logits.shape[1] == 3


def test_without_edges_any_segmentor_serves():
    """And has the same function. The stream is then at the first feature's size."""
    ours, stock = (build(edge_source='none', kind=kind).eval() for kind in KINDS)
    assert list(ours.state_dict()) == list(stock.state_dict())
    given = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert ours(given)[0].equal(stock(given)[0])
        assert ours(given)[1].shape == (2, 1, 32, 48)


KINDS = ('EdgeEncoderDecoder', 'EncoderDecoder')


def test_edges_from_nowhere_are_refused():
    model = build(kind='EncoderDecoder').eval()
    message = "edge_source='sobel', but got features without .* type='EdgeEncoderDecoder', or the"
    with pytest.raises(ValueError, match=message):
        model.predict(torch.zeros(1, 3, 64, 96))


def test_two_ranks_are_one(tmp_path):
    """Every parameter is used, as DistributedDataParallel requires, and the ranks end with the same
    gradients."""

    def work(rank):
        torch.set_num_threads(1)
        model = MMDistributedDataParallel(build(size=(32, 48), loss_decode=[CE, EPL]))
        torch.manual_seed(rank)
        batch = preprocessed(model.module, 3, 32, 48)
        for _ in range(2):  # the second forward fails if a parameter was not used
            model.zero_grad()
            losses = model(**batch, mode='loss')
            sum(each for key, each in losses.items() if 'loss' in key).backward()
        for each in model.parameters():
            other = each.grad.clone()
            torch.distributed.broadcast(other, 0)
            torch.testing.assert_close(each.grad, other)

    assert as_ranks(2, work, tmp_path) == [True, True]


# --- What looks at losses -------------------------------------------------------------------------


def test_the_hooks_see_its_losses():
    """Their weights are scheduled and logged, and a wrapper's in one of their places."""
    both = dict(
        type='LossSum', losses=[dict(type='DualTaskLoss'), dict(type='BF1Loss')], loss_weight=0.5
    )
    model = build(size=(32, 48), loss_dual=both)
    calls = LossCalls(model)
    keys = ['decode.loss_edge', 'decode.loss_attention', 'decode.loss_dual']
    found = {each.key: each for each in losses_of(model)}
    parts = ['decode.loss_dual.loss_dual_task', 'decode.loss_dual.loss_bf1']
    assert list(found) == ['decode.loss_ce', *keys, *parts]
    assert found['decode.loss_edge'].title == 'loss_edge (BalancedEdgeLoss)'
    plain = losses_of_batch(model, size=(32, 48))
    assert not calls.missed()
    schedules = [dict(loss=key, kind='constant', start=0.25) for key in ('loss_edge', parts[1])]
    hook = HOOKS.build(dict(type='LossWeightSchedule', schedules=schedules, interval=1))
    runner = SimpleNamespace(model=model, iter=0, epoch=0, message_hub=MessageHub('gscnn'))
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    log = losses_of_batch(model, size=(32, 48))
    hook.after_train_iter(runner, 0, None, log)
    assert log[keys[0]].item() == pytest.approx(plain[keys[0]].item() / 4, rel=1e-4)
    assert log[keys[2]] < plain[keys[2]]
    assert runner.message_hub.get_scalar('train/decode.weight_edge').current() == 5.0
    assert find_loss(model, 'loss_attention').loss.loss_weight == 1
    hook.after_train(runner)
    assert find_loss(model, 'loss_edge').loss.loss_weight == 20


@pytest.mark.parametrize(
    'options, message',
    [
        (
            dict(in_channels=(4, 5, 6, 7)),
            r'GSCNNHead got in_channels=\(4, 5, 6, 7\), .*; give five',
        ),
        (dict(in_index=(0, 1)), r'in_index=\(0, 1\); give five of each, of features from the stem'),
        (dict(edge_channels=(4, 3)), r'got edge_channels=\(4, 3\); give three, one for each gate'),
        (dict(edge_source='laplace'), "edge_source is 'laplace'; choose one of 'sobel', 'canny', "),
        (dict(edge_radius=0), 'edge_radius is 0; give 1 or more pixels.'),
        (dict(edge_threshold=1), 'edge_threshold is 1; give a number from 0 to 1.'),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        head(**options)
