"""PSANet's head without padding, and the attention mask that takes the place of mmcv's operator."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import psa_head
from mmseg.registry import MODELS

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import stacks
from mmseg_boundary.compat import psa_masks_from
from mmseg_boundary.registered.models.unpadded_psa_head import PSAMask
from tests.support.skips import NO_OPERATORS

TYPES = ['collect', 'distribute']
# (height, width) of the features, of the mask: both parities; larger and smaller than needed
SIZES = [((3, 4), (5, 7)), ((4, 3), (9, 9)), ((5, 4), (3, 3)), ((4, 4), (4, 6)), ((1, 3), (3, 1))]


def build(kind='UnpaddedPSAHead', **settings):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    options = dict(
        in_channels=8, channels=4, num_classes=3, mask_size=(5, 5), norm_cfg=dict(type='BN')
    )
    head = MODELS.build(dict(type=kind, **(options | settings))).eval()
    torch.nn.init.normal_(head.conv_seg.weight)
    return head


def attention(mask, height, width):
    torch.manual_seed(1)
    return torch.randn(2, mask[0] * mask[1], height, width, dtype=torch.float64)


def looped(psa_type, x, mask):
    """What each position gives to each other, by its place in the mask around it."""
    count, _, height, width = x.shape
    out = x.new_zeros(count, height * width, height, width)
    for y in range(height):
        for z in range(width):
            for row in range(mask[0]):
                for column in range(mask[1]):
                    to_y, to_z = y + row - (mask[0] - 1) // 2, z + column - (mask[1] - 1) // 2
                    if not (0 <= to_y < height and 0 <= to_z < width):
                        continue
                    value = x[:, row * mask[1] + column, y, z]
                    if psa_type == 'collect':
                        out[:, to_y * width + to_z, y, z] = value
                    else:
                        out[:, y * width + z, to_y, to_z] = value
    return out


@pytest.mark.parametrize('size, mask', SIZES)
@pytest.mark.parametrize('psa_type', TYPES)
def test_the_mask(psa_type, size, mask):
    x = attention(mask, *size)
    assert PSAMask(psa_type, mask)(x).equal(looped(psa_type, x, mask))
    x[0, 0] = float('inf')  # nothing where the mask does not reach
    assert PSAMask(psa_type, mask)(x).equal(looped(psa_type, x, mask))


@pytest.mark.skipif(not stacks.has_compiled_operators(), reason=NO_OPERATORS)
@pytest.mark.parametrize('size, mask', SIZES)
@pytest.mark.parametrize('psa_type', TYPES)
def test_the_mask_is_mmcvs(psa_type, size, mask):
    given, theirs = (attention(mask, *size).requires_grad_() for _ in range(2))
    one, other = PSAMask(psa_type, mask)(given), psa_head.PSAMask(psa_type, mask)(theirs)
    assert one.equal(other)
    weight = torch.randn(one.shape, dtype=one.dtype)
    one.backward(weight)
    other.backward(weight)
    assert given.grad.equal(theirs.grad)


@pytest.mark.parametrize('psa_type', ['bi-direction', *TYPES])
def test_it_is_the_stock_head_without_padding(psa_type):
    """On a map of 5x5, which the stock head's projection makes 5x5 of 3x3 with borders of 0."""
    with psa_masks_from(PSAMask):
        stock = build('PSAHead', psa_type=psa_type)
    ours = build(psa_type=psa_type)
    assert stock.state_dict().keys() == ours.state_dict().keys()
    ours.load_state_dict(stock.state_dict())
    given = [torch.randn(2, 8, 5, 5)]
    with torch.no_grad():
        assert not torch.allclose(ours(given), stock(given), atol=1e-3)
        stock.proj.conv.padding = (0, 0)
        assert ours(given).equal(stock(given))


@pytest.mark.parametrize('settings', [dict(psa_softmax=False), dict(shrink_factor=1), {}])
@pytest.mark.parametrize('size', [(5, 7), (6, 8), (5, 6), (1, 1)])
def test_any_size_of_features(settings, size):
    with torch.no_grad():
        logits = build(**settings)([torch.randn(2, 8, *size)])
    assert logits.shape == (2, 3, *size) and logits.isfinite().all()


def test_the_stock_head_is_left_alone():
    """Also where ours cannot be built."""
    operator = psa_head.PSAMask
    build()
    assert psa_head.PSAMask is operator
    with pytest.raises(AssertionError):
        build(psa_type='both')
    assert psa_head.PSAMask is operator and (operator is None) != stacks.has_compiled_operators()
