"""One row per loss, for the tests that go through all losses.

A new loss is a row here and its oracle in `naive`. The battery, the random cases, precision,
memory, ranks, samplers and the configs take the losses from this table, so that no file of tests
has to name a new one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from mmseg_boundary.losses import active_boundary, dual_task
from tests.support import naive

CE = 'CrossEntropyLoss'


class Bound(NamedTuple):
    """For a loss L in float32 and each entry g of its gradient, with L64 and g64 those in float64:

        |L - L64| <= value x max(1, |L64|)
        |g - g64| <= relative x max |g64| + absolute

    The absolute part is for probabilities near 1: p (1 - p) has the error of p, 6e-8, however small
    it is. Bounds are some four times what 2,500 scenes of up to 390 pixels showed.
    """

    value: float = 1e-6
    relative: float = 1e-6
    absolute: float = 4e-7


@dataclass(frozen=True)
class Loss:
    """A registered loss.

    oracle: the definition in plain loops; takes what `term` takes (probs or logits), labels, the
        void label and, by name, the options.
    arguments: for each argument of the class a value that changes the loss.
    with_others: (options, argument, value) for arguments that matter with other options alone.
    options: arguments that take another path through the loss than the defaults.
    one_logit_is_two_classes: whether the loss of one logit has a term of class 0 too.
    unweighted: the options with which class weights have no meaning.
    does_not_hold: the properties of the battery that the loss lacks; a test shows that it does.
    tolerance: the largest difference from the oracle, relative to the value.
    gradcheck: arguments with which the loss is smooth enough for finite differences.
    pixel_mean: the options with which a loss that takes pixel weights is a mean over pixels alone.
    on_small_images: arguments with which the loss finds something on the tests' small images, where
        a test says nothing else.
    of_gradient: the arguments that change the gradient, and not the value.
    jumps: tells of logits, target and `use_sigmoid` whether rounding them may carry the loss over a
        threshold at which it jumps; float32 then has another value than float64.
    bound: the largest difference between float32 and float64.
    range_at_ties: (lowest, highest) value of a loss that ranks pixels; the only bound where ranks
        nearly tie.
    configs: {LOSS in the names configs/NETWORK_LOSS_DATA.py: the losses of those configs}.
    mutants: {file of the package: (old text, new text) of each small mistake that the tests of this
        row have to detect}; those of a loss with a file of tests are in tests/mutate.py.
    """

    oracle: Callable[..., float]
    arguments: dict[str, Any]
    with_others: Sequence[tuple[dict, str, Any]] = ()
    options: Sequence[dict] = ()
    one_logit_is_two_classes: bool = False
    unweighted: Sequence[str] = ()
    does_not_hold: Sequence[str] = ()
    tolerance: float = 1e-8
    gradcheck: dict[str, Any] = field(default_factory=dict)
    pixel_mean: dict[str, Any] = field(default_factory=dict)
    on_small_images: dict[str, Any] = field(default_factory=dict)
    of_gradient: Sequence[str] = ()
    jumps: Callable[..., bool] | None = None
    bound: Bound = Bound()
    range_at_ties: tuple[float, float] | None = None
    configs: dict[str, list[str]] = field(default_factory=dict)
    mutants: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def near_the_threshold(logits, target, sigmoid):
    """Whether a change of the prediction is so near a threshold of the active boundary loss that
    float32 may find it on the other side."""
    log_probs = active_boundary.log_probabilities(logits, sigmoid or logits.shape[1] == 1)
    change = active_boundary.prediction_change(log_probs, target.valid.squeeze(1))
    share = LOSSES['ActiveBoundaryLoss'].on_small_images['max_share']
    threshold = active_boundary.boundary_threshold(change, share).view(-1, 1, 1)
    # of sums of up to 400, to 1e-6 of them
    return bool(
        ((change - threshold).abs() < 1e-5 * threshold + 1e-6 * log_probs.abs().max()).any()
    )


def near_a_kink(logits, target, sigmoid):
    """Whether the dual-task loss may have another gradient in float32: a gradient of the prediction
    is near the threshold, a boundary nearly as strong as the label's, or another one nearly the
    strongest."""
    probs = (2 * logits).sigmoid() if sigmoid or logits.shape[1] == 1 else (2 * logits).softmax(1)
    smooth = dual_task.smoothed(probs, target.valid, 4)
    down = (smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]) / 2
    right = (smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]) / 2
    slopes = torch.hypot(down, right).masked_select(target.valid)
    pred, _ = dual_task.boundary_maps(probs, target.valid, 4)
    label, _ = dual_task.boundary_maps_of_regions(target.regions, 4, pred.dtype)
    differences = (pred - label[:, -pred.shape[1] :]).abs().masked_select(target.valid)
    below = 1 - pred.masked_select(target.valid)
    return bool(
        ((slopes - dual_task.THRESHOLD**0.5).abs() < 3e-7).any()
        or ((differences > 0) & (differences < 1e-5)).any()
        or ((below > 1e-12) & (below < 1e-5)).any()
    )


# Another value for the arguments that most losses have.
SHARED = dict(loss_weight=3.0, class_weight=[1.0, 5.0, 2.0], use_sigmoid=True)
# `sc_scale` matters with the splitter 'SC' alone.
SC_SCALE = [(dict(splitter='SC'), 'sc_scale', 'literal')]
OVERLAPS = dict(
    arguments=dict(smooth=5.0, per_class=False, per_image=False, **SHARED),
    options=[dict(smooth=0.1), dict(per_image=False), dict(per_class=False, per_image=False)],
    unweighted=['per_class'],
)

LOSSES = {
    'ActiveBoundaryLoss': Loss(
        naive.active_boundary_loss,
        dict(
            max_share=0.1,
            max_distance=2,
            label_smoothing=0.4,
            detach=False,
            loss_weight=3.0,
            use_sigmoid=True,
        ),
        options=[
            dict(max_share=0.1, max_distance=1.5),
            dict(max_share=1, label_smoothing=0),
            dict(max_share=0.5, detach=False),
        ],
        # A boundary of the label lies on one of its sides, void counts in the share, and the
        # direction across a sharp boundary is one of several.
        does_not_hold=[
            'flips and transposes commute',
            'padding with void changes nothing',
            'the target is not beaten',
        ],
        gradcheck=dict(detach=False),
        # probabilities near 1 times divergences of 10 and more
        bound=Bound(absolute=2.5e-6),
        on_small_images=dict(max_share=0.25),
        of_gradient=['detach'],
        jumps=near_the_threshold,
        configs={'abl': [CE, 'LovaszLoss', 'ActiveBoundaryLoss']},
    ),
    'EPLPointLoss': Loss(
        naive.epl_point_loss,
        dict(kernel_size=5, splitter='B', norm='l1', padding='constant', **SHARED),
        with_others=SC_SCALE,
        options=[
            dict(norm='l1', splitter='B', padding='constant'),
            dict(norm='pixel', kernel_size=3, splitter='C'),
            dict(splitter='SC', sc_scale='literal'),
        ],
        # beyond the image its border is repeated, beyond void is 0
        does_not_hold=['padding with void changes nothing'],
        # squares of energies up to 4
        bound=Bound(value=2e-6, absolute=1e-6),
    ),
    'EPLLineLoss': Loss(
        naive.epl_line_loss,
        dict(
            kernel_size=5,
            splitter='B',
            mu=2,
            edc='squared',
            variant='authors',
            padding='replicate',
            **SHARED,
        ),
        with_others=SC_SCALE,
        options=[
            dict(mu=2, edc='squared', padding='replicate'),
            dict(variant='authors', mu=2),
            dict(kernel_size=3, splitter='C', mu=20),
            dict(kernel_size=11, splitter='SC'),
        ],
        unweighted=['variant'],
        # pixels with equal energies enter the predicted region in reading order
        does_not_hold=['flips and transposes commute'],
        gradcheck=dict(mu=2),
        # The closeness is steep: at mu = 10 the error of an energy counts up to fourfold.
        bound=Bound(value=2e-6, relative=1e-5, absolute=1e-6),
        range_at_ties=(-0.2, 3.001),
    ),
    'EPLLoss': Loss(
        naive.epl_loss,
        dict(
            kernel_size=(5, 7),
            splitter='B',
            mu=2,
            norm='l1',
            edc='squared',
            variant='authors',
            point_weight=0.5,
            line_weight=0.5,
            **SHARED,
        ),
        with_others=SC_SCALE,
        options=[dict(kernel_size=(11, 3), norm='pixel', mu=2)],
        unweighted=['variant'],
        does_not_hold=['padding with void changes nothing', 'flips and transposes commute'],
        gradcheck=dict(mu=2),
        bound=Bound(relative=1e-5),
        range_at_ties=(-0.04, 0.921),  # 0.02 x 16 and 0.2 x 3
        configs={'epl': [CE, 'EPLLoss']},
    ),
    'KervadecBoundaryLoss': Loss(
        naive.kervadec_boundary_loss,
        dict(classes=[0, 2], normalize='diag', **SHARED),
        options=[dict(normalize='diag'), dict(normalize='max')],
        tolerance=1e-5,  # distances are float32
        configs={
            'boundary': [CE, 'KervadecBoundaryLoss'],
            'kervadec': ['GeneralizedDiceLoss', 'KervadecBoundaryLoss'],
        },
    ),
    'DistanceTransformLoss': Loss(
        naive.distance_transform_loss,
        dict(metric='chessboard', class_reduction='sum', per_image=False, **SHARED),
        options=[
            dict(metric='chessboard', per_image=False),
            dict(metric='taxicab', class_reduction='sum'),
        ],
        unweighted=['class_reduction'],
        tolerance=1e-5,  # distances are float32
        configs={'dt': ['DistanceTransformLoss']},
    ),
    'BF1Loss': Loss(
        naive.bf1_loss,
        dict(theta0=5, theta=3, per_image=False, **SHARED),
        options=[dict(theta0=5, theta=1, per_image=False)],
        # the image border is no boundary, void is one
        does_not_hold=['padding with void changes nothing'],
        configs={'bf1': [CE, 'BF1Loss']},
    ),
    'BoundaryDoULoss': Loss(
        naive.boundary_dou_loss,
        dict(max_alpha=0.1, per_image=False, **SHARED),
        options=[dict(max_alpha=0.0), dict(max_alpha=0.3, per_image=False)],
        configs={'bdou': [CE, 'BoundaryDoULoss']},
    ),
    'DualTaskLoss': Loss(
        naive.dual_task_loss,
        dict(tau=1.0, radius=2, gumbel=True, loss_weight=3.0, use_sigmoid=True),
        options=[dict(tau=1, radius=1), dict(radius=2)],
        # both classes have the same boundaries
        one_logit_is_two_classes=True,
        jumps=near_a_kink,
        # rounded gradients of a flat map, divided by PEAK
        bound=Bound(value=1.6e-5, relative=1e-4, absolute=4e-5),
    ),
    'HausdorffDTLoss': Loss(
        naive.hausdorff_dt_loss,
        dict(alpha=1.0, absent=True, one_sided=True, spacing='diagonal', **SHARED),
        options=[
            dict(absent=True, alpha=1.5),
            dict(one_sided=True, spacing='diagonal', alpha=3),
        ],
        bound=Bound(absolute=4e-6),  # times the squares of distances
        configs={'hausdorff': [CE, 'HausdorffDTLoss']},
    ),
    'GeneralizedDiceLoss': Loss(
        naive.generalized_dice_loss,
        dict(per_image=False, absent='max', **SHARED),
        options=[dict(absent='max'), dict(per_image=False), dict(per_image=False, absent='max')],
        one_logit_is_two_classes=True,
        configs={'gdice': [CE, 'GeneralizedDiceLoss']},
    ),
    'SoftDiceLoss': Loss(naive.soft_dice_loss, **OVERLAPS, configs={'dice': [CE, 'SoftDiceLoss']}),
    'JaccardLoss': Loss(naive.jaccard_loss, **OVERLAPS),
    'SoftmaxFocalLoss': Loss(
        naive.softmax_focal_loss,
        dict(gamma=1.0, **SHARED),
        options=[dict(gamma=0), dict(gamma=0.5)],
        configs={'dicefocal': ['SoftDiceLoss', 'SoftmaxFocalLoss']},
    ),
    'BoundaryWeightedCELoss': Loss(
        naive.boundary_weighted_ce_loss,
        dict(radius=1, boundary_weight=0.5, **SHARED),
        options=[dict(radius=1, boundary_weight=5)],
        bound=Bound(value=2e-6),  # the sum of two means
        configs={'bwce': ['BoundaryWeightedCELoss']},
    ),
    'StructureLoss': Loss(
        naive.structure_loss,
        dict(
            window=5,
            gamma=2.0,
            overlap='dice',
            smooth=5.0,
            ce_weight=0.5,
            overlap_weight=0.5,
            **SHARED,
        ),
        options=[
            dict(window=3, overlap='dice'),
            dict(window=5, gamma=0, smooth=0),
            dict(ce_weight=0.0, overlap_weight=2.0),
        ],
        pixel_mean=dict(overlap_weight=0.0),
        bound=Bound(value=2e-6),  # the sum of two means
        configs={'structure': ['StructureLoss']},
    ),
}


# The configs of wrappers, which are no losses of their own: as in the rows.
WRAPPERS = {'scnp': ['NeighbourPenalised']}


def value_and_gradient(loss, logits, labels):
    """The value of a module and its gradient, which has the strides of the logits."""
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return value.detach(), leaf.grad
