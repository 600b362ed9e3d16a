"""tools/loss_balance.py as a real process, and its measurements on terms worked by hand."""

import importlib.util
import math
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix, register_all_modules
from torch import nn

from tests.support import nets
from tests.support.commands import ROOT, SHAPES, attempt, run

TOOL = ROOT / 'tools/loss_balance.py'
COLUMNS = 'weight value at_logits ratio_l cosine_l at_parameters ratio_p cosine_p wanted'.split()


def table(output):
    """{log key: {column: number or None}} of what was printed."""
    rows = {}
    for line in output.splitlines():
        if '.loss_' in line and line.startswith('|'):
            key, *cells = (cell.strip() for cell in line.strip('|').split('|'))
            rows[key] = {name: float(c) if c else None for name, c in zip(COLUMNS, cells)}
    return rows


def test_the_shapes():
    out = run(sys.executable, TOOL, SHAPES)
    rows = table(out)
    assert list(rows) == ['decode.loss_ce', 'decode.loss_epl', 'aux.loss_ce']
    first, epl, auxiliary = rows.values()
    assert (first['ratio_p'], first['cosine_p'], first['wanted']) == (1, 1, None)
    assert epl['ratio_p'] == pytest.approx(epl['at_parameters'] / first['at_parameters'], rel=0.02)
    assert epl['wanted'] == pytest.approx(0.1 / epl['ratio_p'], rel=0.02)
    assert (auxiliary['weight'], auxiliary['ratio_l'], auxiliary['cosine_l']) == (0.4, None, None)
    assert auxiliary['at_logits'] > 0
    assert 'mean over 4 batches' in out and 'look again with a CHECKPOINT' in out


def test_terms_that_differ_in_their_weights_alone(trained, tmp_path):
    """The same cross-entropy four times, from a checkpoint."""
    weights = dict(loss_ce=1.0, loss_half=0.5, loss_whisper=0.005, loss_shout=3.0)
    losses = [
        dict(type='CrossEntropyLoss', loss_weight=weight, loss_name=name)
        for name, weight in weights.items()
    ]
    config = tmp_path / 'weights.py'
    config.write_text(
        f"_base_ = ['{SHAPES}']\nmodel = dict(decode_head=dict(loss_decode={losses}))\n"
        "custom_hooks = [dict(type='LossWeightSchedule', schedules=["
        "dict(loss='decode.loss_half', kind='increase')])]\n"
    )
    checkpoint = trained / 'iter_4.pth'
    out = run(sys.executable, TOOL, config, checkpoint, '--batches', 1, '--ratio', 0.25)
    assert 'mean over 1 batches' in out and str(checkpoint) in out
    for name, weight in weights.items():
        row = table(out)[f'decode.{name}']
        for ratio in ('ratio_l', 'ratio_p'):
            assert row[ratio] == pytest.approx(weight, rel=0.01)
        assert (row['weight'], row['cosine_l'], row['cosine_p']) == (weight, 1, 1)
        assert row['wanted'] == (None if name == 'loss_ce' else 0.25)
    assert "decode.loss_whisper is negligible: 0.5 % of decode.loss_ce's gradient" in out
    assert "decode.loss_shout is dominant: 300 % of decode.loss_ce's gradient" in out
    assert 'decode.loss_half is' not in out
    assert 'LossWeightSchedule moves weights in training' in out


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['configs/nothing.py'], 'configs/nothing.py does not exist. `ls configs`'),
        ([SHAPES, 'nothing.pth'], 'The checkpoint nothing.pth does not exist'),
        ([SHAPES, '--batches', 0], 'give at least one batch and a positive ratio'),
        ([SHAPES, '--ratio', 'nan'], 'give at least one batch and a positive ratio'),
        (['configs/pspnet_epl_city.py'], 'The data set is not there: data/cityscapes'),
    ],
)
def test_what_a_user_can_fix_is_said_in_one_sentence(arguments, words):
    done = attempt(sys.executable, TOOL, *arguments)
    assert done.returncode != 0 and 'Traceback' not in done.stdout
    assert words in done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('loss_balance', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Heads(nn.Module):
    """Two heads of one 1x1 convolution each, on the same features, without resizing."""

    def __init__(self, decode, auxiliary):
        super().__init__()
        register_all_modules()
        self.decode_head, self.auxiliary_head = self.head(decode), self.head(auxiliary)

    def head(self, losses):
        return MODELS.build(
            dict(
                type='FCNHead',
                in_channels=4,
                channels=4,
                num_convs=0,
                concat_input=False,
                dropout_ratio=0,
                num_classes=3,
                loss_decode=losses,
            )
        )

    def data_preprocessor(self, batch, training):
        assert training
        return batch

    def forward(self, inputs, data_samples, mode):
        assert mode == 'loss'
        losses = {}
        for name, head in (('decode', self.decode_head), ('aux', self.auxiliary_head)):
            losses |= add_prefix(head.loss([inputs], data_samples, {}), name)
        return losses


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (2, 1, 5, 6), generator=generator)
    return dict(
        inputs=torch.randn(2, 4, 5, 6, generator=generator),
        data_samples=[SegDataSample(gt_sem_seg=PixelData(data=each)) for each in labels],
    )


def ce(weight=1.0, name='loss_ce'):
    return dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=weight, loss_name=name)


