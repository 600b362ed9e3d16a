"""The second implementations have the parameters and shapes that the sources publish or that were
counted there, and each step whose result can be told without them gives that result."""

import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.support import second_networks
from tests.support.second_networks import (
    ASPP,
    DRND,
    WRN38,
    BasicBlock,
    Bottleneck,
    Gate,
    GSCNNHead,
    JFZDecoder,
    NVIDIADecoder,
    PSAHead,
    Residual,
    WideBlock,
    attention_loss,
    dual_task_loss,
    edge_loss,
    psa_mask,
    shifted,
    slopes_of,
    tensors_of,
)

SMALL_WIDTHS = ((4, 4), (4, 6), (6, 6), (6, 8), (4, 6, 9), (6, 8, 10))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def children(module):
    return {name: count(child) for name, child in module.named_children()}


def shapes(outputs):
    return [(each.shape[1], each.shape[2]) for each in outputs]


def test_they_share_nothing_with_the_package():
    tree = ast.parse(Path(second_networks.__file__).read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert set(names) == {'torch', 'torch.nn.functional'}


# --- Backbones ------------------------------------------------------------------------------------


def test_wrn38():
    with torch.device('meta'):
        trunk = WRN38()
        assert children(trunk) == dict(
            mod1=1_728,
            mod2=820_608,
            mod3=3_279_616,
            mod4=27_274_752,
            mod5=26_484_736,
            mod6=9_442_304,
            mod7=37_758_976,
        )
        assert count(trunk) == 105_062_720
        assert count(WRN38(final_norm=True)) == 105_070_912
        channels = [64, 128, 256, 512, 1024, 2048, 4096]
        for size, sizes in (
            (560, [560, 280, 140, 70, 70, 70, 70]),
            (769, [769, 385, 193, 97, 97, 97, 97]),
        ):
            assert shapes(trunk(torch.empty(1, 3, size, size))) == list(zip(channels, sizes))
        plain = WRN38(strides=(1, 1, 2, 2, 2, 1), dilations=(1,) * 6)
        assert count(plain) == count(trunk)
        assert [side for _, side in shapes(plain(torch.empty(1, 3, 64, 64)))] == [
            64, 32, 16, 8, 4, 2, 2,
        ]  # fmt: skip


def test_the_keys_of_wrn38():
    keys = set(WRN38(stem=4, blocks=(2, 1, 1, 1, 1, 1), widths=SMALL_WIDTHS).state_dict())
    statistics = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    norms = {
        *(f'mod2.block{k}.{norm}.0' for k in (1, 2) for norm in ('bn1', 'convs.bn2')),
        *(f'mod{m}.block1.{norm}.0' for m in (3, 4, 5) for norm in ('bn1', 'convs.bn2')),
        *(f'mod{m}.block1.{norm}.0' for m in (6, 7) for norm in ('bn1', 'convs.bn2', 'convs.bn3')),
    }
    convolutions = {
        'mod1.conv1',
        *(f'mod2.block{k}.convs.conv{i}' for k in (1, 2) for i in (1, 2)),
        *(f'mod{m}.block1.convs.conv{i}' for m in (3, 4, 5, 6, 7) for i in (1, 2)),
        *(f'mod{m}.block1.convs.conv3' for m in (6, 7)),
        *(f'mod{m}.block1.proj_conv' for m in (3, 4, 5, 6, 7)),
    }
    assert keys == {f'{norm}.{name}' for norm in norms for name in statistics} | {
        f'{convolution}.weight' for convolution in convolutions
    }


def test_a_wide_block_adds_what_its_docstring_says():
    """With branches of zeros: the raw input, or the projection of the activated one."""
    x = torch.randn(2, 4, 5, 5)
    for outputs in (4, 6):
        block = WideBlock(4, (4, outputs)).eval()
        block.convs.conv2.weight.data.zero_()
        if outputs == 4:
            assert block(x).equal(x)
        else:
            kernel = block.proj_conv.weight
            torch.testing.assert_close(block(x), F.conv2d(F.relu(x), kernel), atol=1e-4, rtol=1e-4)


def test_drn():
    with torch.device('meta'):
        trunk = DRND()
        assert children(trunk) == dict(
            layer0=2_384,
            layer1=2_336,
            layer2=4_672,
            layer3=205_568,
            layer4=1_219_584,
            layer5=7_098_368,
            layer6=14_964_736,
            layer7=9_438_208,
            layer8=2_360_320,
        )
        assert count(trunk) == 35_296_176
        assert shapes(trunk(torch.empty(1, 3, 513, 513))) == [
            (16, 513),
            (16, 513),
            (32, 257),
            (256, 129),
            (512, 65),
            (1024, 65),
            (2048, 65),
            (512, 65),
            (512, 65),
        ]
        assert count(DRND(BasicBlock, (1, 1, 2, 2, 2, 2, 1, 1))) == 15_880_752
        assert count(DRND(BasicBlock)) == 25_988_912
        assert count(DRND(depths=(1, 1, 3, 4, 23, 3, 1, 1))) == 54_288_304


def test_the_keys_of_drn():
    with torch.device('meta'):
        keys = set(DRND().state_dict())
    plain = {f'layer{i}.0.weight' for i in (0, 1, 2, 7, 8)}
    plain |= {f'layer{i}.1.running_mean' for i in (0, 1, 2, 7, 8)}
    blocks = {
        f'layer{i}.{b}' for i, depth in ((3, 3), (4, 4), (5, 6), (6, 3)) for b in range(depth)
    }
    convolutions = {f'{block}.conv{i}.weight' for block in blocks for i in (1, 2, 3)}
    convolutions |= {f'layer{i}.0.downsample.0.weight' for i in (3, 4, 5, 6)}
    norms = {f'{block}.bn{i}.running_mean' for block in blocks for i in (1, 2, 3)}
    norms |= {f'layer{i}.0.downsample.1.running_mean' for i in (3, 4, 5, 6)}
    found = {key for key in keys if key.endswith('running_mean')}
    assert found == {key for key in plain | norms if key.endswith('running_mean')}
    assert {key for key in keys if 'conv' in key or key.endswith('.0.weight')} == {
        key for key in plain | convolutions if key.endswith('.weight')
    }


@pytest.mark.parametrize(
    'trunk, first, reach',
    [
        # mod5 has two 3 x 3 of dilation 2, mod6 and mod7 one of dilation 4
        (WRN38(4, (1,) * 6, SMALL_WIDTHS), 3, [0, 4, 8, 12]),
        (DRND(depths=(1,) * 8, widths=(4,) * 9), 4, [0, 2, 6, 8, 9]),
        (DRND(BasicBlock, depths=(1,) * 8, widths=(4,) * 9), 4, [0, 4, 12, 14, 15]),
    ],
    ids=['WRN-38', 'DRN-D, bottlenecks', 'DRN-D, basic blocks'],
)
def test_the_reach_of_dilated_layers(trunk, first, reach):
    """How many pixels around its own each output reads of the first output at stride 8."""
    for parameter in trunk.parameters():
        parameter.data.abs_()  # so that nothing is cut by a ReLU
    outputs = trunk.eval()(torch.rand(1, 3, 264, 264))[first:]
    assert outputs[0].shape[-1] == 33
    found = []
    for output in outputs:
        (read,) = torch.autograd.grad(output[0, :, 16, 16].sum(), outputs[0], retain_graph=True)
        found.append(16 - int(read.abs().sum((0, 1, 2)).nonzero().min()))
    assert found == reach


@pytest.mark.parametrize(
    'block, norm',
    [
        (BasicBlock(8, 8), 'bn1'),
        (Bottleneck(8, 2), 'bn1'),
        (Bottleneck(8, 2), 'bn2'),
        (Residual(8), 'bn1'),
    ],
)
def test_a_block_adds_its_input(block, norm):
    """Where the ReLU behind a normalization cuts everything, the block is a ReLU of its input."""
    getattr(block.eval(), norm).bias.data.fill_(-1e3)
    x = torch.randn(2, 8, 5, 5)
    assert block(x).equal(F.relu(x))


def test_the_layers_of_drn_end_with_a_relu():
    for output in DRND(depths=(1,) * 8, widths=(4,) * 9)(torch.randn(2, 3, 32, 32)):
        assert (output >= 0).all() and (output == 0).any()


# --- Decoders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'low, top, rates, trunk, aspp, decoder',
    [
        (256, 2048, (6, 12, 18), 42_500_160, 15_535_104, 1_309_045),
        (256, 512, (12, 24, 36), 35_296_176, 4_131_840, 1_309_045),
        (24, 320, (6, 12, 18), 1_811_712, 2_706_432, 1_297_909),
    ],
    ids=['ResNet-101', 'DRN-D-54', 'MobileNetV2'],
)
def test_the_decoder_of_jfz(low, top, rates, trunk, aspp, decoder):
    totals = {42_500_160: 59_343_795, 35_296_176: 40_736_547, 1_811_712: 5_815_539}
    with torch.device('meta'):
        head = JFZDecoder(low, top, 21, rates)
        counts = children(head)
        assert counts.pop('aspp') + counts.pop('merge') == aspp
        assert sum(counts.values()) == decoder
        assert trunk + count(JFZDecoder(low, top, 19, rates)) == totals[trunk]
        logits = head(torch.empty(2, low, 129, 129), torch.empty(2, top, 33, 33))
    assert logits.shape == (2, 21, 129, 129)


