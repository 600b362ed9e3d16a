"""The boundary metrics as MMSegmentation's evaluators run them."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .. import compat, metrics
from ..labels import encode_pair, require_known_labels, require_unknown_labels
from ..metrics.boundary_f import CSURKA_RATIO, require_mode
from ..metrics.metric import Metric, Scores, require_ratio, require_widths
from ..metrics.trimap_iou import require_trimap_mode
from ..report import array_of

BOUNDARY_METRICS = ('BoundaryIoU', 'BoundaryF', 'TrimapIoU')
KNOWN = {
    metric.name: metric
    for metric in map(vars(metrics).get, metrics.__all__)
    if isinstance(metric, type) and issubclass(metric, Metric) and metric is not Metric
}

compat.prefer_greater(KNOWN)


def require_classes(metainfo: dict) -> Sequence[str]:
    """The names of a data set's classes; a ValueError if it has none."""
    classes = metainfo.get('classes')
    if not classes:
        raise ValueError(
            'The data set has no classes: give it metainfo=dict(classes=(...), palette=[...]), or '
            'another type, whose METAINFO has them.'
        )
    return classes


@METRICS.register_module()
class BoundaryMetric(IoUMetric):
    """`IoUMetric`, and boundary metrics of the same predictions.

    Returns percentages, not rounded: what `IoUMetric` returns under its keys, summed in integers,
    and for every width of n pixels

        mBoundaryIoU_{n}px  `metrics.count_boundary_iou`: chessboard distance <= n inside the class
        mBoundaryF_{n}px    `metrics.boundary_f`: boundaries match at Euclidean distances <= n
        mTrimapIoU_{n}px    `metrics.count_trimap_iou`: Euclidean distance to the boundary < n

    or, for a width that is a share s of each image's diagonal, mBoundaryF_{s}d and so on; and
    mBoundaryIoU at `dilation_ratio`; with 'csurka' also mBoundaryF at 0.75 % of the diagonal.
    A class in neither map is NaN and left out of the mean, a missed class is 0. After an evaluation
    `details` holds what the tables show: every score per class, for the first rank alone; and
    `per_image()` returns what was counted in each image.

    Args:
        ignore_index, iou_metrics, nan_to_num, beta, collect_device, output_dir, format_only,
            prefix: as for `IoUMetric`.
        boundary_metrics: any of 'BoundaryIoU', 'BoundaryF', 'TrimapIoU', or the name of another
            `Metric` in `metrics.__all__`.
        widths: whole numbers of pixels, or floats between 0 and 1, shares of the diagonal of each
            image (DAVIS 0.008, GSCNN 0.00375). In pixels these are rounded to 1 or more, for
            boundary F rounded up; with 'csurka' not rounded and not reached.
        dilation_ratio: the share of the image's diagonal that is Boundary IoU's own width.
        boundary_f_mode: 'present', 'gscnn' or 'csurka', see `metrics.score_boundary_f`.
        void_is_boundary: whether the trimap follows boundaries between classes and void too.
        trimap_mode: 'band', around the boundaries of the classes, or 'deeplab', around void alone,
            see `metrics.count_trimap_iou`.
        keep_results: ignored; MMSegmentation's test.py passes it.
        unknown_labels: what a label means that is neither a class nor void: 'refuse' raises an
            error that names the file, with 'wrong' every prediction there counts as wrong, as
            for `IoUMetric`. A predicted number outside the classes is wrong in either case.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        iou_metrics: Sequence[str] | str = ('mIoU',),
        boundary_metrics: Sequence[str] = BOUNDARY_METRICS,
        widths: Sequence[float] | float = (1, 2, 3, 5, 9, 15),
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
        trimap_mode: str = 'band',
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
        require_trimap_mode(trimap_mode, void_is_boundary, 'trimap_mode')
        names = _require_metrics(boundary_metrics)
        self.widths = require_widths(widths)
        self.dilation_ratio = require_ratio(dilation_ratio)
        self.boundary_f_mode = boundary_f_mode
        self.void_is_boundary = void_is_boundary
        self.trimap_mode = trimap_mode
        self.unknown_labels = unknown_labels
        # Each metric takes those that its constructor names.
        options = dict(dilation_ratio=dilation_ratio, void_is_boundary=void_is_boundary)
        csurka = CSURKA_RATIO if boundary_f_mode == 'csurka' else None
        own = dict(
            BoundaryF=dict(mode=boundary_f_mode, tolerance_ratio=csurka),
            TrimapIoU=dict(mode=trimap_mode),
        )
        self.boundary_metrics = [
            _with_options(name, self.widths, options | own.get(name, {})) for name in names
        ]
        self.details = {}
        self.records = []

    def require_known(self, data_samples: Sequence[dict]) -> None:
        """Raises a ValueError for labels that are neither a class nor void, unless these count as
        wrong; with `format_only` nothing is checked."""
        if self.format_only or self.unknown_labels == 'wrong':
            return
        classes = require_classes(self.dataset_meta)
        for sample in data_samples:
            file = sample.get('seg_map_path') or sample.get('img_path') or 'label'
            label = sample['gt_sem_seg']['data']
            require_known_labels(label, len(classes), self.ignore_index, file)

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
            # `require_known` has refused what is to be refused.
            classes = len(self.dataset_meta['classes'])
            pair = encode_pair(pred, label.long(), classes, self.ignore_index, 'wrong')
            areas = torch.stack(self.results[place]).long()
            counts = {metric.name: metric.measure(pair) for metric in self.boundary_metrics}
            path = str(sample.get('img_path') or '')
            self.results[place] = dict(path=path, areas=areas, **counts)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The scores of all images, in percent; prints the tables."""
        if self.format_only:
            return super().compute_metrics(results)
        self.records = results
        areas = sum(record['areas'] for record in results)
        means, per_class = self._region_scores(areas)
        images = sum(record['areas'][-1] > 0 for record in results)
        for metric in self.boundary_metrics:
            records = [record[metric.name] for record in results]
            scores = self._boundary_scores(metric, records)
            keys = [
                f'{metric.name}_{column}' if column else metric.name for column in metric.columns
            ]
            means |= zip((f'm{key}' for key in keys), scores.mean.tolist(), strict=True)
            per_class |= zip(keys, scores.per_class.T.tolist(), strict=True)
            self._print_table(metric, images, scores)
            if remark := metric.remark(records):
                print_log(remark, MMLogger.get_current_instance())
        self.details = dict(
            classes=list(self.dataset_meta['classes']),
            images=images.tolist(),
            per_class=per_class,
            widths=list(self.widths),
            dilation_ratio=self.dilation_ratio,
            boundary_f_mode=self.boundary_f_mode,
            void_is_boundary=self.void_is_boundary,
            trimap_mode=self.trimap_mode,
        )
        return means

    def per_image(self) -> dict[str, np.ndarray]:
        """The counts of each of the N images of the last evaluation, in the order of their names,
        on the first rank alone.

        names, classes: (N,) and (K,), the names of the files without suffix (full paths where these
            are not unique) and of the classes.
        widths: (W,) in pixels, or below 1 as shares of the diagonal; the columns below.
        intersection, union, label: (N, K) int64 pixels of each class in both maps, in either and in
            the label, as `IoUMetric` counts them.
        boundary_iou, trimap_iou: (N, K, W, 2) int64, intersection and union within each width.
        boundary_f: (N, K, W) float64 in [0, 1], NaN where the class has a boundary in neither map.
        boundary_iou_at_ratio: as boundary_iou at `dilation_ratio`, (N, K, 2); boundary_f_at_ratio
            likewise with 'csurka'.

        Raises:
            ValueError: nothing has been evaluated.
        """
        if not self.records:
            raise ValueError(
                'BoundaryMetric has no image to tell of: evaluate first, and without format_only.'
            )
        paths = [record['path'] for record in self.records]
        names = [Path(path).stem for path in paths]
        names = names if len(set(names)) == len(names) else paths
        order = sorted(range(len(names)), key=names.__getitem__)
        records = [self.records[index] for index in order]
        areas = torch.stack([record['areas'] for record in records])
        arrays = dict(
            names=[names[index] for index in order],
            classes=list(self.dataset_meta['classes']),
            widths=list(self.widths),
            intersection=areas[:, 0],
            union=areas[:, 1],
            label=areas[:, 3],
        )
        for metric in self.boundary_metrics:
            key = array_of(metric.name)
            values = torch.stack([record[metric.name] for record in records])
            if metric.ratio is not None:
                arrays[f'{key}_at_ratio'], values = values[:, :, 0], values[:, :, 1:]
            arrays[key] = values
        return {key: np.asarray(value) for key, value in arrays.items()}

    def _region_scores(self, areas: Tensor) -> tuple[dict[str, float], dict[str, list[float]]]:
        """`IoUMetric`'s means and scores per class; the parent prints them, and rounds."""
        totals = areas.double().unbind()
        super().compute_metrics([totals])
        scores = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        means = {'aAcc': float(scores.pop('aAcc')) * 100}
        means |= {f'm{key}': float(np.nanmean(each)) * 100 for key, each in scores.items()}
        return means, {key: (each * 100).tolist() for key, each in scores.items()}

    def _boundary_scores(self, metric: Metric, records: list[Tensor]) -> Scores:
        """The scores of one metric, in percent."""
        per_class = metric.per_class(records)
        if self.nan_to_num is not None:
            per_class = per_class.nan_to_num(nan=self.nan_to_num)
        return Scores(per_class * 100, metric.mean(per_class, records) * 100)

    def _print_table(self, metric: Metric, images: Tensor, scores: Scores) -> None:
        table = PrettyTable()
        table.add_column('Class', [*self.dataset_meta['classes'], 'mean'])
        table.add_column('Images', [*images.tolist(), ''])
        columns = torch.cat([scores.per_class, scores.mean[None]]).T
        for heading, values in zip(metric.headings, columns, strict=True):
            table.add_column(heading, [f'{value:.2f}' for value in values.tolist()])
        logger = MMLogger.get_current_instance()
        print_log(f'{metric.caption}:', logger)
        print_log('\n' + table.get_string(), logger=logger)


def _with_options(name: str, widths: Sequence[int], options: dict) -> Metric:
    """The metric with those of the options that it knows."""
    metric = KNOWN[name]
    known = signature(metric).parameters
    return metric(widths, **{key: value for key, value in options.items() if key in known})


def _require_metrics(names: Sequence[str]) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        raise ValueError(
            f'boundary_metrics has {", ".join(map(repr, unknown))}; choose of '
            f'{", ".join(map(repr, dict.fromkeys([*BOUNDARY_METRICS, *KNOWN])))}.'
        )
    return names
