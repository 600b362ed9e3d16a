"""One row per metric, for the tests that go through all metrics.

A new metric is a row here and its oracle in `naive`. Definitions, properties, input types, void and
unknown labels, the public function and the accumulator are tested for each row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmseg_boundary import metrics
from mmseg_boundary.labels import encode_pair
from tests.support import naive


@dataclass(frozen=True)
class Metric:
    """A metric with some of its options.

    oracle: the definition in plain loops, (pred, label, num_classes, widths, ignore_index, options
        by name) -> nested lists like the record of one image.
    call: the public function that scores one image or a stack of images.
    count: the public function that measures one image, if there is one beside the class.
    options: arguments of the class, of `count` and of the oracle.
    does_not_hold: the properties of tests/metrics/test_definitions.py that the metric lacks;
        a test shows that it does.
    mutants: as for a loss, see `support.losses`.
    """

    oracle: Callable[..., Any]
    call: Callable[..., metrics.Scores]
    count: Callable[..., Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    does_not_hold: Sequence[str] = ()
    mutants: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


# {name of the class, then after a comma the options in words: row}
METRICS = {
    'BoundaryIoU': Metric(naive.boundary_iou, metrics.boundary_iou, metrics.count_boundary_iou),
    'TrimapIoU': Metric(
        naive.trimap_iou,
        metrics.trimap_iou,
        metrics.count_trimap_iou,
        # the trimap follows the boundary of the label alone
        does_not_hold=['pred and label may be swapped'],
    ),
    'TrimapIoU, void bounds': Metric(
        naive.trimap_iou,
        metrics.trimap_iou,
        metrics.count_trimap_iou,
        dict(void_is_boundary=True),
        does_not_hold=['pred and label may be swapped', 'padding with void changes nothing'],
    ),
    'TrimapIoU, deeplab': Metric(
        naive.trimap_iou,
        metrics.trimap_iou,
        metrics.count_trimap_iou,
        dict(mode='deeplab'),
        # of maps without void, which have no pixel to count, the others hold
        does_not_hold=['padding with void changes nothing'],
    ),
    'BoundaryF': Metric(
        naive.boundary_f,
        metrics.boundary_f_score,
        metrics.boundary_f,
        # DAVIS's boundary is on the upper left side of a label change, and runs along void.
        does_not_hold=['flips and transposes commute', 'padding with void changes nothing'],
    ),
    'BoundaryF, csurka': Metric(
        naive.boundary_f,
        metrics.boundary_f_score,
        metrics.boundary_f,
        dict(mode='csurka'),
        does_not_hold=['padding with void changes nothing'],
    ),
}


def class_of(name: str) -> type[metrics.Metric]:
    """The class of a row."""
    return getattr(metrics, name.split(',')[0])


def measured(name: str) -> Callable[..., Any]:
    """What the class of a row measures in one image, as a function like `count`."""

    def measure(pred, label, num_classes, widths, ignore_index=255, unknown_labels='refuse'):
        pair = encode_pair(pred, label, num_classes, ignore_index, unknown_labels)
        return class_of(name)(widths, **METRICS[name].options).measure(pair)

    return measure


def counted(name: str) -> Callable[..., Any]:
    """The `count` of a row with its options, or else what its class measures."""
    row = METRICS[name]
    if row.count is None:
        return measured(name)
    return lambda *given, **more: row.count(*given, **more, **row.options)