def test_the_decoder_of_nvidia():
    with torch.device('meta'):
        head = NVIDIADecoder()
        counts = children(head)
        assert counts.pop('aspp') == 30_411_264
        assert counts.pop('merge') == 327_680
        assert counts.pop('low') == 6_144
        assert sum(counts.values()) == 1_296_128
        assert 105_062_720 + count(head) == 137_103_936
        logits = head(torch.empty(2, 128, 280, 280), torch.empty(2, 4096, 70, 70))
    assert logits.shape == (2, 19, 280, 280)


@pytest.mark.parametrize(
    'head, branches, first',
    [
        (JFZDecoder(3, 4, 5, (1, 2), 6, 2), ['point', 'dilated.0', 'dilated.1', 'pool'], 'merge'),
        (NVIDIADecoder(3, 4, 5, (1, 2), 6, 2), ['pool', 'point', 'dilated.0', 'dilated.1'], 'low'),
        (
            NVIDIADecoder(3, 4, 5, (1, 2), 6, 2, edge=True),
            ['pool', 'edge', 'point', 'dilated.0', 'dilated.1'],
            'low',
        ),
    ],
    ids=['jfz', 'NVIDIA', 'GSCNN'],
)
def test_the_order_in_which_a_decoder_concatenates(head, branches, first):
    """The channels that `merge` and the first 3 x 3 read first, by who learns where they read
    nothing else."""
    edge = [torch.rand(4, 1, 16, 16)] if 'edge' in branches else []
    inputs = [torch.rand(4, 3, 8, 8), torch.rand(4, 4, 4, 4), *edge]

    def who_learns(reader, channels):
        weight = reader.conv.weight if hasattr(reader, 'conv') else reader.weight
        kept = weight.data.clone()
        weight.data[:, : channels.start], weight.data[:, channels.stop :] = 0, 0
        head.zero_grad()
        (head.train()(*inputs) ** 2).sum().backward()
        weight.data.copy_(kept)
        return {name for name, each in head.named_parameters() if each.grad.abs().sum() > 1e-9}

    for place, branch in enumerate(branches):
        learning = who_learns(head.merge, slice(6 * place, 6 * place + 6))
        assert [each for each in branches if f'aspp.{each}.conv.weight' in learning] == [branch]
    width = dict(merge=6, low=2)[first]
    learning = who_learns(head.first, slice(0, width))
    parts = {name.split('.')[0] for name in learning}
    assert {'merge', 'low'} & parts == {first}


