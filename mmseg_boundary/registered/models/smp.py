"""What the networks of segmentation_models_pytorch share: their heads' last layer, and their
checkpoints."""

from collections.abc import Sequence

from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn

# {what its key names begin with: what they begin with in MMSegmentation}
SMP_KEYS = {
    'encoder.': 'backbone.',
    'decoder.': 'decode_head.decoder.',
    'segmentation_head.': 'decode_head.segmentation_head.',
}
# How it draws the weights of its decoders.
INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    mode='fan_in',
    distribution='uniform',
    override=dict(name='segmentation_head', type='Xavier', distribution='uniform'),
)


class SMPHead(BaseDecodeHead):
    """A decode head of several features, whose last layer has the key names of
    segmentation_models_pytorch, and whose weights begin as there.

    Args:
        in_channels, channels, in_index, norm_cfg, dropout_ratio, init_cfg, options: those of
            MMSegmentation's decode heads, with a BN and the weights of
            segmentation_models_pytorch where None is given.
        kernel_size: of the convolution that gives the logits.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        in_index: Sequence[int],
        kernel_size: int,
        norm_cfg: ConfigType | None,
        dropout_ratio: float,
        init_cfg: OptMultiConfig,
        **options,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform='multiple_select',
            norm_cfg=norm_cfg or dict(type='BN'),
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg or INIT,
            **options,
        )
        del self.conv_seg
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(channels, self.out_channels, kernel_size, padding=kernel_size // 2)
        )

    @property
    def conv_seg(self) -> nn.Conv2d:
        """The last convolution, by the name that it has in MMSegmentation."""
        return self.segmentation_head[0]


def require_lengths(name: str, count: int | None, remedy: str, **given: Sequence[int]) -> None:
    """Raises a ValueError unless each of the arguments has `count` numbers; None is as many of
    each, two or more."""
    lengths = {len(each) if isinstance(each, Sequence) else 0 for each in given.values()}
    if len(lengths) > 1 or min(lengths) < 2 or lengths != {count or min(lengths)}:
        listed = ', '.join(f'{key}={value!r}' for key, value in given.items())
        raise ValueError(f'{name} got {listed}; {remedy}.')


@MODELS.register_module()
class SMPEncoderDecoder(EncoderDecoder):
    """MMSegmentation's `EncoderDecoder`, which takes state dicts of segmentation_models_pytorch
    too, by `load_from`, as the checkpoint of `tools/test.py`, or by `load_state_dict`.

    For backbones and heads with its key names: `ResNetEncoder` and `MobileNetV2Encoder`, with
    `UNetHead` or `DeepLabV3PlusHead`. Checkpoints of its own have MMSegmentation's names. The
    encoder alone begins from such a file through `init_cfg=dict(type='Pretrained', checkpoint=…,
    prefix='encoder')`.
    """

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
        for key in list(state_dict):
            for theirs, ours in SMP_KEYS.items():
                if key.startswith(prefix + theirs):
                    name = prefix + ours + key.removeprefix(prefix + theirs)
                    state_dict[name] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)
