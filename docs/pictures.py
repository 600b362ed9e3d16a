"""Draws the figures of docs/ and of the README with the package's own functions.

python docs/pictures.py

Nothing is random: the same versions of torch and matplotlib write the same files. How all figures
look stands in STYLE, LINES and the functions up to `outline`: each map of values has a color bar,
and each line and each class an entry in the legend.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from mmseg_boundary.drawing.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
)
from mmseg_boundary.geometry.boundary import find_boundaries
from mmseg_boundary.geometry.distance import (
    distance_to_boundary,
    distances_between,
    signed_distances,
)
from mmseg_boundary.labels import Target, encode
from mmseg_boundary.losses import (
    active_boundary_loss,
    boundary_dou_loss,
    boundary_weighted_ce_loss,
    distance_transform_loss,
    generalized_dice_loss,
    hausdorff_dt_loss,
    jaccard_loss,
    kervadec_boundary_loss,
    neighbour_penalised,
    soft_dice_loss,
    softmax_focal_loss,
    structure_loss,
)
from mmseg_boundary.losses.active_boundary import (
    NEIGHBORS,
    log_probabilities,
    predicted_boundary,
    prediction_change,
)
from mmseg_boundary.losses.bf1 import inner_boundary, window_max
from mmseg_boundary.losses.boundary_weighted_ce import boundary_band
from mmseg_boundary.losses.distance_transform import nearness_to_boundary
from mmseg_boundary.losses.epl.rays import Rays, ray_sums
from mmseg_boundary.losses.hausdorff import predicted_masks, squared_distances
from mmseg_boundary.losses.semantic_boundary import class_edges
from mmseg_boundary.losses.structure import surroundings_weight
from mmseg_boundary.metrics import boundary_f_score, boundary_iou

HEIGHT, WIDTH = 40, 48

LINES = {
    'true boundary': ('black', 'solid'),
    'predicted boundary': (PURPLE, 'dashed'),
    '$b$': ('black', 'solid'),
    'within 2 px of $b$': (GREEN, 'dotted'),
    '$B$': (GREEN, 'dotted'),
    'band of the second loss': (GREEN, 'dotted'),
}
STREET = {'sky': SKY, 'ground': ORANGE, 'tree': GREEN, 'house': VERMILION}
VALUES = 'Greys'
SIGNED = LinearSegmentedColormap.from_list(
    'signed', ['#004a75', BLUE, 'white', VERMILION, '#8f3f00']
)


def main() -> None:
    """Writes one PNG per page."""
    parser = argparse.ArgumentParser(description='Draw the figures of docs/')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'pictures')
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        'epl': draw_epl,
        'kervadec': draw_kervadec,
        'distance-transform': draw_distance_transform,
        'active-boundary': draw_active_boundary,
        'bf1': draw_bf1,
        'structure': draw_structure,
        'boundary-dou': draw_boundary_dou,
        'hausdorff': draw_hausdorff,
        'generalized-dice': draw_generalized_dice,
        'neighbour-penalised': draw_neighbour_penalised,
        'baselines': draw_baselines,
        'semantic-boundary-head': draw_semantic_boundaries,
        'readme': draw_readme,
    }
    with plt.rc_context(STYLE):
        for name, draw in pages.items():
            figure = draw()
            add_legend(figure)
            save(figure, folder / f'{name}.png')


def object_mask() -> Tensor:
    """(H, W) bool: a disc with a handle, away from the border."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    disc = (rows - 18) ** 2 + (columns - 18) ** 2 <= 108
    handle = (rows >= 16) & (rows < 20) & (columns >= 18) & (columns < 40)
    return disc | handle


def labels() -> Tensor:
    """(1, H, W) int64 in {0, 1}."""
    return object_mask()[None].long()


def predicted_logits() -> Tensor:
    """(1, 2, H, W): the object moved by 3 px down and right, with a soft boundary."""
    moved = object_mask().float().roll((3, 3), (0, 1))[None, None]
    blurred = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode='replicate'), 3, 1)
    logit = torch.logit(blurred * 0.96 + 0.02)
    return torch.cat([-logit / 2, logit / 2], 1)


