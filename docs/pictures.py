"""Draws the figures of docs/ and of the README with the package's own functions.

python docs/pictures.py

Nothing is random: the same versions of torch and matplotlib write the same files.
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
from matplotlib.colors import ListedColormap
from torch import Tensor

from mmseg_boundary.geometry.boundary import find_boundaries
from mmseg_boundary.geometry.distance import distances_between, signed_distances
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
    distance_to_boundary,
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
LABEL, PRED = '#0072b2', '#d55e00'  # of Okabe and Ito's palette


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
    for name, draw in pages.items():
        figure = draw()
        # No version in the file: it would change with every release.
        figure.savefig(folder / f'{name}.png', dpi=96, metadata={'Software': None})
        plt.close(figure)


def object_mask() -> Tensor:
    """(H, W) bool: a disc with a handle, away from the border."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    disc = (rows - 18) ** 2 + (columns - 18) ** 2 <= 10**2
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


def panels(count: int, height: float = 2.7) -> tuple[plt.Figure, np.ndarray]:
    """A row of panels without ticks."""
    size = (10.4, height)
    figure, axes = plt.subplots(1, count, figsize=size, layout='constrained')
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def show(axis: plt.Axes, values: Tensor, title: str, **style: object) -> object:
    """One map in colors under a title."""
    axis.set_title(title, fontsize=9)
    return axis.imshow(values.detach().numpy(), interpolation='nearest', **style)


def draw_boundaries(axis: plt.Axes, label: bool = True, pred: bool = True) -> None:
    """The two boundaries of the object: blue in the label, orange and dashed in the prediction."""
    if label:
        axis.contour(object_mask().float(), [0.5], colors=LABEL, linewidths=1.4)
    if pred:
        probability = predicted_logits().softmax(1)[0, 1]
        axis.contour(probability, [0.5], colors=PRED, linewidths=1.4, linestyles='dashed')


def around_zero(values: Tensor) -> dict:
    """A style in which 0 is white, red above and blue below."""
    largest = values.abs().max().item()
    return dict(cmap='RdBu_r', vmin=-largest, vmax=largest)


def draw_epl() -> plt.Figure:
    """Label and prediction, their fields in one direction, and the squared difference of these."""
    h = 3
    target = encode(labels(), 2)
    label_field, pred_field = (
        ray_sums(each, Rays(2 * h + 1, 'A', 'constant'))[3, 0, 1]
        for each in (target.masks.float(), predicted_logits().softmax(1))
    )
    figure, axes = panels(4)
    show(axes[0], predicted_logits().softmax(1)[0, 1], 'probability', cmap='Greys', vmax=1.6)
    draw_boundaries(axes[0])
    shades = ListedColormap(plt.get_cmap('viridis')(np.linspace(0, 1, h + 2)))
    for axis, field, title in (
        (axes[1], label_field, 'E: label'),
        (axes[2], pred_field, 'Ê: prediction'),
    ):
        energies = show(axis, field, f'{title}, extended right', cmap=shades, vmin=-0.5, vmax=4.5)
    figure.colorbar(energies, ax=axes[2], ticks=range(h + 2), shrink=0.75, label='energy')
    squares = (label_field - pred_field).square()
    difference = show(axes[3], squares, '(E - Ê)², the point loss', cmap='magma_r')
    figure.colorbar(difference, ax=axes[3], shrink=0.75)
    return figure


def draw_kervadec() -> plt.Figure:
    """The signed distances of one class, the terms of the loss, and its gradient."""
    target = encode(labels(), 2)
    signed = signed_distances(target.masks, *target.cached(distances_between, 'euclidean'))
    figure, axes = panels(3)
    distances = show(axes[0], signed[0, 1], 'D, signed distance (px)', **around_zero(signed[0, 1]))
    draw_boundaries(axes[0], pred=False)
    products = signed[0, 1] * predicted_logits().softmax(1)[0, 1]
    terms = show(axes[1], products, 'probability x D', **around_zero(products))
    draw_boundaries(axes[1])
    grad = gradient_of(kervadec_boundary_loss) * HEIGHT * WIDTH
    shown = show(axes[2], grad[0, 1], 'gradient at the logit (x pixels)', **around_zero(grad))
    draw_boundaries(axes[2])
    for drawn, axis in zip((distances, terms, shown), axes, strict=True):
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    return figure


