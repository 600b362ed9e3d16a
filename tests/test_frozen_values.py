"""Losses, their gradients and metrics have the values of before the package was restructured.

frozen_values.json holds float64 values of the pure functions and modules of commit 4f5a8e9. This
file needs no other file of tests, so that it runs in a clone of that commit too, where it wrote

    PYTHONPATH=CLONE python tests/test_frozen_values.py    writes frozen_values.json

Scenes are made by integer formulas, without a random generator. A gradient is kept as its
Euclidean norm and its products with four fixed directions. One thing differs on purpose and has no
scene here: a level of which the label has no pixel in the batch adds 0 to the line loss with
variant='authors', where that commit fell to -1e16 (see CHANGELOG).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from mmseg_boundary import losses, metrics
from mmseg_boundary.labels import encode

FILE = Path(__file__).with_name('frozen_values.json')
HEIGHT, WIDTH = 14, 17
TOLERANCE = 1e-12
DIRECTIONS = 4


@dataclass
class Scene:
    """Two images; logits (2, K, H, W) float64 and labels (2, H, W)."""

    logits: torch.Tensor
    labels: torch.Tensor
    sigmoid: bool = False
    void: int = 255

    @property
    def target(self):
        return encode(self.labels, self.logits.shape[1], self.void)

    @property
    def probs(self):
        return self.logits.sigmoid() if self.sigmoid else self.logits.softmax(1)


def numbers(count, seed):
    """Pseudo-random multiples of 2^-13 from -4 to 4: x <- 75 x + 74 mod 65537."""
    state, found = seed, []
    for _ in range(count):
        state = (75 * state + 74) % 65537
        found.append(state / 8192 - 4)
    return torch.tensor(found, dtype=torch.float64)


def drawn(label_at):
    """(2, H, W) labels; `label_at(image, row, column)` gives each."""
    rows, columns = range(HEIGHT), range(WIDTH)
    return torch.tensor([[[label_at(n, y, x) for x in columns] for y in rows] for n in range(2)])


def logits_for(labels, num_logits, seed):
    """Pseudo-random logits, raised where the labels, a pixel off, have the class."""
    logits = numbers(labels.numel() * num_logits, seed).view(2, num_logits, HEIGHT, WIDTH)
    classes = torch.arange(max(num_logits, 2))[-num_logits:].view(-1, 1, 1)
    return logits + 2 * (labels.roll(1, 2).unsqueeze(1) == classes)


def disks(n, y, x):
    """Disks of class 1 and 2 in class 0, cut by the border."""
    if (y - 5 - n) ** 2 + (x - 5) ** 2 <= 14:
        return 1
    return 2 if (y - 9) ** 2 + (x - 13 - n) ** 2 <= 22 else 0


def lines(n, y, x):
    """Lines and points of one pixel, two that touch, and a hole of one."""
    if n == 0:
        return 1 if y == 4 or x in (8, 9) else 2 if y == x else 0
    return (
        0 if (y, x) == (7, 7) else 1 if 3 < y < 11 and 3 < x < 11 else 2 if y * x % 13 == 1 else 0
    )


def bordered(n, y, x):
    """The disks with void along their boundaries, a stripe of void, and some void pixels."""
    near = {disks(n, v, u) for v in (y - 1, y, y + 1) for u in (x - 1, x, x + 1)}
    return 255 if len(near) > 1 or y == 12 or (3 * y + 5 * x) % 17 == n else disks(n, y, x)


def bordered_pair(n, y, x):
    """The same, of two classes."""
    label = bordered(n, y, x)
    return label if label == 255 else int(label > 0)


def absent(n, y, x):
    """Class 3 and 1 of five in the first image, 3 alone in the second."""
    return 1 if n == 0 and x > 6 + y % 3 else 3


def half_void(n, y, x):
    """Nothing is valid in the second image; void has the number of a class."""
    return 1 if n == 1 or y < 3 else 2 * (x > 7)


def scenes():
    found = {}
    for seed, (name, label_at, num_logits, options) in enumerate(
        (
            ('softmax', disks, 3, {}),
            ('sigmoid', disks, 3, dict(sigmoid=True)),
            ('one logit', lambda *at: disks(*at) // 2, 1, dict(sigmoid=True)),
            ('void', bordered, 3, {}),
            ('void, one logit', bordered_pair, 1, dict(sigmoid=True)),
            ('absent classes', absent, 5, {}),
            ('a void image', half_void, 3, dict(void=1)),
            ('thin shapes', lines, 3, {}),
        )
    ):
        labels = drawn(label_at)
        found[name] = Scene(logits_for(labels, num_logits, 1009 + seed), labels, **options)
    return found


CLASS_WEIGHT, PIXEL_WEIGHT = 'class_weight', 'pixel_weight'  # made for each scene
AUTHORS = dict(variant='authors')
# {pure function: options, each tried in every scene}
FUNCTIONS = {
    'bf1_loss': [{}, dict(theta0=5, theta=3), dict(per_image=False), {CLASS_WEIGHT: True}],
    'boundary_weighted_ce_loss': [
        {},
        dict(radius=1, boundary_weight=2.5),
        {CLASS_WEIGHT: True, PIXEL_WEIGHT: True},
    ],
    'distance_transform_loss': [
        {},
        dict(metric='chessboard', per_image=False),
        dict(metric='taxicab', class_reduction='sum'),
        {CLASS_WEIGHT: True},
    ],
    'epl_line_loss': [
        {},
        dict(mu=2),
        dict(kernel_size=5, splitter='B', edc='squared'),
        dict(kernel_size=11, splitter='C', padding='replicate'),
        dict(splitter='SC', mu=4),
        dict(splitter='SC', sc_scale='literal'),
        {CLASS_WEIGHT: True},
        AUTHORS,
        dict(AUTHORS, mu=2, kernel_size=5),
    ],
    'epl_point_loss': [
        {},
        dict(norm='l1', padding='constant'),
        dict(norm='pixel', kernel_size=3),
        dict(kernel_size=13, splitter='B'),
        dict(kernel_size=5, splitter='C'),
        dict(splitter='SC'),
        dict(splitter='SC', sc_scale='literal', kernel_size=9),
        {CLASS_WEIGHT: True, PIXEL_WEIGHT: True},
    ],
    'jaccard_loss': [
        {},
        dict(smooth=0.5, per_image=False),
        dict(per_class=False),
        dict(per_class=False, per_image=False),
        {CLASS_WEIGHT: True},
    ],
    'kervadec_boundary_loss': [
        {},
        dict(normalize='diag'),
        dict(normalize='max'),
        dict(classes=[1]),
        {CLASS_WEIGHT: True, PIXEL_WEIGHT: True},
    ],
    'softmax_focal_loss': [{}, dict(gamma=0.5), {CLASS_WEIGHT: True, PIXEL_WEIGHT: True}],
}
FUNCTIONS['soft_dice_loss'] = FUNCTIONS['jaccard_loss']
# These take logits and the argument `one_vs_rest`; the others take probabilities.
TAKE_LOGITS = {'boundary_weighted_ce_loss', 'softmax_focal_loss'}
# {module: options}
MODULES = {
    'BF1Loss': [{}],
    'BoundaryWeightedCELoss': [{}],
    'DistanceTransformLoss': [{}],
    'EPLLineLoss': [{}, AUTHORS],
    'EPLLoss': [{}, dict(kernel_size=(5, 7), mu=2, norm='l1', point_weight=0.1, line_weight=1.0)],
    'EPLPointLoss': [{}],
    'JaccardLoss': [{}],
    'KervadecBoundaryLoss': [{}],
    'SoftDiceLoss': [{}],
    'SoftmaxFocalLoss': [{}],
}
WIDTHS, TOLERANCES = (1, 2, 3, 5), (0.5, 1, 2, 4.5)


def kept(value, leaf):
    """The value, the norm of its gradient, and the gradient's products with the directions."""
    (grad,) = torch.autograd.grad(value, leaf)
    along = numbers(DIRECTIONS * grad.numel(), 7).view(DIRECTIONS, -1) @ grad.flatten()
    return [value.item(), grad.norm().item(), *along.tolist()]