def panels(count: int, height: float = 3.1) -> tuple[plt.Figure, np.ndarray]:
    """A row of panels without ticks."""
    figure, axes = plt.subplots(1, count, figsize=(10.4, height))
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_anchor('S')
    return figure, axes


def show(axis: plt.Axes, values: Tensor, title: str, **style: object) -> None:
    """A map of values under a title, with its color bar."""
    axis.set_title(title)
    image = axis.imshow(values.detach().numpy(), **{'cmap': VALUES, **style})
    bar = axis.figure.colorbar(image, ax=axis, location='bottom', shrink=0.9, aspect=30, pad=0.03)
    bar.locator = MaxNLocator(5, steps=[1, 2, 5, 10])


def show_classes(axis: plt.Axes, label: Tensor, title: str, colors: dict[str, str]) -> None:
    """A map of classes under a title, with the names and colors of the classes in this order."""
    axis.set_title(title)
    axis.imshow(to_rgba_array(list(colors.values()))[label.numpy()])
    square = dict(marker='s', markersize=8, markeredgecolor='black', markeredgewidth=0.5)
    for name, color in colors.items():
        name_in_legend(axis, name, linestyle='none', color=color, **square)


def outline(axis: plt.Axes, mask: Tensor, name: str, linewidth: float = 1.3) -> None:
    """The line of LINES with this name where a map passes 0.5, visible on any ground."""
    color, linestyle = LINES[name]
    style = dict(colors=color, linestyles=linestyle, linewidths=linewidth)
    halo = withStroke(linewidth=2 * linewidth, foreground='white')
    axis.contour(mask.float(), [0.5], **style).set_path_effects([halo])
    name_in_legend(axis, name, color=color, linestyle=linestyle)


def name_in_legend(axis: plt.Axes, name: str, **style: object) -> None:
    """An entry of the figure's legend, once however many panels have it."""
    axis.add_line(Line2D([], [], label=name, **style))


def add_legend(figure: plt.Figure) -> None:
    """One legend below all panels."""
    handles = {}
    for axis in figure.axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(handles=handles.values(), loc='outside lower center', ncols=len(handles))


