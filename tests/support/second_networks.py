"""WRN-38, DRN-D, DeepLabv3+'s decoder, PSANet's head and GSCNN a second time, as plain and short as
they can be, as oracles for the networks of the package.

They were written from a description of the published networks, without a look at the package, with
which they share nothing. Widths and depths are arguments, whose defaults are the published ones.
Nothing is initialized beyond what torch does: tests copy weights. `WRN38` and `DRND` have the key
names of the public checkpoints and `PSAHead` those of MMSegmentation; for the others `tensors_of`
lists the tensors in an order that their classes document.

Heads return logits at the size where their last convolution works, so without the last enlargement.
Shapes are (N, C, H, W), labels (N, H, W); N images, C channels, K classes.
"""

import torch
import torch.nn.functional as F
from torch import nn


def tensors_of(module):
    """[(name, parameter or running statistic)], layer by layer in the order of the class's
    docstring; of a convolution weight, bias; of a normalization weight, bias, mean, variance."""
    state = module.state_dict().items()
    return [(name, value) for name, value in state if not name.endswith('num_batches_tracked')]


def conv(inputs, outputs, kernel, stride=1, dilation=1, bias=False):
    """A convolution that keeps the size but for its stride."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=bias)


def norm_relu(channels):
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


class ConvNormReLU(nn.Module):
    """MMCV's names of the layers: conv, bn."""

    def __init__(self, inputs, outputs, kernel, dilation=1):
        super().__init__()
        self.conv = conv(inputs, outputs, kernel, dilation=dilation)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def enlarge(x, size, align_corners=True):
    return F.interpolate(x, size=size, mode='bilinear', align_corners=align_corners)


# --- WRN-38: wider_resnet38_a2 --------------------------------------------------------------------


class WideBlock(nn.Module):
    """Two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1 if there are three widths. The projection
    reads the activated input, the identity the raw one; nothing follows the addition."""

    def __init__(self, inputs, widths, stride=1, dilation=1, dropout=0.0):
        super().__init__()
        self.bn1 = norm_relu(inputs)
        self.convs = nn.Sequential()
        kernels = {2: (3, 3), 3: (1, 3, 1)}[len(widths)]
        strides = (stride, 1, 1)
        channels = (inputs, *widths)
        for i, kernel in enumerate(kernels):
            if i:
                self.convs.add_module(f'bn{i + 1}', norm_relu(channels[i]))
            if i == 2:
                self.convs.add_module('dropout', nn.Dropout2d(dropout))
            layer = conv(channels[i], channels[i + 1], kernel, strides[i], dilation)
            self.convs.add_module(f'conv{i + 1}', layer)
        if stride != 1 or inputs != widths[-1]:
            self.proj_conv = conv(inputs, widths[-1], 1, stride)

    def forward(self, x):
        activated = self.bn1(x)
        shortcut = self.proj_conv(activated) if hasattr(self, 'proj_conv') else x
        return self.convs(activated) + shortcut


class WRN38(nn.Module):
    """Returns the outputs of mod1 ... mod7, at strides 1, 2, 4, 8, 8, 8, 8.

    Without dilation, for classification: strides=(1, 1, 2, 2, 2, 1), dilations=(1,) * 6.

    Args:
        stem: channels of mod1.
        blocks, widths, strides, dilations, dropouts: of mod2 ... mod7; the strides are those of the
            first blocks, and max-pooling before mod2 and mod3 is not among them.
        final_norm: whether `bn_out`, with a ReLU, follows mod7.
    """

    def __init__(
        self,
        stem=64,
        blocks=(3, 3, 6, 3, 1, 1),
        widths=(
            (128, 128),
            (256, 256),
            (512, 512),
            (512, 1024),
            (512, 1024, 2048),
            (1024, 2048, 4096),
        ),
        strides=(1, 1, 2, 1, 1, 1),
        dilations=(1, 1, 1, 2, 4, 4),
        dropouts=(0, 0, 0, 0, 0.3, 0.5),
        final_norm=False,
    ):
        super().__init__()
        self.mod1 = nn.Sequential()
        self.mod1.add_module('conv1', conv(3, stem, 3))
        inputs = stem
        for i in range(6):
            module = nn.Sequential()
            for k in range(blocks[i]):
                stride = strides[i] if k == 0 else 1
                block = WideBlock(inputs, widths[i], stride, dilations[i], dropouts[i])
                module.add_module(f'block{k + 1}', block)
                inputs = widths[i][-1]
            self.add_module(f'mod{i + 2}', module)
        if final_norm:
            self.bn_out = norm_relu(inputs)

    def forward(self, x):
        m1 = self.mod1(x)
        m2 = self.mod2(F.max_pool2d(m1, 3, stride=2, padding=1))
        m3 = self.mod3(F.max_pool2d(m2, 3, stride=2, padding=1))
        m4 = self.mod4(m3)
        m5 = self.mod5(m4)
        m6 = self.mod6(m5)
        m7 = self.mod7(m6)
        if hasattr(self, 'bn_out'):
            m7 = self.bn_out(m7)
        return [m1, m2, m3, m4, m5, m6, m7]