def of_function(name, scene, options):
    num_logits = scene.logits.shape[1]
    options = dict(options)
    if options.pop(CLASS_WEIGHT, False):
        options[CLASS_WEIGHT] = [1.5, 0.25, 2.0, 0.0, 1.0][:num_logits]
    if options.pop(PIXEL_WEIGHT, False):
        options[PIXEL_WEIGHT] = numbers(scene.labels.numel(), 3).view(scene.labels.shape) + 4
    if name in TAKE_LOGITS:
        options['one_vs_rest'] = scene.sigmoid
    given = scene.logits if name in TAKE_LOGITS else scene.probs
    leaf = given.detach().requires_grad_()
    return kept(getattr(losses, name)(leaf, scene.target, **options), leaf)


def of_module(name, scene, options):
    loss = getattr(losses, name)(use_sigmoid=scene.sigmoid, loss_weight=1.5, **options)
    leaf = scene.logits.detach().requires_grad_()
    return kept(loss(leaf, scene.labels, ignore_index=scene.void), leaf)


def loss_values():
    for title, scene in scenes().items():
        for table, measure in ((FUNCTIONS, of_function), (MODULES, of_module)):
            for name, choices in table.items():
                for options in choices:
                    said = ', '.join(f'{key}={value}' for key, value in options.items())
                    yield f'{name}({said}) of {title}', measure(name, scene, options)