def save(figure: plt.Figure, path: Path) -> None:
    """Writes a PNG without matplotlib's version, which would change it with every release, and with
    a fifth of the shades, which makes it smaller."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 5
    Image.fromarray(5 * pixels.round().astype(np.uint8)).save(path, optimize=True)


def draw_boundaries(axis: plt.Axes, label: bool = True, pred: bool = True) -> None:
    """The boundaries of the object."""
    if label:
        outline(axis, object_mask(), 'true boundary')
    if pred:
        outline(axis, predicted_logits().softmax(1)[0, 1], 'predicted boundary')


def around_zero(values: Tensor) -> dict:
    """A style in which 0 is white, orange above and blue below."""
    largest = values.abs().max().item()
    return dict(cmap=SIGNED, vmin=-largest, vmax=largest)


def draw_epl() -> plt.Figure:
    """Label and prediction, their fields in one direction, and the squared difference of these."""
    h = 3
    target = encode(labels(), 2)
    label_field, pred_field = (
        ray_sums(each, Rays(2 * h + 1, 'A', 'constant'))[3, 0, 1]
        for each in (target.masks.float(), predicted_logits().softmax(1))
    )
    figure, axes = panels(4)
    show(axes[0], predicted_logits().softmax(1)[0, 1], 'probability', vmin=0, vmax=1)
    levels = dict(cmap=plt.get_cmap(VALUES, h + 2), vmin=-0.5, vmax=h + 1.5)
    show(axes[1], label_field, '$E$: energy of the label, extended right', **levels)
    show(axes[2], pred_field, r'$\hat{E}$: energy of the prediction', **levels)
    show(axes[3], (label_field - pred_field).square(), r'$(E - \hat{E})^2$, the point loss')
    for axis in axes:
        draw_boundaries(axis)
    return figure


def draw_kervadec() -> plt.Figure:
    """The signed distances of one class, the terms of the loss, and its gradient."""
    target = encode(labels(), 2)
    signed = signed_distances(target.masks, *target.cached(distances_between, 'euclidean'))
    figure, axes = panels(3)
    show(axes[0], signed[0, 1], '$D$, signed distance (px)', **around_zero(signed[0, 1]))
    products = signed[0, 1] * predicted_logits().softmax(1)[0, 1]
    show(axes[1], products, 'probability × $D$', **around_zero(products))
    grad = gradient_of(kervadec_boundary_loss) * HEIGHT * WIDTH
    show(axes[2], grad[0, 1], 'gradient at the logit (× pixels)', **around_zero(grad))
    draw_boundaries(axes[0], pred=False)
    for axis in axes[1:]:
        draw_boundaries(axis)
    return figure


def draw_distance_transform() -> plt.Figure:
    """The weights of the pixels of the class, hits, false pixels, and the gradient of the loss."""
    target = encode(labels(), 1)
    _, inside = target.cached(distances_between, 'euclidean')
    figure, axes = panels(4)
    q = nearness_to_boundary(target.masks, inside)[0, 0].where(object_mask(), torch.nan)
    show(axes[0], q, '$q$: weight in the class', vmin=0, vmax=1)
    probability = predicted_logits().softmax(1)[0, 1]
    show(axes[1], q * probability, 'hits: $q P$', vmin=0, vmax=1)
    false = probability.where(~object_mask(), torch.nan)
    show(axes[2], false, 'false pixels: $P$', vmin=0, vmax=1)
    probs = probability[None, None].clone().requires_grad_()
    distance_transform_loss(probs, target).backward()
    grad = probs.grad[0, 0] * HEIGHT * WIDTH
    show(axes[3], grad, 'gradient at $P$ (× pixels)', **around_zero(grad))
    draw_boundaries(axes[0], pred=False)
    for axis in axes[1:]:
        draw_boundaries(axis)
    return figure


def draw_active_boundary() -> plt.Figure:
    """Where the prediction changes most, where its boundary has to move, and the gradient."""
    target, share = encode(labels(), 2), 0.06
    logits = predicted_logits()
    change = prediction_change(log_probabilities(logits, False), target.valid.squeeze(1))
    boundary = predicted_boundary(change, share)[0]
    figure, axes = panels(3)
    show(axes[0], change[0], '$k$: change of the prediction', vmin=0)
    outline(axes[0], boundary, '$B$')
    distances = distance_to_boundary(target.regions)[0]
    show(axes[1], distances, '$M$: distance to the true boundary (px)', vmin=0)
    draw_directions(axes[1], distances, boundary)
    logits.requires_grad_()
    active_boundary_loss(logits, target, share).backward()
    grad = logits.grad[0, 1] * HEIGHT * WIDTH
    show(axes[2], grad, 'gradient at the logit (× pixels)', **around_zero(grad))
    for axis in axes:
        draw_boundaries(axis)
    return figure


def draw_directions(axis: plt.Axes, distances: Tensor, boundary: Tensor) -> None:
    """Arrows from every third pixel of B to the neighbor that is nearest to the true boundary."""
    padded = F.pad(distances, (1, 1, 1, 1), value=torch.inf)
    steps = torch.tensor([*NEIGHBORS, (0, 0)])
    around = [padded[1 + y : 1 + y + HEIGHT, 1 + x : 1 + x + WIDTH] for y, x in steps.tolist()]
    rows, columns = boundary.nonzero()[::3].T
    down, right = steps[torch.stack(around).argmin(0)[rows, columns]].T
    style = dict(color=VERMILION, angles='xy', scale_units='xy', scale=0.6, width=0.006)
    axis.quiver(columns, rows, right, down, pivot='middle', **style)
    arrow = dict(color=VERMILION, marker=r'$\rightarrow$', linestyle='none', markersize=12)
    name_in_legend(axis, 'direction in $B$', **arrow)


def draw_bf1() -> plt.Figure:
    """Soft boundaries of label and prediction, each with the tolerance of the other."""
    true = inner_boundary(encode(labels(), 2).masks.float(), 3)[0, 1]
    predicted = inner_boundary(predicted_logits().softmax(1), 3)[0, 1]
    near_true, near_predicted = (window_max(each[None], 5)[0] for each in (true, predicted))
    figure, axes = panels(3)
    show(axes[0], true, '$b$: true boundary', vmin=0, vmax=1)
    precision = f'{(predicted * near_true).sum() / predicted.sum():.2f}'
    title = rf'$\hat{{b}}$: predicted boundary, of which $P$ = {precision} are near $b$'
    show(axes[1], predicted, title, vmin=0, vmax=1)
    outline(axes[1], near_true, 'within 2 px of $b$')
    recall = f'{(true * near_predicted).sum() / true.sum():.2f}'
    title = rf'$\hat{{b}}$ widened by 2 px, which has $R$ = {recall} of $b$'
    show(axes[2], near_predicted, title, vmin=0, vmax=1)
    outline(axes[2], true, '$b$', linewidth=0.8)
    return figure


def draw_neighbour_penalised() -> plt.Figure:
    """A logit of the object, in whose handle a pixel's width is missing, the penalized one, and the
    gradient of the cross-entropy of both."""
    target = encode(labels(), 1)
    logit = F.avg_pool2d(8.0 * target.masks - 4, 3, 1, padding=1, count_include_pad=False)
    logit[..., 16:20, 30] = -1.5  # the gap
    logit[..., 6:8, 36:38] = 1.5  # a spot of the object elsewhere
    penalised = neighbour_penalised(logit, target)
    grads = [
        cross_entropy_gradient(logit, target, change)
        for change in (lambda z, target: z, neighbour_penalised)
    ]
    figure, axes = panels(4)
    show(axes[0], logit[0, 0], '$z$: logit of the object', **around_zero(logit))
    show(axes[1], penalised[0, 0], r'$\tilde{z}$: the worst within 1 px', **around_zero(logit))
    show(axes[2], grads[0], 'gradient of CE($z$) (× pixels)', **around_zero(grads[1]))
    show(axes[3], grads[1], r'gradient of CE($\tilde{z}$) (× pixels)', **around_zero(grads[1]))
    for axis in axes:
        draw_boundaries(axis, pred=False)
    return figure


def cross_entropy_gradient(
    logits: Tensor, target: Target, change: Callable[[Tensor, Target], Tensor]
) -> Tensor:
    """(H, W): of the sum over the pixels, at the one logit that was there before its change."""
    leaf = logits.clone().requires_grad_()
    masks = target.masks.float()
    F.binary_cross_entropy_with_logits(change(leaf, target), masks, reduction='sum').backward()
    return leaf.grad[0, 0]


def draw_hausdorff() -> plt.Figure:
    """The distances to both boundaries of one class, the terms of the loss, and its gradient."""
    target, probs = encode(labels(), 2), predicted_logits().softmax(1)
    squares = sum(
        squared_distances(masks, *distances_between(masks))
        for masks in (target.masks, predicted_masks(probs, target.valid, one_vs_rest=False))
    )
    figure, axes = panels(3)
    show(axes[0], squares[0, 1].sqrt(), '$(f_Y^2 + f_Q^2)^{1/2}$ (px)', vmin=0)
    products = ((probs - target.masks.float()).square() * squares)[0, 1]
    show(axes[1], products, '$(P - Y)^2 (f_Y^2 + f_Q^2)$', vmin=0)
    grad = gradient_of(hausdorff_dt_loss) * HEIGHT * WIDTH
    show(axes[2], grad[0, 1], 'gradient at the logit (× pixels)', **around_zero(grad))
    for axis in axes:
        draw_boundaries(axis)
    return figure


def draw_generalized_dice() -> plt.Figure:
    """An object that is predicted off and a small one that is missed: the gradients of Dice and of
    generalized Dice at the logit of the true class."""
    label = labels()
    label[:, 5:8, 38:41] = 2
    logits = torch.cat([predicted_logits(), torch.full((1, 1, HEIGHT, WIDTH), -2.5)], 1)
    figure, axes = panels(3)
    colors = {'background': 'white', 'object': SKY, 'small object': ORANGE}
    show_classes(axes[0], label[0], 'label', colors)
    target = encode(label, 3)
    for axis, loss, title in (
        (axes[1], soft_dice_loss, 'Dice'),
        (axes[2], generalized_dice_loss, 'generalized Dice'),
    ):
        leaf = logits.clone().requires_grad_()
        loss(leaf.softmax(1), target).backward()
        grad = leaf.grad.gather(1, label[None])[0, 0] * HEIGHT * WIDTH
        show(axis, grad, f'gradient of {title} (× pixels)', **around_zero(grad))
    for axis in axes:
        draw_boundaries(axis)
    return figure


def draw_structure() -> plt.Figure:
    """The weights of the pixels, what they make of the cross-entropy, and the gradient."""
    target = encode(labels(), 2)
    logits = predicted_logits().requires_grad_()
    structure_loss(logits, target, window=9).backward()
    w = surroundings_weight(target, 9, 5.0)[0, 0]
    figure, axes = panels(3)
    show(axes[0], w, '$w$: weight of a pixel, window 9', vmin=1)
    costs = w * F.cross_entropy(logits, labels(), reduction='none')[0]
    show(axes[1], costs, '$w$ × cross-entropy', vmin=0)
    grad = logits.grad[0, 1] * HEIGHT * WIDTH
    show(axes[2], grad, 'gradient at the logit (× pixels)', **around_zero(grad))
    draw_boundaries(axes[0], pred=False)
    for axis in axes[1:]:
        draw_boundaries(axis)
    return figure


def draw_boundary_dou() -> plt.Figure:
    """The boundary pixels of the class, the terms of the union, and the gradient."""
    target = encode(labels(), 1)
    mask = target.masks[0, 0]
    boundary = mask & find_boundaries(mask)
    area, on_it = mask.sum().item(), boundary.sum().item()
    alpha = 1 - 2 * on_it / area
    figure, axes = panels(4)
    title = f'$S$ = {area}, $C$ = {on_it}: $\\alpha$ = {alpha:.2f}'
    colors = {'outside': 'white', 'inside': SKY, 'on the boundary': BLUE}
    show_classes(axes[0], mask.long() + boundary, title, colors)
    probability = predicted_logits().softmax(1)[0, 1]
    errors = (probability - mask.float()).square()
    show(axes[1], errors, 'not shared: $(P - Y)^2$', vmin=0, vmax=1)
    shared = (1 - alpha) * mask * probability
    show(axes[2], shared, 'shared, and counted: $(1 - \\alpha) Y P$', vmin=0, vmax=1)
    probs = probability[None, None].clone().requires_grad_()
    boundary_dou_loss(probs, target).backward()
    grad = probs.grad[0, 0] * HEIGHT * WIDTH
    show(axes[3], grad, 'gradient at $P$ (× pixels)', **around_zero(grad))
    for axis in axes[1:]:
        draw_boundaries(axis)
    return figure


def draw_baselines() -> plt.Figure:
    """The gradient of the baselines at the logit of the object, on one scene."""
    target = encode(labels(), 2)
    costs = {
        'cross-entropy': lambda x: boundary_weighted_ce_loss(x, target, boundary_weight=0),
        'boundary-weighted': lambda x: boundary_weighted_ce_loss(x, target),
        'focal': lambda x: softmax_focal_loss(x, target),
        'Dice': lambda x: soft_dice_loss(x.softmax(1), target),
        'Jaccard': lambda x: jaccard_loss(x.softmax(1), target),
    }
    figure, axes = panels(5, height=2.6)
    for axis, (title, cost) in zip(axes, costs.items(), strict=True):
        logits = predicted_logits().requires_grad_()
        cost(logits).backward()
        grad = logits.grad[0, 1] * HEIGHT * WIDTH
        show(axis, grad, f'gradient: {title}', **around_zero(grad))
        draw_boundaries(axis)
    outline(axes[1], boundary_band(target, 3)[0, 0], 'band of the second loss')
    return figure


def street(rows: Tensor, columns: Tensor) -> Tensor:
    """Labels at these coordinates: sky (0), ground (1), a tree (2) and a house (3)."""
    label = torch.zeros(rows.shape, dtype=torch.long)
    label[rows >= 100 + 4 * torch.sin(columns / 30)] = 1
    label[(columns >= 48) & (columns < 58) & (rows >= 60) & (rows < 116)] = 2
    label[(rows - 52) ** 2 + (columns - 53) ** 2 <= 30**2] = 2
    label[(rows >= 78) & (rows < 124) & (columns >= 120) & (columns < 204)] = 3
    label[(rows >= 58) & (rows < 78) & ((columns - 160).abs() <= rows - 38)] = 3
    return label


def draw_semantic_boundaries() -> plt.Figure:
    """Labels with a void patch, the edges of two classes, and how many classes have one."""
    rows, columns = torch.meshgrid(torch.arange(30, 130), torch.arange(20, 145), indexing='ij')
    label = street(rows, columns)
    label[(rows - 95) ** 2 + (columns - 120) ** 2 <= 9**2] = 255
    edges = class_edges(encode(label[None], 4), radius=2)[0]
    figure, axes = panels(4, height=3)
    show_classes(axes[0], label.where(label != 255, 4), 'labels', {**STREET, 'void': 'black'})
    for axis, k, name in ((axes[1], 2, 'tree'), (axes[2], 3, 'house')):
        colors = {'no edge': 'white', 'edge': BLUE}
        show_classes(axis, edges[k].long(), f'edges of the {name}', colors)
    levels = dict(cmap=plt.get_cmap(VALUES, 4), vmin=-0.5, vmax=3.5)
    show(axes[3], edges.sum(0), 'classes with an edge', **levels)
    return figure


def alike() -> tuple[Tensor, dict[str, Tensor]]:
    """(160, 240) labels, and two predictions with nearly the same mIoU."""
    rows, columns = torch.meshgrid(torch.arange(160), torch.arange(240), indexing='ij')
    label = street(rows, columns)
    holes = label.clone()
    holes[(rows - 98) ** 2 + (columns - 150) ** 2 <= 15**2] = 1
    holes[(rows - 50) ** 2 + (columns - 53) ** 2 <= 12**2] = 0
    down = torch.sin(columns / 6) + torch.sin(rows / 5 + 1)
    right = torch.sin(rows / 6 + 2) + torch.cos(columns / 7)
    return label, {
        'two patches missed': holes,
        'ragged boundaries': street(rows + 3 * down, columns + 3 * right),
    }


def scores_of(pred: Tensor, label: Tensor) -> tuple[float, float]:
    """mIoU and boundary F at 3 px, in percent. Boundary IoU in a band over the image is IoU."""
    found = boundary_iou(pred, label, 4, widths=label.shape[1:])
    boundaries = boundary_f_score(pred, label, 4, tolerances=(3,))
    return 100 * found.mean.item(), 100 * boundaries.mean.item()


def draw_readme() -> plt.Figure:
    """A label and two predictions that boundary metrics tell apart and mIoU does not."""
    label, preds = alike()
    figure, axes = panels(3, height=2.9)
    for axis, (name, shown) in zip(axes, {'label': label, **preds}.items(), strict=True):
        title = name
        if name != 'label':
            miou, f = scores_of(shown, label)
            title += f': mIoU {miou:.1f}, boundary F {f:.1f}'
        show_classes(axis, shown, title, STREET)
        for k in range(4):
            outline(axis, label == k, 'true boundary', linewidth=0.7)
    return figure


def gradient_of(loss: Callable[[Tensor, Target], Tensor]) -> Tensor:
    """(1, 2, H, W): the gradient of a loss of the scene's probabilities at the logits."""
    logits = predicted_logits().requires_grad_()
    loss(logits.softmax(1), encode(labels(), 2)).backward()
    return logits.grad


if __name__ == '__main__':
    main()