def test_gradients_worked_by_hand(tool):
    """Of a mean cross-entropy at its logits: (softmax - one hot) / pixels. At the weights of the
    convolution: that times the features, summed over the pixels; at its bias: its sum."""
    model = Heads([ce(), ce(-2.0, 'loss_back')], ce(0.4))
    data = [batch(0), batch(1)]
    first, back, auxiliary = tool.balance(model, data)

    values, at_logits, at_parameters = [], [], []
    for each in data:
        features = each['inputs']
        labels = torch.stack([sample.gt_sem_seg.data[0] for sample in each['data_samples']])
        logits = model.decode_head.conv_seg(features)
        target = nn.functional.one_hot(labels, 3).movedim(-1, 1)
        values.append(-(logits.log_softmax(1) * target).sum() / labels.numel())
        delta = (logits.softmax(1) - target) / labels.numel()
        weight = torch.einsum('nkhw,nchw->kc', delta, features)
        at_logits.append(delta.norm())
        at_parameters.append(torch.cat([weight.flatten(), delta.sum((0, 2, 3))]).norm())
    expected = [sum(numbers).item() / 2 for numbers in (values, at_logits, at_parameters)]
    found = first.gradients.value, first.gradients.at_logits, first.gradients.at_parameters
    assert found == pytest.approx(expected, rel=1e-4)

    assert (first.key, back.key) == ('decode.loss_ce', 'decode.loss_back')
    assert back.gradients.cosine_at_logits == pytest.approx(-1)
    assert back.gradients.cosine_at_parameters == pytest.approx(-1)
    assert (back.ratio_at_logits, back.ratio_at_parameters) == pytest.approx((2, 2))
    assert back.weight == -2

    # another head: other logits, other parameters
    assert auxiliary.gradients.cosine_at_parameters == 0
    assert math.isnan(auxiliary.gradients.cosine_at_logits) and math.isnan(
        auxiliary.ratio_at_logits
    )
    assert auxiliary.gradients.at_logits > 0 and auxiliary.ratio_at_parameters > 0


def test_terms_of_one_name_have_no_weight_of_their_own(tool):
    """MMSegmentation adds them up: what is shown is the factor for both."""
    rows = tool.balance(Heads([ce(), ce(1.0, 'loss_two'), ce(3.0, 'loss_two')], ce()), [batch(0)])
    assert rows[1].weight is None and rows[1].ratio_at_parameters == pytest.approx(4)
    assert 'x 0.025 |' in tool.table(rows, 0.1)


def test_a_wrapper_has_one_row_with_its_weight(tool):
    """What it holds is not in the log."""
    wrapped = dict(type='NeighbourPenalised', loss=ce(2.0), window=3, loss_weight=0.5)
    alone = dict(type='NeighbourPenalised', loss=ce(), loss_name='loss_alone')
    rows = tool.balance(Heads([ce(), wrapped, alone], ce()), [batch(0)])
    keys = ['decode.loss_ce', 'decode.loss_scnp_ce', 'decode.loss_alone', 'aux.loss_ce']
    assert [row.key for row in rows] == keys
    assert [row.weight for row in rows] == [1, 0.5, 1, 1]
    assert rows[1].gradients == rows[2].gradients
    assert rows[1].gradients.value > rows[0].gradients.value and rows[1].ratio_at_parameters > 0


def test_a_first_term_without_a_gradient(tool):
    rows = tool.balance(Heads([ce(0.0), ce(1.0, 'loss_two')], ce()), [batch(0)])
    assert next(tool.remarks(rows, Config())).startswith('decode.loss_ce has no gradient here')
    assert 'nan' not in tool.table(rows, 0.1)


def preprocessed(name):
    inputs, data_samples = nets.batch(name)
    return dict(inputs=list(inputs), data_samples=data_samples)


def test_a_loss_that_is_never_called_has_a_row(tool):
    """Of DDRNet, whose two losses are called by position."""
    settings = nets.settings('ddrnet')
    settings.decode_head.loss_decode += [
        dict(type='EPLLoss', loss_weight=0.5),
        dict(type='CrossEntropyLoss', loss_name='loss_ohem'),
    ]
    rows = tool.balance(nets.build(settings), [preprocessed('ddrnet')] * 2)
    keys = ['decode.loss_context', 'decode.loss_spatial', 'decode.loss_epl', 'decode.loss_ohem']
    assert [row.key for row in rows] == keys
    assert [row.weight for row in rows] == [1, 0.4, 0.5, 1]
    assert [row.gradients is None for row in rows] == [False, False, True, True]
    cells = [line.strip('|').split('|') for line in tool.table(rows, 0.1).splitlines()]
    (epl,) = ([cell.strip() for cell in row] for row in cells if 'loss_epl' in row[0])
    assert epl == ['decode.loss_epl', '0.5', 'not called', *[''] * 7]
    said = [line for line in tool.remarks(rows, Config()) if 'would train nothing' in line]
    assert len(said) == 2 and 'so that loss_decode[2] (EPLLoss) would train nothing' in said[0]


def test_all_stages_of_knet_show_their_one_weight(tool):
    settings = nets.settings('knet')
    settings.decode_head.kernel_generate_head.loss_decode.loss_weight = 0.25
    rows = tool.balance(nets.build(settings), [preprocessed('knet')])
    weights = {f'decode.loss_ce.s{stage}': 0.25 for stage in range(4)} | {'aux.loss_ce': 0.4}
    assert {row.key: row.weight for row in rows} == weights
    assert all(row.gradients.at_logits > 0 for row in rows)
