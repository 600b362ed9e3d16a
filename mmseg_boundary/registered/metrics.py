"""The boundary metrics as MMSegmentation's evaluators run them."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from ..labels import require_known_labels, require_unknown_labels
from ..metrics.areas import iou
from ..metrics.boundary_f import boundary_f, csurka_tolerance, require_mode, score_boundary_f
from ..metrics.boundary_iou import count_boundary_iou, width_at_ratio
from ..metrics.trimap_iou import count_trimap_iou

BOUNDARY_METRICS = ('BoundaryIoU', 'BoundaryF', 'TrimapIoU')

# So that `save_best='mBoundaryF_3px'` needs no `rule`: MMEngine goes by parts of the key.
for _hook in (CheckpointHook, EarlyStoppingHook):
    _hook._default_greater_keys.extend(BOUNDARY_METRICS)


@METRICS.register_module()
class BoundaryMetric(IoUMetric):
    """`IoUMetric` and, for the same predictions, how well the boundaries are met.

    Returns percentages, not rounded: what `IoUMetric` returns under its keys, summed in integers,
    and for every width of n pixels

        mBoundaryIoU_{n}px  `metrics.count_boundary_iou`: chessboard distance <= n inside the class
        mBoundaryF_{n}px    `metrics.boundary_f`: contours match at Euclidean distances <= n
        mTrimapIoU_{n}px    `metrics.count_trimap_iou`: Euclidean distance to the boundary < n

    and mBoundaryIoU at `dilation_ratio`; with 'csurka' also mBoundaryF at 0.75 % of the diagonal.
    A class in neither map is NaN and left out of the mean, a missed class is 0. After an evaluation
    `details` holds what the tables show: every score per class, for the first rank alone.

    Args:
        ignore_index, iou_metrics, nan_to_num, beta, collect_device, output_dir, format_only,
            prefix: as for `IoUMetric`.
        boundary_metrics: any of 'BoundaryIoU', 'BoundaryF', 'TrimapIoU'.
        widths: in pixels.
        dilation_ratio: the share of the image's diagonal that is Boundary IoU's own width.
        boundary_f_mode: 'present', 'gscnn' or 'csurka', see `metrics.score_boundary_f`.
        void_is_boundary: whether the trimap follows contours between classes and void too.
        keep_results: ignored; MMSegmentation's test.py passes it.
        unknown_labels: what a label means that is neither a class nor void: 'refuse' raises an
            error that names the file, with 'wrong' whatever is predicted there is wrong, as for
            `IoUMetric`. A predicted number outside the classes is wrong in either case.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        iou_metrics: Sequence[str] | str = ('mIoU',),
        boundary_metrics: Sequence[str] = BOUNDARY_METRICS,
        widths: Sequence[int] = (1, 2, 3, 5, 9, 15),
        dilation_ratio: float = 0.02,
        boundary_f_mode: str = 'present',
        void_is_boundary: bool = False,
        nan_to_num: int | None = None,
        beta: int = 1,
        collect_device: str = 'cpu',
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        keep_results: bool = False,
        unknown_labels: str = 'refuse',
    ) -> None:
        super().__init__(
            ignore_index,
            iou_metrics,
            nan_to_num,
            beta,
            collect_device,
            output_dir,
            format_only,
            prefix,
        )
        require_mode(boundary_f_mode)
        require_unknown_labels(unknown_labels)
        self.boundary_metrics = _require_metrics(boundary_metrics)
        self.widths = _require_widths(widths)
        self.dilation_ratio = _require_ratio(dilation_ratio)
        self.boundary_f_mode = boundary_f_mode
        self.void_is_boundary = void_is_boundary
        self.unknown_labels = unknown_labels
        self.details = {}

    def require_known(self, data_samples: Sequence[dict]) -> None:
        """Raises a ValueError for labels that are neither a class nor void, unless these are to
        count as wrong; with `format_only` nothing is looked at."""
        if self.format_only or self.unknown_labels == 'wrong':
            return
        for sample in data_samples:
            file = sample.get('seg_map_path') or sample.get('img_path') or 'label'
            label = sample['gt_sem_seg']['data']
            require_known_labels(label, len(self.dataset_meta['classes']), self.ignore_index, file)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Appends one record per image; ranks, samplers and `collect_results` rely on that."""
        self.require_known(data_samples)
        super().process(data_batch, data_samples)
        if self.format_only:
            return
        first = len(self.results) - len(data_samples)
        for place, sample in enumerate(data_samples, first):
            label = sample['gt_sem_seg']['data'].flatten(0, -2)
            # Predictions of one logit, and averaged ones, are float, and some have no channel.
            pred = sample['pred_sem_seg']['data'].reshape(label.shape).long()
            areas = torch.stack(self.results[place]).long()
            self.results[place] = dict(areas=areas, **self._measure(pred, label.long()))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The scores of all images, in percent; prints the tables."""
        if self.format_only:
            return super().compute_metrics(results)
        areas = sum(record['areas'] for record in results)
        metrics, per_class = self._region_scores(areas)
        images = sum(record['areas'][-1] > 0 for record in results)
        for name in self.boundary_metrics:
            columns, scores, means = self._boundary_scores(name, results)
            keys = [f'{name}_{column}' if column else name for column in columns]
            for key, mean, column in zip(keys, means.tolist(), scores.T.tolist(), strict=True):
                metrics[f'm{key}'] = mean
                per_class[key] = column
            self._print_table(name, columns, images, scores, means)
        self.details = dict(
            classes=list(self.dataset_meta['classes']),
            images=images.tolist(),
            per_class=per_class,
            widths=list(self.widths),
            dilation_ratio=self.dilation_ratio,
            boundary_f_mode=self.boundary_f_mode,
            void_is_boundary=self.void_is_boundary,
        )
        return metrics

    def _measure(self, pred: Tensor, label: Tensor) -> dict[str, Tensor]:
        """{boundary metric: what it counts in one image}."""
        given = pred, label, len(self.dataset_meta['classes'])
        # `process` has refused what is to be refused.
        known = dict(ignore_index=self.ignore_index, unknown_labels='wrong')
        measured = {}
        if 'BoundaryIoU' in self.boundary_metrics:
            widths = (width_at_ratio(*label.shape, self.dilation_ratio), *self.widths)
            measured['BoundaryIoU'] = count_boundary_iou(*given, widths, **known)
        if 'BoundaryF' in self.boundary_metrics:
            tolerances = self.widths
            if self.boundary_f_mode == 'csurka':
                tolerances = (csurka_tolerance(*label.shape), *self.widths)
            measured['BoundaryF'] = boundary_f(
                *given, tolerances, mode=self.boundary_f_mode, **known
            )
        if 'TrimapIoU' in self.boundary_metrics:
            measured['TrimapIoU'] = count_trimap_iou(
                *given, self.widths, void_is_boundary=self.void_is_boundary, **known
            )
        return measured

    def _region_scores(self, areas: Tensor) -> tuple[dict[str, float], dict[str, list[float]]]:
        """`IoUMetric`'s means and scores per class; the parent prints them, and rounds."""
        totals = areas.double().unbind()
        super().compute_metrics([totals])
        scores = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        metrics = {'aAcc': float(scores.pop('aAcc')) * 100}
        metrics |= {f'm{key}': float(np.nanmean(each)) * 100 for key, each in scores.items()}
        return metrics, {key: (each * 100).tolist() for key, each in scores.items()}

    def _boundary_scores(self, name: str, results: list[dict]) -> tuple[list[str], Tensor, Tensor]:
        """Of one metric: its C columns ('' for the one relative to the diagonal), (K, C) scores per
        class and (C,) means, in percent."""
        measured = [record[name] for record in results]
        columns = [f'{width}px' for width in self.widths]
        if len(columns) < measured[0].shape[1]:
            columns = ['', *columns]
        means = None
        if name == 'BoundaryF':
            scores, means = score_boundary_f(torch.stack(measured), self.boundary_f_mode)
        else:
            scores = iou(sum(measured))
        if self.nan_to_num is not None:
            scores = scores.nan_to_num(nan=self.nan_to_num)
        if means is None or self.boundary_f_mode != 'csurka':
            means = scores.nanmean(0)
        return columns, scores * 100, means * 100

    def _print_table(
        self, name: str, columns: list[str], images: Tensor, scores: Tensor, means: Tensor
    ) -> None:
        title, relative = self._title(name)
        table = PrettyTable()
        table.add_column('Class', [*self.dataset_meta['classes'], 'mean'])
        table.add_column('Images', [*images.tolist(), ''])
        for column, values in zip(columns, torch.cat([scores, means[None]]).T, strict=True):
            heading = column.replace('px', ' px') or relative
            table.add_column(heading, [f'{value:.2f}' for value in values.tolist()])
        logger = MMLogger.get_current_instance()
        print_log(f'{title}:', logger)
        print_log('\n' + table.get_string(), logger=logger)

    def _title(self, name: str) -> tuple[str, str]:
        """What the numbers of a table are, and the heading of its column without pixels."""
        widths = f'in percent, n = {", ".join(map(str, self.widths))} px'
        if name == 'BoundaryIoU':
            return (
                f'Boundary IoU {widths} (pixels inside the class at a chessboard distance <= n '
                'from its edge or the image border; intersection and union summed over all images, '
                'mean over classes)'
            ), f'{self.dilation_ratio:.3g} of the diagonal'
        if name == 'TrimapIoU':
            void = 'a' if self.void_is_boundary else 'no'
            return (
                f'Trimap IoU {widths} (pixels at a Euclidean distance < n from the true boundary; '
                f'void is {void} boundary; intersection and union summed over '
                'all images, mean over classes)'
            ), ''
        averaged = {
            'present': 'mean over the images where the class has a contour, true or predicted, '
            'then over classes',
            'gscnn': 'mean over all images, 1 where the class has no contour in either map, then '
            'over classes',
            'csurka': 'mean over the classes that have a contour in an image, then over images',
        }
        return (
            f'Boundary F {widths} (contours match at a Euclidean distance <= n; '
            f'{averaged[self.boundary_f_mode]})'
        ), '0.0075 of the diagonal'


def _require_metrics(names: Sequence[str]) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(names)
    strangers = [name for name in names if name not in BOUNDARY_METRICS]
    if strangers:
        raise ValueError(
            f'boundary_metrics has {", ".join(map(repr, strangers))}; choose of '
            f'{", ".join(map(repr, BOUNDARY_METRICS))}.'
        )
    return names


def _require_widths(widths: Sequence[int]) -> tuple[int, ...]:
    widths = tuple(widths) if isinstance(widths, Sequence) else (widths,)
    if not widths or not all(isinstance(width, int) and width >= 1 for width in widths):
        raise ValueError(
            f'widths is {widths!r}; give one or more whole numbers of pixels, 1 or more each.'
        )
    return tuple(dict.fromkeys(widths))


def _require_ratio(ratio: float) -> float:
    if not 0 < ratio <= 1:
        raise ValueError(
            f'dilation_ratio is {ratio!r}; give a share of the diagonal, above 0 and up to 1.'
        )
    return ratio