def test_image_pooling_is_a_mean():
    aspp = ASPP(4, 6, (1, 2))
    aspp.pool = torch.nn.Identity()
    x = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(aspp(x)[0], x.mean((2, 3), True).expand_as(x))


def test_a_decoder_drops_only_in_training():
    head = JFZDecoder(3, 4, 5, (1, 2, 3), 6, 2)
    low, top = torch.rand(2, 3, 8, 8), torch.rand(2, 4, 4, 4)
    assert not head(low, top).equal(head(low, top))
    assert head.eval()(low, top).equal(head(low, top))


# --- PSANet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('mask_size', [(3, 5), (9, 11), (7, 7), (4, 2)])
def test_psa_mask(mask_size):
    """The definition, pixel by pixel: smaller and larger than the map, square, and even."""
    images, height, width = 2, 4, 5
    x = torch.rand(images, mask_size[0] * mask_size[1], height, width)
    collect = torch.zeros(images, height * width, height, width)
    distribute = torch.zeros_like(collect)
    for row in range(height):
        for col in range(width):
            for mask_row in range(mask_size[0]):
                for mask_col in range(mask_size[1]):
                    other_row = row + mask_row - (mask_size[0] - 1) // 2
                    other_col = col + mask_col - (mask_size[1] - 1) // 2
                    if 0 <= other_row < height and 0 <= other_col < width:
                        value = x[:, mask_row * mask_size[1] + mask_col, row, col]
                        collect[:, other_row * width + other_col, row, col] = value
                        distribute[:, row * width + col, other_row, other_col] = value
    assert psa_mask(x, 'collect', mask_size).equal(collect)
    assert psa_mask(x, 'distribute', mask_size).equal(distribute)