# --- DRN-D ----------------------------------------------------------------------------------------


class BasicBlock(nn.Module):
    """Both 3 x 3 convolutions are dilated."""

    expansion = 1

    def __init__(self, inputs, planes, stride=1, dilation=1):
        super().__init__()
        self.conv1 = conv(inputs, planes, 3, stride, dilation)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample(inputs, planes, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, planes, stride=1, dilation=1):
        super().__init__()
        self.conv1 = conv(inputs, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3, stride, dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv(planes, 4 * planes, 1)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = downsample(inputs, 4 * planes, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x))


def downsample(inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class DRND(nn.Module):
    """Returns the outputs of layer0 ... layer8, at strides 1, 1, 2, 4, 8, 8, 8, 8, 8.

    Args:
        block: of layer3 ... layer6.
        depths: of layer1 ... layer8; the default is D-54's, and with `BasicBlock` D-38's.
        widths: of layer0 ... layer8, which a bottleneck expands four times.
    """

    def __init__(
        self,
        block=Bottleneck,
        depths=(1, 1, 3, 4, 6, 3, 1, 1),
        widths=(16, 16, 32, 64, 128, 256, 512, 512, 512),
    ):
        super().__init__()
        self.layer0 = nn.Sequential(conv(3, widths[0], 7), nn.BatchNorm2d(widths[0]), nn.ReLU())
        inputs = widths[0]
        strides = (1, 2, 2, 2, 1, 1, 1, 1)
        dilations = (1, 1, 1, 1, 2, 4, 2, 1)
        for i in range(1, 9):
            layer = nn.Sequential()
            for b in range(depths[i - 1]):
                stride = strides[i - 1] if b == 0 else 1
                dilation = dilations[i - 1]
                if 3 <= i <= 6:
                    layer.append(block(inputs, widths[i], stride, dilation))
                    inputs = block.expansion * widths[i]
                else:
                    layer.append(conv(inputs, widths[i], 3, stride, dilation))
                    layer.append(nn.BatchNorm2d(widths[i]))
                    layer.append(nn.ReLU())
                    inputs = widths[i]
            self.add_module(f'layer{i}', layer)

    def forward(self, x):
        outputs = []
        for i in range(9):
            x = getattr(self, f'layer{i}')(x)
            outputs.append(x)
        return outputs


# --- DeepLabv3+ -----------------------------------------------------------------------------------


class ASPP(nn.Module):
    """Returns the branches: image pooling, the edge branch if there is one, 1 x 1, 3 x 3 of each
    rate. Its tensors have that order."""

    def __init__(self, inputs, channels, rates, edge=False):
        super().__init__()
        self.pool = ConvNormReLU(inputs, channels, 1)
        if edge:
            self.edge = ConvNormReLU(1, channels, 1)
        self.point = ConvNormReLU(inputs, channels, 1)
        self.dilated = nn.ModuleList(ConvNormReLU(inputs, channels, 3, rate) for rate in rates)

    def forward(self, x, edge_attention=None):
        size = x.shape[2:]
        branches = [enlarge(self.pool(x.mean((2, 3), keepdim=True)), size)]
        if edge_attention is not None:
            branches.append(self.edge(enlarge(edge_attention, size)))
        branches.append(self.point(x))
        branches += [branch(x) for branch in self.dilated]
        return branches


class JFZDecoder(nn.Module):
    """pytorch-deeplab-xception's: takes the low-level feature (stride 4) and the top, and returns
    logits at the size of the former.

    Its tensors: image pooling, 1 x 1, the rates, merge, low, the two 3 x 3, the logits. The input
    of merge has another order: 1 x 1, the rates, image pooling. The first 3 x 3 reads [top, low].
    """

    def __init__(
        self,
        low_channels,
        top_channels,
        num_classes,
        rates=(6, 12, 18),
        channels=256,
        reduced=48,
        dropouts=(0.5, 0.5, 0.1),
    ):
        super().__init__()
        self.aspp = ASPP(top_channels, channels, rates)
        self.merge = ConvNormReLU((2 + len(rates)) * channels, channels, 1)
        self.low = ConvNormReLU(low_channels, reduced, 1)
        self.first = ConvNormReLU(channels + reduced, channels, 3)
        self.second = ConvNormReLU(channels, channels, 3)
        self.logits = conv(channels, num_classes, 1, bias=True)
        self.dropouts = dropouts

    def forward(self, low, top):
        pool, *others = self.aspp(top)
        top = self.dropout(self.merge(torch.cat([*others, pool], 1)), 0)
        low = self.low(low)
        x = torch.cat([enlarge(top, low.shape[2:]), low], 1)
        x = self.dropout(self.first(x), 1)
        x = self.dropout(self.second(x), 2)
        return self.logits(x)

    def dropout(self, x, place):
        return F.dropout(x, self.dropouts[place], self.training)


class NVIDIADecoder(nn.Module):
    """DeepWV3Plus's: takes m2 (stride 2) and m7 (stride 8) of WRN-38, and returns logits at the
    size of m2. With `edge` it is GSCNN's, which takes the attention to edges too.

    Its tensors: image pooling, the edge branch, 1 x 1, the rates, which is the order of the input
    of merge too; merge, low, the two 3 x 3, the logits. The first 3 x 3 reads [low, top].
    """

    def __init__(
        self,
        low_channels=128,
        top_channels=4096,
        num_classes=19,
        rates=(12, 24, 36),
        channels=256,
        reduced=48,
        edge=False,
    ):
        super().__init__()
        self.aspp = ASPP(top_channels, channels, rates, edge)
        self.merge = conv((2 + edge + len(rates)) * channels, channels, 1)
        self.low = conv(low_channels, reduced, 1)
        self.first = ConvNormReLU(reduced + channels, channels, 3)
        self.second = ConvNormReLU(channels, channels, 3)
        self.logits = conv(channels, num_classes, 1)

    def forward(self, low, top, edge_attention=None):
        top = self.merge(torch.cat(self.aspp(top, edge_attention), 1))
        low = self.low(low)
        x = torch.cat([low, enlarge(top, low.shape[2:])], 1)
        return self.logits(self.second(self.first(x)))


# --- PSANet ---------------------------------------------------------------------------------------


def psa_mask(x, kind, mask_size):
    """PSANet's mask, from (N, mask_h * mask_w, H, W) to (N, H * W, H, W): 'collect' gives what the
    pixel [2, 3] takes of each pixel [1], 'distribute' what it gives to each. The mask of a pixel is
    centered at it; what it does not cover is 0.

    Both gather, for each pixel q of the first axis and p of the others, the place of q in the mask
    that lies around p; 'distribute' exchanges q and p.
    """
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device)
    cols = torch.arange(width, device=x.device)
    mask_height, mask_width = mask_size
    row = rows[:, None] - rows[None, :] + (mask_height - 1) // 2  # (row of q, row of p)
    col = cols[:, None] - cols[None, :] + (mask_width - 1) // 2
    row, col = row[:, None, :, None], col[None, :, None, :]
    covered = (row >= 0) & (row < mask_height) & (col >= 0) & (col < mask_width)
    place = (row * mask_width + col).where(covered, 0)
    pixels = height * width
    place, covered = place.reshape(pixels, pixels), covered.reshape(pixels, pixels)
    taken = x.flatten(2).gather(1, place.expand(len(x), -1, -1)).where(covered, 0)
    if kind == 'distribute':
        taken = taken.transpose(1, 2)
    return taken.reshape(len(x), pixels, height, width)