def draw_distance_transform() -> plt.Figure:
    """The weights of the pixels of the class, the terms of the loss, and its gradient."""
    target = encode(labels(), 1)
    _, inside = target.cached(distances_between, 'euclidean')
    figure, axes = panels(3)
    q = nearness_to_boundary(target.masks, inside)[0, 0]
    inside_q = q.where(object_mask(), torch.nan)
    weights = show(axes[0], inside_q, 'q: weight in the class', cmap='viridis')
    draw_boundaries(axes[0], pred=False)
    probability = predicted_logits().softmax(1)[0, 1]
    counted = torch.where(object_mask(), -q, 1.0) * probability
    terms = show(axes[1], counted, 'blue: hits, q p;  red: false, p', **around_zero(counted))
    draw_boundaries(axes[1])
    probs = probability[None, None].clone().requires_grad_()
    distance_transform_loss(probs, target).backward()
    grad = probs.grad[0, 0] * HEIGHT * WIDTH
    shown = show(axes[2], grad, 'gradient at p (x pixels)', **around_zero(grad))
    draw_boundaries(axes[2])
    for drawn, axis in zip((weights, terms, shown), axes, strict=True):
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    return figure


def draw_active_boundary() -> plt.Figure:
    """Where the prediction changes most, where its boundary has to move, and the gradient."""
    target, share = encode(labels(), 2), 0.06
    logits = predicted_logits()
    change = prediction_change(log_probabilities(logits, False), target.valid.squeeze(1))
    boundary = predicted_boundary(change, share)[0]
    figure, axes = panels(3)
    shown = show(axes[0], change[0], 'k, and B (dotted)', cmap='Greys')
    axes[0].contour(boundary.float(), [0.5], colors='black', linewidths=0.7, linestyles='dotted')
    figure.colorbar(shown, ax=axes[0], shrink=0.8)
    distances = distance_to_boundary(target.regions)[0]
    levels = plt.get_cmap('viridis', 6)
    shown = show(axes[1], distances, 'M (px), and directions in B', cmap=levels, vmin=0, vmax=24)
    figure.colorbar(shown, ax=axes[1], shrink=0.8)
    draw_directions(axes[1], distances, boundary)
    logits.requires_grad_()
    active_boundary_loss(logits, target, share).backward()
    grad = logits.grad[0, 1] * HEIGHT * WIDTH
    shown = show(axes[2], grad, 'gradient at the logit (x pixels)', **around_zero(grad))
    figure.colorbar(shown, ax=axes[2], shrink=0.8)
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
    style = dict(color='white', angles='xy', scale_units='xy', scale=1.1, width=0.004)
    axis.quiver(columns, rows, right, down, pivot='middle', **style)


def draw_bf1() -> plt.Figure:
    """Soft boundaries of label and prediction, each with the tolerance of the other."""
    true = inner_boundary(encode(labels(), 2).masks.float(), 3)[0, 1]
    predicted = inner_boundary(predicted_logits().softmax(1), 3)[0, 1]
    reach = window_max(true[None], 5)[0] > 0, window_max(predicted[None], 5)[0]
    figure, axes = panels(3)
    show(axes[0], true, 'b: true boundary', cmap='Greys', vmax=1.3)
    draw_boundaries(axes[0], pred=False)
    share = f'{(predicted * reach[0]).sum() / predicted.sum():.2f}'
    show(axes[1], overlay(predicted, reach[0]), f'P = {share}: b̂, and green where b reaches')
    draw_boundaries(axes[1], pred=False)
    share = f'{(true * reach[1]).sum() / true.sum():.2f}'
    show(axes[2], overlay(true, reach[1]), f'R = {share}: b, and green where b̂ reaches')
    draw_boundaries(axes[2], label=False)
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
    shown = [
        show(axes[0], logit[0, 0], 'z: logit of the object', **around_zero(logit)),
        show(axes[1], penalised[0, 0], 'z̃: the worst within 1 px', **around_zero(logit)),
        show(axes[2], grads[0], 'gradient of CE(z) (x pixels)', **around_zero(grads[1])),
        show(axes[3], grads[1], 'gradient of CE(z̃) (x pixels)', **around_zero(grads[1])),
    ]
    for axis in axes:
        draw_boundaries(axis, pred=False)
    for index in (1, 3):
        figure.colorbar(shown[index], ax=axes[index], shrink=0.75)
    return figure