def test_psa_head():
    # ResNet-50 with a stem of 32, 32 and 64 channels in place of its 7 x 7, and the auxiliary head
    stem = 3 * 32 * 9 + 64 + 32 * 32 * 9 + 64 + 32 * 64 * 9 + 128
    trunk = 23_508_032 - (3 * 64 * 49 + 128) + stem
    auxiliary = 1024 * 256 * 9 + 512 + 257 * 21
    with torch.device('meta'):
        for mask, total in ((59, 53_069_962), (97, 59_140_234)):
            head = PSAHead(2048, 512, (mask, mask), 21)
            assert trunk + count(head) + auxiliary == total
        assert head(torch.empty(2, 2048, 15, 14)).shape == (2, 21, 15, 14)


@pytest.mark.parametrize(
    'size, halve',
    [
        ((7, 9), lambda x: x[..., ::2, ::2]),
        ((8, 6), lambda x: F.avg_pool2d(x, 2)),
        ((7, 6), lambda x: F.interpolate(x, size=(3, 3), mode='bilinear', align_corners=False)),
    ],
)
def test_psa_head_without_attention(size, halve):
    """What the mask does not cover enters the softmax as 0: if the attention is 0 too, the context
    is the same everywhere, the mean of the halved map."""
    head = PSAHead(4, 6, (3, 3), 2).eval()
    for attention in (head.attention, head.attention_p):
        attention[1].weight.data.zero_()
    x = torch.randn(2, 4, *size)
    means = [halve(reduce(x)).mean((2, 3), True) for reduce in (head.reduce, head.reduce_p)]
    context = head.proj(torch.cat(means, 1)).expand_as(x)
    expected = head.conv_seg(head.bottleneck(torch.cat([x, context], 1)))
    torch.testing.assert_close(head(x), expected)


# --- GSCNN ----------------------------------------------------------------------------------------