class PSAHead(nn.Module):
    """Bi-directional, not compact, with the softmax and without MMSegmentation's padding of `proj`
    and its dropout. Returns logits at the size of its input."""

    def __init__(self, inputs, channels, mask_size, num_classes, align_corners=True, shrink=2):
        super().__init__()
        places = mask_size[0] * mask_size[1]
        self.conv_seg = conv(channels, num_classes, 1, bias=True)
        for suffix in ('', '_p'):
            attention = nn.Sequential(
                ConvNormReLU(channels, channels, 1), conv(channels, places, 1)
            )
            self.add_module('reduce' + suffix, ConvNormReLU(inputs, channels, 1))
            self.add_module('attention' + suffix, attention)
        self.proj = ConvNormReLU(2 * channels, inputs, 1)
        self.bottleneck = ConvNormReLU(2 * inputs, channels, 3)
        self.mask_size, self.align_corners, self.shrink = mask_size, align_corners, shrink

    def forward(self, x):
        size, align_corners = x.shape[2:], self.align_corners
        shrunk = size
        if self.shrink != 1:
            # sizes that are divisible in one direction alone count as divisible
            align_corners = all(side % self.shrink for side in size)
            up = self.shrink - 1 if align_corners else 0
            shrunk = [(side + up) // self.shrink for side in size]
        collected = self.attend(x, '', 'collect', shrunk, align_corners)
        distributed = self.attend(x, '_p', 'distribute', shrunk, align_corners)
        context = self.proj(torch.cat([collected, distributed], 1))
        context = enlarge(context, size, align_corners)
        return self.conv_seg(self.bottleneck(torch.cat([x, context], 1)))

    def attend(self, x, suffix, kind, size, align_corners):
        x = getattr(self, 'reduce' + suffix)(x)
        if x.shape[2:] != tuple(size):
            x = enlarge(x, size, align_corners)
        mask = psa_mask(getattr(self, 'attention' + suffix)(x), kind, self.mask_size).softmax(1)
        return torch.einsum('ncq,nqp->ncp', x.flatten(2), mask.flatten(2)).reshape(x.shape)


# --- GSCNN ----------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(y)))


class Gate(nn.Module):
    """Its tensors: BN of c + 1, 1 x 1 to c + 1, 1 x 1 to 1, BN of 1, the last 1 x 1."""

    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Sequential(
            nn.BatchNorm2d(channels + 1),
            conv(channels + 1, channels + 1, 1, bias=True),
            nn.ReLU(),
            conv(channels + 1, 1, 1, bias=True),
            nn.BatchNorm2d(1),
            nn.Sigmoid(),
        )
        self.last = conv(channels, channels, 1)

    def forward(self, x, gate):
        alpha = self.alpha(torch.cat([x, gate], 1))
        return self.last(x * (1 + alpha))


class GSCNNHead(nn.Module):
    """Takes [m1, m2, m3, m4, m7] and the size of the image, and returns the logits of the classes
    at the size of m2 and of the edges at the size of the image.

    `edges` (N, 1, H, W) are those of the image (Canny's, in [0, 1]); without them they are 0
    everywhere, so that the second weight of `attention` has no effect.

    Its tensors: the gate sources of m3, m4, m7; for each of the three steps of the shape stream the
    residual block, the 1 x 1 and the gate; fuse; attention, which reads [edge, image edge]; the
    decoder's.

    Args:
        inputs: channels of m1, m2, m3, m4, m7.
        stream: channels behind each step of the shape stream, which begins with m1's.
    """

    def __init__(
        self,
        inputs=(64, 128, 256, 512, 4096),
        num_classes=19,
        stream=(32, 16, 8),
        rates=(12, 24, 36),
        channels=256,
        reduced=48,
    ):
        super().__init__()
        m1, m2, m3, m4, m7 = inputs
        self.sources = nn.ModuleList(conv(each, 1, 1, bias=True) for each in (m3, m4, m7))
        self.steps = nn.ModuleList()
        before = m1
        for after in stream:
            step = nn.ModuleDict()
            step['residual'] = Residual(before)
            step['narrow'] = conv(before, after, 1, bias=True)
            step['gate'] = Gate(after)
            self.steps.append(step)
            before = after
        self.fuse = conv(before, 1, 1)
        self.attention = conv(2, 1, 1)
        self.decoder = NVIDIADecoder(m2, m7, num_classes, rates, channels, reduced, edge=True)

    def forward(self, features, size, edges=None):
        m1, m2, m3, m4, m7 = features
        x = enlarge(m1, size)
        for step, source, feature in zip(self.steps, self.sources, (m3, m4, m7)):
            x = step['narrow'](step['residual'](x))
            x = step['gate'](x, enlarge(source(feature), size))
        edge_logits = self.fuse(x)
        if edges is None:
            edges = torch.zeros_like(edge_logits)
        attention = self.attention(torch.cat([edge_logits.sigmoid(), edges], 1)).sigmoid()
        return self.decoder(m2, m7, attention), edge_logits


# --- The losses of GSCNN, of weights 1 for attention and dual task, 20 for edges ------------------


def edge_loss(edge_logits, edges):
    """Of logits (N, 1, H, W) and edges (N, H, W) of 0, 1, or more where they are void. Positives
    weigh the share of negatives in the batch and the reverse; the mean is over all pixels."""
    positives = int((edges == 1).sum())
    negatives = int((edges == 0).sum())
    total = 0 * edge_logits.sum()
    for logit, edge in zip(edge_logits.flatten(), edges.flatten().tolist()):
        if edge == 1:
            total = total - F.logsigmoid(logit) * negatives / (positives + negatives)
        if edge == 0:
            total = total - F.logsigmoid(-logit) * positives / (positives + negatives)
    return total / edges.numel()


def attention_loss(logits, edge_logits, labels, ignore_index=255, threshold=0.8):
    """Cross-entropy of logits (N, K, H, W), mean over the valid pixels whose predicted probability
    of an edge exceeds the threshold; 0 if there is none."""
    total, pixels = 0 * logits.sum(), 0
    images, height, width = labels.shape
    for image in range(images):
        for row in range(height):
            for col in range(width):
                label = int(labels[image, row, col])
                on_edge = edge_logits[image, 0, row, col].sigmoid() > threshold
                if on_edge and label != ignore_index:
                    total = total - logits[image, :, row, col].log_softmax(0)[label]
                    pixels += 1
    return total / max(pixels, 1)


def dual_task_loss(
    logits,
    labels,
    noise=0.0,
    tau=0.5,
    ignore_index=255,
    threshold=1e-8,
    padding='replicate',
):
    """Half the mean difference of the slopes of prediction and label where the prediction has a
    slope, plus half of it where the label has one; a mean over nothing is 0.

    Args:
        logits: (N, K, H, W); they are 0 at void, where the label is class 0.
        noise: Gumbel's, like the logits, added to all pixels.
        padding: what lies outside of an image, 'replicate' or 'reflect'.
    """
    valid = labels != ignore_index
    logits = logits.where(valid[:, None], 0)
    labels = labels.where(valid, 0)
    probs = ((logits + noise) / tau).softmax(1)
    masks = torch.stack([labels == k for k in range(logits.shape[1])], 1).to(probs)
    pred, pred_slopes = slopes_of(probs, threshold, padding)
    true, true_slopes = slopes_of(masks, threshold, padding)
    difference = (pred - true).abs()
    loss = 0
    for where in (pred_slopes, true_slopes):
        loss = loss + 0.5 * difference[where].sum() / max(int(where.sum()), 1)
    return loss


def slopes_of(maps, threshold, padding):
    """The magnitudes of the gradients of blurred maps, as a share of the largest of all images and
    classes, and where their squares exceed the threshold."""
    for axis in (2, 3):
        weights = [1, 2, 3, 4, 5, 4, 3, 2, 1]
        maps = sum(
            weight / 25 * shifted(maps, axis, offset, padding)
            for offset, weight in zip(range(-4, 5), weights)
        )
    by_row, by_col = (
        (shifted(maps, axis, 1, padding) - shifted(maps, axis, -1, padding)) / 2 for axis in (2, 3)
    )
    squares = by_row**2 + by_col**2
    magnitudes = (squares + 1e-6).sqrt()
    return magnitudes / magnitudes.max(), squares > threshold


def shifted(maps, axis, offset, padding):
    """What is `offset` pixels further along an axis, pixel by pixel."""
    size = maps.shape[axis]
    pixels = []
    for pixel in range(size):
        place = pixel + offset
        if padding == 'replicate':
            place = min(max(place, 0), size - 1)
        elif padding == 'reflect':
            while not 0 <= place < size:
                place = -place if place < 0 else 2 * (size - 1) - place
        else:
            raise ValueError(padding)
        pixels.append(maps.select(axis, place))
    return torch.stack(pixels, axis)