def cross_entropy_gradient(
    logits: Tensor, target: Target, change: Callable[[Tensor, Target], Tensor]
) -> Tensor:
    """(H, W): of the sum over the pixels, at the one logit that was there before its change."""
    leaf = logits.clone().requires_grad_()
    masks = target.masks.float()
    F.binary_cross_entropy_with_logits(change(leaf, target), masks, reduction='sum').backward()
    return leaf.grad[0, 0]


def overlay(boundary: Tensor, reach: Tensor) -> Tensor:
    """(H, W, 3) in [0, 1]: the boundary dark, where the other one reaches green."""
    green = torch.tensor([0.0, 0.62, 0.45])
    ground = 1 - 0.45 * reach.float()[..., None] * (1 - green)
    return ground * (1 - 0.85 * boundary[..., None])


def draw_hausdorff() -> plt.Figure:
    """The distances to both boundaries of one class, the terms of the loss, and its gradient."""
    target, probs = encode(labels(), 2), predicted_logits().softmax(1)
    squares = sum(
        squared_distances(masks, *distances_between(masks))
        for masks in (target.masks, predicted_masks(probs, target.valid, one_vs_rest=False))
    )
    figure, axes = panels(3)
    distances = show(axes[0], squares[0, 1].sqrt(), 'root of f_Y² + f_Q² (px)', cmap='viridis')
    products = ((probs - target.masks.float()).square() * squares)[0, 1]
    terms = show(axes[1], products, '(P - Y)² (f_Y² + f_Q²)', cmap='magma_r')
    grad = gradient_of(hausdorff_dt_loss) * HEIGHT * WIDTH
    shown = show(axes[2], grad[0, 1], 'gradient at the logit (x pixels)', **around_zero(grad))
    for drawn, axis in zip((distances, terms, shown), axes, strict=True):
        draw_boundaries(axis)
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    return figure


def draw_generalized_dice() -> plt.Figure:
    """An object that is predicted off and a small one that is missed: the gradients of Dice and of
    generalized Dice at the logit of the true class."""
    label = labels()
    label[:, 5:8, 38:41] = 2
    logits = torch.cat([predicted_logits(), torch.full((1, 1, HEIGHT, WIDTH), -2.5)], 1)
    figure, axes = panels(3)
    show(axes[0], label[0], 'label', cmap=ListedColormap(['white', '#bcd7ee', '#d98c5f']))
    target = encode(label, 3)
    for axis, loss, title in (
        (axes[1], soft_dice_loss, 'Dice'),
        (axes[2], generalized_dice_loss, 'generalized Dice'),
    ):
        leaf = logits.clone().requires_grad_()
        loss(leaf.softmax(1), target).backward()
        grad = leaf.grad.gather(1, label[None])[0, 0] * HEIGHT * WIDTH
        shown = show(axis, grad, f'gradient (x pixels): {title}', **around_zero(grad))
        figure.colorbar(shown, ax=axis, shrink=0.8)
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
    weights = show(axes[0], w, 'w: weight of a pixel, window 9', cmap='viridis')
    draw_boundaries(axes[0], pred=False)
    costs = w * F.cross_entropy(logits, labels(), reduction='none')[0]
    terms = show(axes[1], costs, 'w x cross-entropy', cmap='magma_r')
    draw_boundaries(axes[1])
    grad = logits.grad[0, 1] * HEIGHT * WIDTH
    shown = show(axes[2], grad, 'gradient at the logit (x pixels)', **around_zero(grad))
    draw_boundaries(axes[2])
    for drawn, axis in zip((weights, terms, shown), axes, strict=True):
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    return figure