def metric_values():
    """(case, list of numbers); NaN where a class is nowhere."""
    for title, scene in scenes().items():
        classes = max(scene.logits.shape[1], 2)
        preds = scene.logits.argmax(1) if classes > 2 else (scene.logits[:, 0] > 0).long()
        void, fs = scene.void, []
        for n, (pred, label) in enumerate(zip(preds, scene.labels)):
            of = f'of {title}, image {n}'
            for name, counts in {
                'count_boundary_iou': metrics.count_boundary_iou(
                    pred, label, classes, WIDTHS, void
                ),
                'count_trimap_iou': metrics.count_trimap_iou(pred, label, classes, WIDTHS, void),
                'count_trimap_iou, void bounds': metrics.count_trimap_iou(
                    pred, label, classes, WIDTHS, void, True
                ),
            }.items():
                yield f'{name} {of}', counts.flatten().tolist()
                yield f'iou of {name} {of}', metrics.iou(counts).flatten().tolist()
            errors = metrics.count_contour_errors(pred, label, void, 2)
            yield f'count_contour_errors {of}', errors.tolist()
            yield f'share_near_contour {of}', [metrics.share_near_contour(errors)]
            fs.append(metrics.boundary_f(pred, label, classes, TOLERANCES, void))
            yield f'boundary_f {of}', fs[-1].flatten().tolist()
            csurka = metrics.boundary_f(pred, label, classes, TOLERANCES, void, 'csurka')
            yield f'boundary_f, csurka {of}', csurka.flatten().tolist()
        for mode in ('present', 'gscnn', 'csurka'):
            per_class, mean = metrics.score_boundary_f(torch.stack(fs), mode)
            values = [*per_class.flatten().tolist(), *mean.tolist()]
            yield f'score_boundary_f, {mode} of {title}', values


def current_values():
    return {**dict(loss_values()), **dict(metric_values())}


def other_than(now, then, size):
    """Whether the numbers differ by more than 1e-12 of `size`."""
    if math.isnan(then) or math.isnan(now):
        return math.isnan(then) != math.isnan(now)
    return abs(now - then) > TOLERANCE * size


def is_other(case, now, then):
    """A product is a sum of parts as large as the gradient, which may cancel."""
    sizes = [abs(value) for value in then]
    if function_of(case) in {*FUNCTIONS, *MODULES}:
        sizes[2:] = [max(size, then[1]) for size in sizes[2:]]
    return len(now) != len(then) or any(map(other_than, now, then, sizes))


def function_of(case):
    return case.split('(')[0]


def test_values_are_the_frozen_ones():
    then, now = json.loads(FILE.read_text()), current_values()
    assert set(now) == set(then)
    assert not {
        case: (now[case], then[case]) for case in then if is_other(case, now[case], then[case])
    }


def test_every_loss_of_that_commit_has_values():
    """Later losses have none."""
    then = json.loads(FILE.read_text())
    assert {function_of(case) for case in then} >= {*FUNCTIONS, *MODULES}
    assert {*FUNCTIONS, *MODULES} <= set(losses.__all__) and len(FUNCTIONS) == 9


def test_a_change_is_detected():
    """In the last digits of a value, of a norm and of a product of the gradient."""
    case, then = next(iter(json.loads(FILE.read_text()).items()))
    assert not is_other(case, then, then)
    for place, size in ((0, then[0]), (1, then[1]), (5, then[1])):
        now = list(then)
        now[place] += 3e-12 * size
        assert is_other(case, now, then)


def record():
    """Writes the file; to be run at the commit named above and no other."""
    FILE.write_text(
        '{\n'
        + ',\n'.join(f'{json.dumps(k)}: {json.dumps(v)}' for k, v in current_values().items())
        + '\n}\n'
    )


if __name__ == '__main__':
    record()
