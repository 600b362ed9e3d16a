"""What encoders and heads are built from."""

from mmcv.cnn import build_norm_layer
from mmseg.utils import ConfigType
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def with_norm(
    conv: nn.Module, channels: int, norm_cfg: ConfigType, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """A convolution, the normalization of its `channels` and the activation, as 0, 1 and 2."""
    return nn.Sequential(conv, build_norm_layer(norm_cfg, channels)[1], activation(inplace=True))


def separable_conv(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution of each channel and a 1x1 of all, with nothing between, as 0 and 1."""
    depthwise = nn.Conv2d(
        in_channels,
        in_channels,
        3,
        padding=dilation,
        dilation=dilation,
        groups=in_channels,
        bias=False,
    )
    return nn.Sequential(depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=False))


def checkpointed(part: nn.Module, x: Tensor, with_cp: bool) -> Tensor:
    """`part(x)`; `with_cp` it is computed again in the backward pass."""
    if with_cp and x.requires_grad:
        return checkpoint(part, x, use_reentrant=False)
    return part(x)