def draw_boundary_dou() -> plt.Figure:
    """The boundary pixels of the class, the terms of the union, and the gradient."""
    target = encode(labels(), 1)
    mask = target.masks[0, 0]
    boundary = mask & find_boundaries(mask)
    area, on_it = mask.sum().item(), boundary.sum().item()
    alpha = 1 - 2 * on_it / area
    figure, axes = panels(3)
    title = f'S = {area}, C = {on_it} (dark): α = {alpha:.2f}'
    show(axes[0], 0.3 * mask + 0.6 * boundary, title, cmap='Greys', vmin=0, vmax=1)
    probability = predicted_logits().softmax(1)[0, 1]
    counted = torch.where(mask, -(1 - alpha) * probability, 0) + (probability - mask.float()) ** 2
    terms = show(axes[1], counted, 'red: (p - y)²;  blue: (1 - α) y p', **around_zero(counted))
    draw_boundaries(axes[1])
    probs = probability[None, None].clone().requires_grad_()
    boundary_dou_loss(probs, target).backward()
    grad = probs.grad[0, 0] * HEIGHT * WIDTH
    shown = show(axes[2], grad, 'gradient at p (x pixels)', **around_zero(grad))
    draw_boundaries(axes[2])
    for drawn, axis, ticks in ((terms, axes[1], (-0.5, 0, 0.5)), (shown, axes[2], (-5, 0, 5))):
        figure.colorbar(drawn, ax=axis, ticks=ticks, shrink=0.8)
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
    figure, axes = panels(5, height=2.3)
    for axis, (title, cost) in zip(axes, costs.items(), strict=True):
        logits = predicted_logits().requires_grad_()
        cost(logits).backward()
        grad = logits.grad[0, 1] * HEIGHT * WIDTH
        largest = f'{grad.abs().max():.2g}'
        show(axis, grad, f'{title}\nlargest {largest}', **around_zero(grad))
        draw_boundaries(axis)
    band = boundary_band(target, 3)[0, 0].float()
    axes[1].contour(band, [0.5], colors='black', linewidths=0.6, linestyles='dotted')
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
    colors = ListedColormap(['#cfe8f7', '#b9b2a3', '#4f8f5b', '#d98c5f', 'white'])
    figure, axes = panels(4, height=2.5)
    show(axes[0], label.where(label != 255, 4), 'labels (white: void)', cmap=colors)
    for axis, k, name in ((axes[1], 2, 'tree'), (axes[2], 3, 'house')):
        show(axis, edges[k].float(), f'edges of the {name}', cmap='Greys')
    shades = ListedColormap(plt.get_cmap('magma_r')([0.0, 0.25, 0.5, 0.95]))
    counts = show(axes[3], edges.sum(0), 'classes with an edge', cmap=shades, vmin=-0.5, vmax=3.5)
    figure.colorbar(counts, ax=axes[3], ticks=range(4), shrink=0.75)
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
    colors = ListedColormap(['#bcd7ee', '#c9bca2', '#4f9d69', '#d98c5f'])
    figure, axes = panels(3, height=2.9)
    for axis, (name, shown) in zip(axes, {'label': label, **preds}.items(), strict=True):
        title = f'{name}\n'
        if name != 'label':
            miou, f = scores_of(shown, label)
            title += f'mIoU {miou:.1f}, boundary F {f:.1f}'
        show(axis, shown, title, cmap=colors)
        for k in range(4):
            axis.contour(label == k, [0.5], colors='black', linewidths=0.5)
    return figure


def gradient_of(loss: Callable[[Tensor, Target], Tensor]) -> Tensor:
    """(1, 2, H, W): the gradient of a loss of the scene's probabilities at the logits."""
    logits = predicted_logits().requires_grad_()
    loss(logits.softmax(1), encode(labels(), 2)).backward()
    return logits.grad


if __name__ == '__main__':
    main()