def test_gscnn():
    with torch.device('meta'):
        head = GSCNNHead()
        assert [count(source) for source in head.sources] == [257, 513, 4_097]
        for name, counts in dict(
            residual=[73_984, 18_560, 4_672],
            narrow=[2_080, 528, 136],
            gate=[2_248, 616, 184],
        ).items():
            assert [count(step[name]) for step in head.steps] == counts
        counts = children(head)
        assert (counts['fuse'], counts['attention']) == (8, 2)
        decoder = counts.pop('decoder')
        assert sum(counts.values()) == 107_885
        counts = children(head.decoder)
        assert [counts[name] for name in ('aspp', 'low', 'merge')] == [30_412_032, 6_144, 393_216]
        assert decoder - sum(counts[name] for name in ('aspp', 'low', 'merge')) == 1_296_128
        assert 105_062_720 + count(head) == 137_278_125

        m1, m2, m3, m4, _, _, m7 = WRN38()(torch.empty(2, 3, 560, 560))
        logits, edge_logits = head([m1, m2, m3, m4, m7], (560, 560))
    assert logits.shape == (2, 19, 280, 280) and edge_logits.shape == (2, 1, 560, 560)


def small_gscnn():
    """A head, and features of an image of 24 x 32 at strides 2, 2, 4, 8 and 8."""
    torch.manual_seed(0)
    inputs = (6, 5, 4, 3, 7)
    head = GSCNNHead(inputs, num_classes=3, rates=(1, 2, 3), channels=8, reduced=4)
    sizes = ((12, 16), (12, 16), (6, 8), (3, 4), (3, 4))
    return head, [torch.randn(2, channels, *size) for channels, size in zip(inputs, sizes)]


def test_the_class_and_edge_logits_of_gscnn_teach_the_edge_stream():
    head, features = small_gscnn()
    logits, edge_logits = head(features, (24, 32))
    assert logits.shape == (2, 3, 12, 16) and edge_logits.shape == (2, 1, 24, 32)
    stream = [head.sources, head.steps, head.fuse]
    for output in (edge_logits, logits):
        head.zero_grad()
        (output**2).sum().backward(retain_graph=True)
        for part in stream:
            assert all(parameter.grad.abs().sum() > 0 for parameter in part.parameters())
    edge, image_edge = head.attention.weight.grad.flatten().tolist()
    assert edge != 0 and image_edge == 0


def test_the_edges_of_the_image_change_the_logits_of_gscnn():
    head, features = small_gscnn()
    head.eval()
    without, edge_logits = head(features, (24, 32))
    none, _ = head(features, (24, 32), torch.zeros(2, 1, 24, 32))
    edges, same = head(features, (24, 32), torch.ones(2, 1, 24, 32))
    assert none.equal(without) and same.equal(edge_logits) and not edges.equal(without)


def test_a_gate():
    """With an alpha of sigmoid(0) and a last layer of the identity: half as much again."""
    gate = Gate(3).eval()
    gate.alpha[3].weight.data.zero_()
    gate.alpha[3].bias.data.zero_()
    gate.last.weight.data.copy_(torch.eye(3)[:, :, None, None])
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(gate(x, torch.randn(2, 1, 4, 4)), 1.5 * x)


def test_the_tensors_are_in_the_order_of_the_docstring():
    names = [name for name, _ in tensors_of(small_gscnn()[0])]
    parts = list(dict.fromkeys(name.split('.')[0] for name in names))
    assert parts == ['sources', 'steps', 'fuse', 'attention', 'decoder']
    step = [name for name in names if name.startswith('steps.0')]
    assert list(dict.fromkeys(name.split('.')[2] for name in step)) == [
        'residual',
        'narrow',
        'gate',
    ]
    gate = [value.numel() for name, value in tensors_of(Gate(3))]
    assert gate == [4, 4, 4, 4, 16, 4, 4, 1, 1, 1, 1, 1, 9]


# --- The losses of GSCNN --------------------------------------------------------------------------


def test_edge_loss():
    logits = torch.randn(2, 1, 3, 4, dtype=torch.float64)
    edges = torch.zeros(2, 3, 4)
    edges[0, 1], edges[1, 2, 2:] = 1, 255
    positives, negatives = 4, 18
    weight = torch.where(edges == 1, negatives / 22, positives / 22) * (edges <= 1)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], (edges == 1).double(), weight)
    torch.testing.assert_close(edge_loss(logits, edges), expected)
    assert edge_loss(logits, torch.full((2, 3, 4), 255)) == 0


