"""How well can a network of a given stride do? Scores the labels themselves, as it could give them.

python tools/ceiling.py configs/pspnet_ce_camvid.py --strides 4 8 16

The labels of the test images are averaged over squares of `stride` pixels, per class, and upsampled
bilinearly, as the decode head upsamples its logits. The scores are near what a network can reach
whose head knows the shares of the classes in each square; sharper logits may lie a little above.
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from prettytable import PrettyTable
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import add_config_options, add_debug_argument, read_config
from mmseg_boundary.cli.errors import plain_errors
from mmseg_boundary.cli.parts import require_parts
from mmseg_boundary.cli.runner import build_loader
from mmseg_boundary.labels import encode


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score labels, pooled and upsampled')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--strides',
        nargs='+',
        type=int,
        default=[4, 8, 16],
        help='pixels of the image per pixel of the logits (default: 4 8 16)',
    )
    add_config_options(parser)
    add_debug_argument(parser)
    args = parser.parse_args()
    if min(args.strides) < 1:
        parser.error(f'--strides {min(args.strides)}: give 1 or more pixels')
    return args


def main() -> None:
    args = parse_args()
    patches.install()
    config = read_config(args.config, args.cfg_options)
    require_parts(config, ('test_dataloader', 'test_evaluator'))
    # quiet: each evaluation would print its tables
    MMLogger.get_instance('ceiling', log_level='ERROR')
    init_default_scope(config.get('default_scope', 'mmseg'))
    with plain_errors(config, args.debug):
        scores = ceilings(config, args.strides)
    table = PrettyTable(['', *(f'stride {stride}' for stride in scores)], align='r')
    for key in next(iter(scores.values())):
        table.add_row([key, *(f'{each[key]:.2f}' for each in scores.values())])
    print(f'{args.config}: the labels of its test images, pooled and upsampled\n\n{table}')


def ceilings(config: Config, strides: list[int]) -> dict[int, dict[str, float]]:
    """{stride: {metric: score}} over the test images of a config."""
    loader = build_loader(config.test_dataloader)
    meta = loader.dataset.metainfo
    align_corners = config.model.decode_head.get('align_corners', False)
    evaluators = {stride: Evaluator(config.test_evaluator) for stride in strides}
    for evaluator in evaluators.values():
        evaluator.dataset_meta = meta
    for batch in loader:
        for sample in batch['data_samples']:
            label = sample.gt_sem_seg.data[0]
            void = loader.dataset.ignore_index
            for stride, evaluator in evaluators.items():
                pred = pooled(label, len(meta['classes']), void, stride, align_corners)
                scored = SegDataSample(metainfo=sample.metainfo, gt_sem_seg=sample.gt_sem_seg)
                scored.pred_sem_seg = PixelData(data=pred[None])
                evaluator.process([scored])
    return {stride: each.evaluate(len(loader.dataset)) for stride, each in evaluators.items()}


def pooled(label: Tensor, num_classes: int, void: int, stride: int, align_corners: bool) -> Tensor:
    """The (H, W) prediction of a head that knows what share of each square has which class.

    Args:
        label: (H, W) class indices; void belongs to no class, and predicts a neighboring one.
        stride: the head's output has ceil(H / stride) rows, as a network of this stride gives.
        align_corners: of the upsampling.
    """
    masks = encode(label[None], num_classes, void).masks.float()
    size = [-(-side // stride) for side in label.shape]
    shares = adaptive_avg_pool2d(masks, size)
    upsampled = interpolate(shares, label.shape, mode='bilinear', align_corners=align_corners)
    return upsampled[0].argmax(0)


if __name__ == '__main__':
    main()