def test_attention_loss():
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    labels = torch.randint(3, (2, 3, 4))
    edge_logits = torch.full((2, 1, 3, 4), 1.38)  # sigmoid: 0.799
    assert attention_loss(logits, edge_logits, labels) == 0
    edge_logits[0, 0, 1] = 1.39
    labels[0, 1, 3] = 255
    expected = F.cross_entropy(logits[0, :, 1, :3].T, labels[0, 1, :3])
    torch.testing.assert_close(attention_loss(logits, edge_logits, labels), expected)
    labels[0, 1, 1:] = 255
    expected = F.cross_entropy(logits[0, :, 1, :1].T, labels[0, 1, :1])
    torch.testing.assert_close(attention_loss(logits, edge_logits, labels), expected)


@pytest.mark.parametrize('padding', ['replicate', 'reflect'])
def test_the_slopes_of_maps(padding):
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    kernel = torch.tensor([1, 2, 3, 4, 5, 4, 3, 2, 1]).double() / 25
    padded = F.pad(maps, (4,) * 4, padding).flatten(0, 1)[:, None]
    blurred = F.conv2d(padded, kernel.outer(kernel)[None, None])
    around = F.pad(blurred, (1,) * 4, padding)
    by_row = (around[..., 2:, 1:-1] - around[..., :-2, 1:-1]) / 2
    by_col = (around[..., 1:-1, 2:] - around[..., 1:-1, :-2]) / 2
    squares = (by_row**2 + by_col**2).reshape(maps.shape)
    slopes = (squares + 1e-6).sqrt()
    threshold = 1.001 * float(squares.median())  # between two of them
    found, steep = slopes_of(maps, threshold, padding)
    torch.testing.assert_close(found, slopes / slopes.max())
    assert steep.equal(squares > threshold) and steep.any() and not steep.all()
    with pytest.raises(ValueError, match='zeros'):
        shifted(maps, 2, 1, 'zeros')


def test_dual_task_loss():
    labels = torch.zeros(2, 12, 14, dtype=torch.long)
    labels[:, 3:9, 5:] = 1
    labels[1, 6:] = 2
    sure = 1e3 * F.one_hot(labels, 3).permute(0, 3, 1, 2).double()
    assert dual_task_loss(sure, labels) == 0
    assert dual_task_loss(sure.roll(3, 2), labels) > 0.01
    assert dual_task_loss(sure, labels, padding='reflect') == 0
    # neither has a slope anywhere
    flat = torch.zeros(1, 12, 14, dtype=torch.long)
    assert dual_task_loss(torch.zeros(1, 3, 12, 14), flat) == 0
    # the label alone has one: with flat predictions, all of whose magnitudes are the largest
    kept = labels[:1]
    masks = F.one_hot(kept, 3).permute(0, 3, 1, 2).double()
    true, steep = slopes_of(masks, 1e-8, 'replicate')
    torch.testing.assert_close(
        dual_task_loss(torch.zeros(1, 3, 12, 14, dtype=torch.float64), kept),
        0.5 * (1 - true[steep]).mean(),
    )


def test_dual_task_loss_of_void_temperature_and_noise():
    torch.manual_seed(0)
    logits, noise = torch.randn(2, 1, 3, 6, 7, dtype=torch.float64)
    labels = torch.randint(3, (1, 6, 7))
    labels[0, :3, :3] = 255
    other = logits.clone()
    other[..., :3, :3] = 50
    assert dual_task_loss(logits, labels) == dual_task_loss(other, labels)
    scaled = dual_task_loss((logits + noise) / 0.3, labels, tau=1)
    assert dual_task_loss(logits, labels, noise, tau=0.3) != scaled  # at void there is noise alone
    valid = labels.where(labels != 255, 1)
    torch.testing.assert_close(
        dual_task_loss(logits, valid, noise, tau=0.3),
        dual_task_loss((logits + noise) / 0.3, valid, tau=1),
    )
    assert torch.autograd.gradcheck(
        lambda x: dual_task_loss(x, labels, noise), logits.clone().requires_grad_()
    )
