"""Makes small mistakes in losses and metrics and prints those that the tests do not detect.

    make mutants                                  all of them
    python tests/mutate.py losses/epl/line.py ...  those of some files

Each mutant is one replacement in one file, in a copy of the repository, in which the tests named
for that file are run. If a mutant survives, a test is missing: write it.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
# One failure is enough, and hypothesis does not shrink it.
OPTIONS = ['-x', '-q', '-p', 'no:cacheprovider', '--hypothesis-profile=first_failure']
SECONDS = 600  # for the tests of one mutant
OURS = ('mmseg_boundary', 'tests')  # imported for the tables, and again from the copy
# Imported once for all runs of the tests: nothing of ours, and nothing that registers itself.
PRELOADED = ('pytest', 'hypothesis', 'torch', 'scipy.ndimage', 'mmengine.visualization')
PASSED, FAILED, ANOTHER_PACKAGE = 0, 1, 99

# {file of the package: the tests that should detect its mutants}
TESTS = {
    'labels.py': 'tests/test_labels.py tests/losses/test_reduction.py '
    'tests/losses/test_overlaps.py '
    'tests/losses/test_cross_entropies.py '
    'tests/losses/test_kervadec.py tests/losses/test_distance_transform.py '
    'tests/metrics/test_definitions.py tests/registered/test_losses.py',
    'requirements.py': 'mmseg_boundary/requirements.py tests/test_requirements.py',
    'geometry/boundary.py': 'mmseg_boundary/geometry/boundary.py tests/geometry/test_boundary.py '
    'tests/metrics/test_definitions.py',
    'geometry/distance.py': 'mmseg_boundary/geometry/distance.py tests/geometry/test_distance.py '
    'tests/losses/test_kervadec.py tests/metrics/test_definitions.py',
    'geometry/image_edges.py': 'tests/geometry/test_image_edges.py',
    'choices.py': 'mmseg_boundary/choices.py tests/losses/epl/test_rays.py',
    'losses/active_boundary.py': 'tests/losses/test_active_boundary.py '
    'tests/losses/test_reduction.py',
    'losses/balanced_edge.py': 'tests/losses/test_balanced_edge.py tests/losses/test_reduction.py',
    'losses/bf1.py': 'tests/losses/test_bf1.py tests/losses/test_once_differentiable.py '
    'tests/registered/test_battery.py',
    'losses/boundary_dou.py': 'tests/losses/test_boundary_dou.py tests/losses/test_reduction.py',
    'losses/boundary_weighted_ce.py': 'tests/losses/test_reduction.py '
    'tests/losses/test_cross_entropies.py '
    'tests/registered/test_losses.py',
    'losses/decode_head_loss.py': 'tests/registered/test_shared_target.py '
    'tests/registered/test_losses.py tests/registered/test_battery.py',
    'losses/distance_transform.py': 'tests/losses/test_reduction.py '
    'tests/losses/test_distance_transform.py '
    'tests/registered/test_losses.py',
    'losses/dual_task.py': 'tests/losses/test_dual_task.py tests/losses/test_reduction.py',
    'losses/blocks.py': 'tests/losses/epl/test_epl.py tests/registered/test_losses.py',
    **{
        f'losses/epl/{name}.py': 'tests/losses/epl/test_epl.py '
        'tests/losses/test_once_differentiable.py tests/registered/test_losses.py '
        'tests/registered/test_battery.py'
        for name in ('line', 'point')
    },
    'losses/epl/ranks.py': 'mmseg_boundary/losses/epl/ranks.py tests/losses/epl/test_ranks.py',
    'losses/epl/rays.py': 'mmseg_boundary/losses/epl/rays.py tests/losses/epl/test_rays.py '
    'tests/losses/epl/test_epl.py',
    'losses/epl/reference.py': 'tests/losses/epl/test_epl.py',
    'losses/generalized_dice.py': 'tests/losses/test_generalized_dice.py',
    'losses/hausdorff.py': 'tests/losses/test_hausdorff.py',
    'losses/jaccard.py': 'tests/losses/test_reduction.py '
    'tests/losses/test_overlaps.py tests/registered/test_losses.py',
    'losses/kervadec.py': 'tests/losses/test_reduction.py '
    'tests/losses/test_kervadec.py tests/registered/test_losses.py',
    'losses/log_likelihood.py': 'tests/losses/test_cross_entropies.py',
    'losses/neighbour_penalised.py': 'tests/losses/test_neighbour_penalised.py',
    'losses/once_differentiable.py': 'tests/losses/test_once_differentiable.py',
    'losses/reduction.py': 'tests/losses/test_reduction.py',
    'losses/semantic_boundary.py': 'tests/losses/test_semantic_boundary.py',
    'losses/soft_dice.py': 'tests/losses/test_overlaps.py tests/losses/test_reduction.py '
    'tests/losses/test_structure.py tests/registered/test_losses.py',
    'losses/softmax_focal.py': 'tests/losses/test_reduction.py '
    'tests/losses/test_cross_entropies.py tests/registered/test_losses.py',
    'losses/structure.py': 'tests/losses/test_structure.py tests/losses/test_reduction.py',
    'metrics/areas.py': 'mmseg_boundary/metrics/__init__.py tests/metrics',
    'metrics/boundary_f.py': 'tests/metrics',
    # The tests come first: pytest would import the module twice if it were the first file.
    'metrics/boundary_iou.py': 'tests/metrics mmseg_boundary/metrics/boundary_iou.py',
    'metrics/boundary_errors.py': 'tests/metrics/test_boundary_errors.py',
    'metrics/contour_errors.py': 'tests/metrics/test_contour_errors.py',
    'metrics/metric.py': 'tests/metrics/test_metric.py mmseg_boundary/metrics/metric.py',
    'metrics/trimap_iou.py': 'tests/metrics',
    'registered/loss_wrapper.py': 'tests/registered/test_loss_sum.py '
    'tests/registered/test_neighbour_penalised.py',
    'registered/neighbour_penalised.py': 'tests/registered/test_neighbour_penalised.py',
    'registered/visualization.py': 'tests/registered/test_visualization.py',
    'study/statistics.py': 'tests/study/test_statistics.py',
    'drawing/potential.py': 'tests/drawing/test_potential.py',
    'drawing/predictions.py': 'mmseg_boundary/drawing/predictions.py '
    'tests/drawing/test_predictions.py',
}


class Mutant(NamedTuple):
    """One replacement; the old text is in the file once."""

    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return f'{self.file}: {self.old!r} -> {self.new!r}'


# {file of the package: (old text, new text) of its mutants}
MUTANTS = {
    'requirements.py': [
        ('< release(MINIMUM_TORCH)', '<= release(MINIMUM_TORCH)'),
        ('[:2]', '[:1]'),
    ],
    'labels.py': [
        ('labels.long() == ignore_index', 'labels.long() >= ignore_index'),
        ('labels.long() == ignore_index', 'labels == ignore_index'),
        ('(labels < 0) | (labels >= num_classes)', 'labels >= num_classes'),
        ('(labels >= num_classes)', '(labels > num_classes)'),
        (' & ~void\n', '\n'),
        ("if unknown_labels == 'refuse':", 'if False:'),
        ('classes.view(-1, 1, 1)) & valid', 'classes.view(-1, 1, 1))'),
        ('classes = classes[1:]', 'classes = classes[:1]'),
        ('void, len(classes))', 'void, len(classes) + 1)'),
        ('elif unknown.any()', 'elif unknown.all()'),
        ('max(num_logits, 2)', 'num_logits'),
        ('np.array(given)', 'np.asarray(given)'),
        ('if not isinstance(given, Tensor):', 'if False:'),
        ('    labels = labels.long()\n    classes', '    classes'),
        (' or labels.is_complex()', ''),
        ('[self.valid & ~self.masks, self.masks]', '[~self.masks, self.masks]'),
        ('if self.masks.shape[1] > 1', 'if self.masks.shape[1] > 0'),
        ('given.shape != self.masks.shape', 'given.dim() != self.masks.dim()'),
        ('self.masks.any(3).any(2)', 'self.masks.all(3).any(2)'),
        ('values.masked_fill(~self.valid, 0)', 'values'),
        ('key = compute, *options', 'key = compute'),
        ('void | (each < 0)', '(each < 0)'),
        ('(each > num_classes), num_classes', '(each > num_classes), num_classes - 1'),
    ],
    'choices.py': [
        ('given not in allowed', 'given is None'),
        ('given < 3', 'given < 1'),
        ('given % 2 == 0', 'False'),
    ],
    'geometry/boundary.py': [
        ('labels[..., 1:, :] != labels[..., :-1, :]', 'labels[..., 1:, :] > labels[..., :-1, :]'),
        ('valid[..., 1:, :] & valid[..., :-1, :]', 'valid[..., 1:, :]'),
        ('    found[..., :-1] |= across_columns\n', ''),
        ('<= width**2', '< width**2'),
        ('(down - reach) ** 2 + (right - reach) ** 2', '(down - reach) ** 2'),
        ('[members, members[-1:]]', '[members[:1], members]'),
        (' | lower[:, :-1] | lower[:, 1:]', ' | lower[:, :-1]'),
        (' & lower[:, :-1] & lower[:, 1:]', ' & lower[:, :-1]'),
        ('bits[number] = 1 << place', 'bits[place] = 1 << place'),
        ('int(labels.max()), *classes, 0', 'int(labels.max()), 0'),
        ('len(classes) > MAX_SETS', 'len(classes) > MAX_SETS + 1'),
        ('sets >> member & 1', 'sets >> member'),
        ('math.floor(max(radii))', 'math.floor(min(radii))'),
        ('(half + 1) ** 2) <= radius', '(half + 1) ** 2) < radius'),
        ('before = wide.clone()', 'before = wide'),
        ('met & own', 'met'),
    ],
    'geometry/image_edges.py': [
        ("mode='replicate'", "mode='constant'"),
        ('2 * across[..., 1:-1, :]', 'across[..., 1:-1, :]'),
        ('2 * down[..., 1:-1]', 'down[..., 1:-1]'),
        ('.amax(1, keepdim=True)', '.mean(1, keepdim=True)'),
        ('(4 * math.sqrt(2))', '4'),
        (' * 255).round()', ').round()'),
        (' * 255).round()', ' * 255)'),
        ('low, high)) > 0', 'low, high)) < 0'),
    ],
    'geometry/distance.py': [
        ('cummin(-1).values.flip(-1)', 'cummin(-1).values'),
        ('torch.minimum(columns - before, after - columns)', 'columns - before'),
        ('last + reach)', 'last)'),
        ('(gaps >= width', '(gaps > width'),
        ('2 * width < 2**15', 'width < 2**15'),
        ('- rows).square().unsqueeze', '- rows).abs().unsqueeze'),
        ('.masked_fill(regions, torch.inf)', ''),
        (' & (there > 0)', ''),
        ('.masked_fill_(regions, torch.inf)', ''),
        ('where(order > order.unsqueeze(-1), far)', 'where(order >= order.unsqueeze(-1), far)'),
        ('where(order < order.unsqueeze(-1), -far)', 'where(order <= order.unsqueeze(-1), -far)'),
        ('place.unsqueeze(-1)).abs()', 'place.unsqueeze(-1))'),
        ('.minimum(after).minimum(before)', '.minimum(after)'),
        ('.where(gaps < width, torch.inf)', ''),
        ('(gaps * count + sites)', '(gaps + sites)'),
        ('(sites >= 0) & (sites !=', '(sites !='),
        ('region.unsqueeze(1) == labels', 'region.unsqueeze(1) != labels'),
        ('.where(nearest < width, torch.inf)', ''),
        ('else int(max_distance)', 'else int(max_distance) - 1'),
        ('max_distance + TOLERANCE', 'max_distance + 1'),
        ('cv2.DIST_MASK_PRECISE', '5'),
        ('distance_transform_cdt(background, metric)', 'distance_transform_cdt(background)'),
        ('if sites.any()', 'if True'),
        ('nearest.maximum(distances)', 'distances'),
        ('nearest.where(nearest > 0, second)', 'second'),
        ('1 - inside, outside', '-inside, outside'),
        ('(posinf=0, neginf=0)', '(posinf=0)'),
        ('value=-1', 'value=0'),
        ('_to(boundary) + 1', '_to(boundary)'),
        ('cv2.DIST_C', 'cv2.DIST_L1'),
        ("chamfer_distance_to(mask, 'chessboard')", "chamfer_distance_to(mask, 'taxicab')"),
        ('in_rows[:, 1:] | in_rows[:, :-1]', 'in_rows[:, 1:]'),
        (' | mixed_rows[2:]', ''),
        (' | in_columns[:-1]', ''),
    ],
    'losses/active_boundary.py': [
        ('(-1, 0), (0, -1), (0, 1)', '(-1, 0), (0, 1), (0, -1)'),
        ('_GROWTH = 1e-5, 1.2', '_GROWTH = 1e-5, 1.3'),
        ("    target.require_shape(logits, 'logits')\n", ''),
        ('9 * _budget', '8 * _budget'),
        ('.square().round()', '.square()'),
        ('~(inside & is_valid)', '~is_valid'),
        ('~(inside & is_valid)', '~inside'),
        (' & own_square.isfinite()', ''),
        ('(direction.squeeze(1) != _ITSELF) & ', ''),
        ('.where(kept.unsqueeze(1), 0), one_vs_rest', ', one_vs_rest'),
        ('log_probs if detach else logits', 'log_probs'),
        ('    around.masked_fill_(~usable.unsqueeze(1), 0)\n', ''),
        ('.clamp(max=1)\n', '\n'),
        (' + 0 * change.sum()', ''),
        ('0 < max_share', '0 <= max_share'),
        ('0 <= label_smoothing < 1', '0 <= label_smoothing <= 1'),
        ('F.logsigmoid(-logits)], 1)', 'F.logsigmoid(logits)], 1)'),
        (' & is_valid.narrow(dim, 1, pairs)', ''),
        ('(0 * logs.sum(0)).where(is_valid, 0)', '0 * logs.sum(0)'),
        ('max_share) + 1, flat', 'max_share) + 2, flat'),
        ('.clamp(max=_STEPS - 1)', ''),
        ('within(core, 1.5)', 'within(core, 1)'),
        ('ordinals <= numbers', 'ordinals < numbers'),
        ('column.clamp(0, width - 1)', 'column.clamp(0, height - 1)'),
        ('(usable.sum(1) - 1)', 'usable.sum(1)'),
        ('rest / others.clamp(min=1)', 'rest / 7'),
        ('.where(others > 0, 0)', ''),
        ('self.one_vs_rest(logits)', 'self.use_sigmoid'),
    ],
    'losses/balanced_edge.py': [
        ("    target.require_shape(edge_logits, 'logits')\n", ''),
        ('~edges & target.valid', '~edges'),
        ('edge_logits.where(edges, -edge_logits)', 'edge_logits.where(~edges, -edge_logits)'),
        ('(count_others / total) * (at_edges', '(count_edges / total) * (at_edges'),
        ('(elsewhere / total)', 'elsewhere'),
        ('count_others).clamp(min=1)', 'count_others)'),
        ('pixels = (0, 2, 3)', 'pixels = (0, 1, 2, 3)'),
        ('self.loss_weight * balanced', 'balanced'),
    ],
    'losses/bf1.py': [
        ('probs.masked_fill(~valid, 0)', 'probs'),
        ('predicted * near_true, true,', 'predicted * true, true,'),
        ('window_max(boundary, theta)', 'window_max(boundary, theta0)'),
        ('true > 0', 'true >= 0'),
        ('(precision + recall + EPS)', '(precision + recall)'),
        ('sums.sum(1, keepdim=True)', 'sums.amax(1, keepdim=True)'),
        ("    @once_differentiable('bf1_loss')\n", ''),
        ('true * by_near_predicted', 'by_near_predicted'),
        ('            grad += by_predicted\n', ''),
        ('            grad *= is_valid\n', ''),
        ('torch.mul(grad, is_valid', 'torch.mul(grad, 1'),
        ('value=lowest', 'value=0'),
        ('torch.gt(second, first', 'torch.ge(second, first'),
        ('for dim in (-1, -2) for', 'for dim in (-2, -1) for'),
        # On a device
        ('reversed(range(window))', 'range(window)'),
        ('index == window - 1 - shift', 'index == shift'),
        ('predicted.where(near_true, 0)', 'predicted'),
        ('+ by_predicted\n', '\n'),
        ('near_true) * valid', 'near_true) * valid.any()'),
        ('of_rows, place, -1, theta0)) * valid', 'of_rows, place, -1, theta0)) * valid.any()'),
        ("('theta0', theta0, 3)", "('theta0', theta0, 1)"),
        ('given % 2 == 0', 'False'),
    ],
    'losses/boundary_dou.py': [
        ('    target.require_shape(probs)\n', ''),
        ('target.masked(probs - masks)', '(probs - masks)'),
        ('.square()', '.abs()'),
        ('(target.masks & find_boundaries', '(find_boundaries'),
        ('find_boundaries(target.masks, target.valid)', 'find_boundaries(target.masks)'),
        ('2 * boundary', 'boundary'),
        ('clamp(0, max_alpha)', 'clamp(max=max_alpha)'),
        ('clamp(0, max_alpha)', 'clamp(min=0)'),
        ('(1 - alpha) * shared', 'shared'),
        ('difference / union.where(present, 1)', 'difference / union'),
        ('if not per_image', 'if False'),
        ('ratio, as_class_weight(class_weight, probs)', 'ratio'),
        ('max_alpha < 1', 'max_alpha <= 1'),
    ],
    'losses/boundary_weighted_ce.py': [
        ("    target.require_shape(logits, 'logits')\n", ''),
        ('within(boundaries, radius - 1)', 'within(boundaries, radius)'),
        ('weights * boundary_band(target, radius)', 'weights'),
        ('everywhere + boundary_weight * near', 'everywhere + near'),
        ('find_boundaries(target.masks, target.valid)', 'find_boundaries(target.masks)'),
        ('radius < 1', 'radius < 0'),
        ('boundary_weight < 0', 'boundary_weight < -1'),
    ],
    'losses/decode_head_loss.py': [
        ('torch.promote_types(seg_logits.dtype, torch.float32)', 'seg_logits.dtype'),
        ('self.use_sigmoid or logits.shape[1] == 1', 'self.use_sigmoid'),
        ('enabled=False', 'enabled=True'),
        ('persistent=False', 'persistent=True'),
        ('self.loss_weight * self.term(', '1.0 * self.term('),
        ('shared_target(seg_label, seg_logits, void)', 'shared_target(seg_label, seg_logits, 255)'),
        ('shared_target(seg_label, seg_logits, void)', 'shared_target(seg_label, logits, void)'),
        ('(num_logits, ignore_index, labels._version, capturing)', '(num_logits, ignore_index)'),
        ('(num_logits, ignore_index, labels', '(num_logits, labels'),
        ('(num_logits, ignore_index, labels', '(ignore_index, labels'),
        ('entry.labels() is labels and ', ''),
        (' and entry.made_for(logits) and', ' and'),
        ('(*entry.logits, *map(weakref.ref, made))', 'entry.logits'),
        ('        return target\n', '        return self._entry.target\n'),
        ('weakref.ref(each, self._forget)', 'weakref.ref(each)'),
        ('        self._entry = None\n', '        pass\n'),
        ('weakref.ref(each, self._forget)', 'lambda each=each: each'),
        ('if labels.is_inference()', 'if False'),
        ("loss_name.startswith('loss_')", 'loss_name'),
        ('        require_class_weight(class_weight)\n', ''),
        ('ignore_index is None or isinstance(ignore_index, int)', 'True'),
        ("require_choice('pixel_weight', pixel_weight, PIXEL_WEIGHTS)", 'pass'),
        ('if len(set(given)) > 1', 'if False'),
        ('return given[0] if given else 255', 'return 255 if of_head is None else of_head'),
        (
            '(of_head, self.ignore_index) if each is not None',
            '(of_head, self.ignore_index) if each',
        ),
        ('            weight = None\n', '            pass\n'),
        ('new_zeros(seg_label.shape, dtype=dtype)', 'new_zeros(seg_label.shape)'),
        (
            'new_zeros(seg_label.shape, dtype=dtype)',
            'new_zeros((), dtype=dtype).expand_as(seg_label)',
        ),
        ("reduction_override and self.pixel_weight == 'refuse'", 'reduction_override'),
        ("reduction_override and self.pixel_weight == 'refuse'", 'False'),
        ("reduction_override not in (None, 'none')", 'False'),
        ('weight.shape != seg_label.shape', 'weight.dim() != seg_label.dim()'),
        ('weight is not None and not self.takes_pixel_weight and ', 'False and '),
        ('seg_label.shape != seg_logits.shape[:1] + seg_logits.shape[2:]', 'False'),
    ],
    'losses/distance_transform.py': [
        ('target.valid & ~target.masks', '~target.masks'),
        ('mean_over(present, 1 - overlap', 'mean_over(size > 0, 1 - overlap'),
        ('    target.require_shape(probs)\n', ''),
        ('(deepest - depth) / span', 'depth / span'),
        ('amin((2, 3), keepdim=True)', 'amin((2, 3), keepdim=True).clamp(max=1)'),
        ('flat = span < 2 * TOLERANCE', 'flat = span < 2'),
        ('flat = span < 2 * TOLERANCE', 'flat = span == 0'),
        ('(q * target.masked(probs))', '(target.masks * probs)'),
        ("class_reduction == 'sum' and", "class_reduction == 'mean' and"),
    ],
    'losses/dual_task.py': [
        ("    target.require_shape(logits, 'logits')\n", ''),
        ('else logits + noise) / tau', 'else logits + noise) * tau'),
        ('scaled.sigmoid() if one_vs_rest', 'scaled.sigmoid() if not one_vs_rest'),
        ('(pred - label).abs()', '(pred - label) ** 2'),
        ('near.sum((1, 2, 3)).clamp(min=1)', 'near[0].numel()'),
        ('(terms[0] + terms[1]) / 2', 'terms[1]'),
        ('any_valid.to(logits.dtype)', 'torch.ones_like(any_valid, dtype=logits.dtype)'),
        ('down**2 + right**2', 'right**2'),
        ('.sqrt() - FLOOR)', '.sqrt())'),
        ('.clamp(min=PEAK)', '.clamp(min=1)'),
        ('magnitudes.amax((1, 2, 3), keepdim=True)', 'magnitudes.amax((2, 3), keepdim=True)'),
        ('magnitudes.amax((1, 2, 3), keepdim=True)', 'magnitudes.amax()'),
        ('(squares > THRESHOLD) & valid', 'valid.expand_as(squares)'),
        ('weights.where(weights > 0, 1)', 'weights.clamp(min=1)'),
        ('triangle_filter(maps.masked_fill(~valid, 0), radius)', 'triangle_filter(maps, radius)'),
        ('self.gumbel and self.training', 'self.gumbel'),
        ('noise - gumbel_like(logits)', 'noise'),
        ('.tiny).log()', '.tiny)'),
        ('radius < 1', 'radius < 0'),
    ],
    'losses/blocks.py': [
        ('-valid.to(', 'valid.to('),
        ('yield n, slice', 'yield 0, slice'),
        ('2 if images == 1', '1 if images == 1'),
        ('max(classes // 2, 1)', 'classes'),
        ('valid.to(torch.int64 if', 'valid.to(torch.int32 if'),
        ('torch.float16, torch.bfloat16', 'torch.float16,'),
    ],
    'losses/epl/line.py': [
        # EDC
        ('q * (g + p)\n', 'q * (g + p + 1)\n'),
        ('q + p_squared[0]', 'g + p_squared[0]'),
        ('denominator.where(pixels > 0, 1)', 'denominator'),
        ('(1 - ratio).where(pixels > 0, 0)', '1 - ratio'),
        ('(true[2] > 0).any(0)', '(true[2] >= 0).any(0)'),
        ('(intersection + 1) * g', 'intersection * g'),
        ('(g + p + 1) * q', '(g + p) * q'),
        ('has_line = pixels > 0', 'has_line = q > 0'),
        ('.where(has_line, 1)', ''),
        # The sums
        ('not form.authors and not is_queued(masks)', 'not is_queued(masks)'),
        ('not masks.any()', 'not masks[0].any()'),
        ('masked_fill_(~valid, torch.inf)', 'masked_fill_(~valid, 0)'),
        ('        keep_valid(both[len(both) // 2 :], bits[n])\n', ''),
        ('probs.where(valid, 0)', 'probs'),
        ('counts[0], counts', 'counts[1], counts'),
        ('if form.rays.is_box:', 'if False:'),
        ('num_valid - counts[1:].sum(0)', 'num_valid - 0 * counts[0]'),
        ('q + outside * d.square()', 'q + outside * d'),
        ('for table in (d, d.square())', 'for table in (d, d)'),
        ('target_field < tau + 0.5', 'target_field <= tau'),
        ('& (target_field < h + 0.5)', '& target_field.isfinite()'),
        ('.masked_fill(window.low.isnan(), torch.nan)', ''),
        ('(d * d_hat).sum(-1)]', '(d * d_hat).square().sum(-1)]'),
        ('d_hat.square().sum(-1))', 'd_hat.sum(-1))'),
        ('target_field.where(region, 0), valid, energies', 'target_field, valid, energies'),
        ('energies.where(chosen, 0), valid', 'energies, valid'),
        # Their gradient
        ("    @once_differentiable('epl_line_loss')\n", ''),
        ('*windows)', '*windows[::-1])'),
        ('permute(3, 2, 0, 1, 4)', 'flip(2).permute(3, 2, 0, 1, 4)'),
        ('of_sums.permute(1, 2, 0, 3)', 'of_sums.flip(0).permute(1, 2, 0, 3)'),
        ('grad_p + grad_i * d', 'grad_p'),
        ('2 * grad_square[0]', 'grad_square[0]'),
        ('_power(energies - tau, form.mu - 1)', '_power(energies - tau, form.mu)'),
        ('grad.where(d_hat > 0, 0)', 'grad'),
        ('total.where(chosen, 0)', 'total'),
        ('keep_valid(gradient, valid_bits(valid, probs)), *[None] * 3', 'gradient, *[None] * 3'),
        # How near an energy is to a level
        ('NEGLIGIBLE = 43', 'NEGLIGIBLE = 3'),
        ('exponent < NEGLIGIBLE', 'exponent <= torch.inf'),
        ('form.rays.is_box or form.mu == 2', 'form.mu == 2'),
        ('form.rays.is_box or form.mu == 2', 'form.rays.is_box'),
        ('range(3)', 'range(2)'),
        ('steps**form.mu < NEGLIGIBLE', 'steps < form.mu - 1'),
        ('half * half * base if', 'half * half if'),
        ('self.mu < 2', 'self.mu < 0'),
    ],
    'losses/epl/point.py': [
        ('keep_valid(difference, bits[n]), rays', 'difference, rays'),
        ('gaps.abs() if power == 1 else gaps.square()', 'gaps.abs()'),
        ('gap.sign() if power == 1 else 2 * gap', 'gap.sign() if power == 1 else gap'),
        ('* -weights * grad', '* weights * grad'),
        ('probs).where(valid, 0)', 'probs)'),
        ('.where(apart, 1).sqrt()', '.sqrt()'),
        ('costs[n] += costs_of', 'costs[n] = costs_of'),
        ('weights[some], grad_output[n]', 'weights[:1], grad_output[n]'),
        ('costs_of(n, some, weights[some])', 'costs_of(n, some, weights[:1])'),
        ("    @once_differentiable('epl_point_loss')\n", ''),
        ('keep_valid(gradient, valid_bits(valid, probs)), *[None] * 5', 'gradient, *[None] * 5'),
        ("require_choice('norm', norm, NORMS)", 'pass'),
    ],
    'losses/epl/ranks.py': [
        ('(fields == low) & (index >= first)', '(fields == low)'),
        ('index <= last', 'index < last'),
        ('like.new_ones(shape)', 'like.new_zeros(shape)'),
        # by_selection
        ('np.isnan(field.max())', 'False'),
        ('(field + 0).view', 'field.view'),
        ('if tie:', 'if tie > 1:'),
        ('last_tie < ties - 1', 'False'),
        ('(bits == high)[last_tie]', '(bits == high)[-1]'),
        ('ranks - first, end - first', 'ranks - first, ranks - first + 1'),
        ('max(width - _DIGIT, 0)', 'max(width - _DIGIT, 1)'),
        ('int(ends[digit - 1]) if digit else 0', 'int(ends[digit - 1])'),
        ("rank, side='right'", "rank, side='left'"),
        # by_bisection
        ('fields.abs().view', 'fields.view'),
        ('keepdim=True) <= rank', 'keepdim=True) < rank'),
        ('(start + size - 1, 0)', '(start + size, 0)'),
        ('rank - (bits < value)', 'rank - (bits <= value)'),
        ('rank, width - 1)', 'rank, width - 2)'),
        ('before, 31)', 'before, 8)'),
        ('.where(size > 0, nothing)', ''),
        # by_digits
        ('math.ceil(shifts / 4) + 1', 'math.ceil(shifts / 4)'),
        ('fits = counts <= rank', 'fits = counts < rank'),
        ('torch.maximum(before, counts.where(fits, 0).amax(-1))', 'counts.where(fits, 0).amax(-1)'),
        ('(step >> 4).clamp(min=1)', 'step >> 4'),
        ('rank = rank - before', 'rank = rank + 0'),
        ('dtype=torch.int32) <= rank', 'dtype=torch.int32) < rank'),
        ('_place_of(rank - earlier', '_place_of(rank'),
        ('masked_fill(has_nan, torch.nan)', 'clone()'),
        ('unsqueeze(1) * pixels[1]', 'unsqueeze(1)'),
        ('low.masked_fill(is_empty, 1)', 'low'),
        ('.masked_fill(fields.isnan().any(1), torch.nan)', ''),
    ],
    'losses/epl/rays.py': [
        ('for j in range(h + 1)', 'for j in range(h)'),
        ('h - j * down', 'h + j * down'),
        ('(h + 1) / size**2', 'h / size**2'),
        ('mode=rays.padding', "mode='constant'"),
        ("rays.padding == 'replicate'", "rays.padding == 'constant'"),
        ('sides[..., h, :].add_', 'sides[..., h, :].sub_'),
        ('sides[..., -h - 1, :].add_', 'sides[..., -h - 1, :].sub_'),
        ('sides[..., :h, :].sum(-2)', 'sides[..., h - 1, :]'),
        ('in (canvas, canvas.mT)', 'in (canvas,)'),
        ('(-down, -right) for down', '(down, right) for down'),
        ("2 if rays.padding == 'replicate' else 1", '1'),
        ('shifts, beyond)', 'shifts)'),
        ('shifted, beyond)', 'shifted)'),
        ("require_odd('kernel_size', self.kernel_size)", 'pass'),
        ("require_choice('sc_scale', self.sc_scale, SC_SCALES)", 'pass'),
        ('1 if self.is_box else', '2 if self.is_box else'),
    ],
    'losses/epl/reference.py': [
        ('(weights * gap.abs())', '(weights * gap.square())'),
        ('valid & (target_field < 0.5)', 'target_field < 0.5'),
        ('(ranks >= first)', '(ranks > first)'),
        ('q * (g + p)\n', 'q * (g + p + 1)\n'),
        ('masked_fill(~chosen, 0)\n        has', 'masked_fill(~region, 0)\n        has'),
    ],
    'losses/generalized_dice.py': [
        ('if probs.shape[1] == 1:', 'if False:'),
        ('[torch.ones_like(factors), factors]', '[factors, factors]'),
        ('[1 - probs, probs]', '[probs, probs]'),
        ('        areas = areas.sum(0, keepdim=True)\n', '        pass\n'),
        ('(present & (weights > 0))', '(weights > 0)'),
        ('(present & (weights > 0))', 'present'),
        ('(smallest / areas).square()', '(smallest / areas)'),
        ('1 - 2 * shared', '1 - shared'),
        ("1.0 if absent == 'max' else 0.0", '0.0'),
        ('.amin(1, keepdim=True)', '.amax(1, keepdim=True)'),
    ],
    'losses/hausdorff.py': [
        ('probs.masked_fill(~valid, 0) - masks', 'probs - masks'),
        ('grad * weights * (2 * ', 'grad * weights * ('),
        ('grad * weights', 'grad'),
        ('total += each', 'total = each'),
        ('or probs.shape[1] == 1', ''),
        ('[:, -probs.shape[1] :]', '[:, : probs.shape[1]]'),
        ('eligible = eligible | predicted', 'eligible = predicted'),
        ('height**2 + width**2', 'height**2'),
        ('** (alpha / 2)', '** alpha'),
        ('pixel_weight.unsqueeze(1) * costs', 'costs'),
        ('target.valid.sum((2, 3)).clamp(min=1)', 'costs[0, 0].numel()'),
        ('(probs > 0.5)', '(probs >= 0.5)'),
        ('classes.view(-1, 1, 1)) & valid', 'classes.view(-1, 1, 1))'),
        ('torch.stack([valid & ~masks, masks], 2)', 'torch.stack([~masks, masks], 2)'),
        ('outside[:, 1].view_as', 'outside[:, 0].view_as'),
        ('torch.where(masks, inside, outside)', 'outside'),
        ('.masked_fill_(distances.isinf(), 0)', '.clamp_(max=9)'),
        ('.mul_(distances).round_()', '.mul_(distances)'),
        ('0 < alpha <= LARGEST_ALPHA', '0 < alpha'),
        ('if absent and one_sided:', 'if False:'),
        ('LARGEST_ALPHA = 6', 'LARGEST_ALPHA = 20'),
    ],
    'losses/jaccard.py': [
        ('    target.require_shape(probs)\n', ''),
        ('both - shared', 'both'),
        ('1 - jaccard, as_class_weight(class_weight, probs)', '1 - jaccard'),
        ('(smooth + shared)', 'shared'),
    ],
    'losses/kervadec.py': [
        ('outside[:, -probs.shape[1] :]', 'outside[:, : probs.shape[1]]'),
        ('math.hypot(*signed.shape[2:])', 'max(signed.shape[2:])'),
        ('signed.abs().amax', 'signed.amax'),
        ('signed = target.masked(signed)', 'signed = signed'),
        ('target, pixel_weight)', 'target)'),
        ('    target.require_shape(probs)\n', ''),
        ('shares_of(weights))', 'weights.view(-1, 1, 1))'),
        ('range(num_logits) if num_logits > 1 else (1,)', 'range(num_logits)'),
        ('chosen[index] = weights[index]', 'chosen[index] = 1'),
        ('len(set(classes)) < len(classes)', 'False'),
    ],
    'losses/log_likelihood.py': [
        ('logits.where(target.masks, -logits)', 'logits'),
        ('weights * target.valid', 'weights * target.valid.new_ones(target.valid.shape)'),
        ('(weights * target.masks).sum(1, keepdim=True)', 'target.valid.to(weights.dtype)'),
        ('masked_fill(~target.masks, 0)', 'masked_fill(target.masks, 0)'),
    ],
    'losses/neighbour_penalised.py': [
        ('of_others = target.valid & ~target.masks', 'of_others = ~target.masks'),
        (
            'torch.where(target.masks, -logits, -torch.inf)',
            'torch.where(target.valid, -logits, -torch.inf)',
        ),
        ('torch.where(of_others, logits, -torch.inf)', 'torch.where(of_others, logits, -9999)'),
        ('torch.where(target.valid, penalised, logits)', 'penalised'),
        ("    target.require_shape(logits, 'logits')\n", ''),
        ("    require_odd('window', window)\n", '    pass\n'),
        ('padding=window // 2', 'padding=1'),
    ],
    'losses/once_differentiable.py': [
        ('with torch.no_grad():', 'with torch.enable_grad():'),
        (
            'if torch.is_grad_enabled()',
            'if any(each is not None and each.requires_grad for each in grads)',
        ),
        ('loss, ctx.saved_tensors[0], *grads)', 'loss, ctx.saved_tensors[0])'),
        ('loss, ctx.saved_tensors[0], *grads)', 'loss, *grads)'),
    ],
    'losses/reduction.py': [
        ('weights = weights * class_weight', 'weights = weights'),
        (
            '(weights * values).sum(dim) / total.where(total > 0, 1)',
            '(weights * values).sum(dim) / total',
        ),
        ('values = pixel_weight.unsqueeze(1) * values', 'values = values'),
        ('costs = pixel_weight.unsqueeze(1) * costs', 'costs = costs'),
        ('target.valid.sum().clamp(min=1)', 'target.valid.numel()'),
        ('target.valid.sum().clamp(min=1)', 'target.valid.sum()'),
        ('(costs.shape[1] * target', '(target'),
        ('target.masked(costs)', 'costs'),
        ('eligible.any(0, keepdim=True)', 'eligible.all(0, keepdim=True)'),
        ('each.sum(0, keepdim=True)', 'each.amax(0, keepdim=True)'),
        ('len(class_weight) != like.shape[1]', 'len(class_weight) > like.shape[1]'),
        ('class_weight / total.where(total > 0, 1)', 'class_weight'),
        ('class_weight / total.where(total > 0, 1)', 'class_weight / total'),
        ('0 <= weight < math.inf', '0 <= weight'),
        ('if not numbers or sum(class_weight) == 0', 'if not numbers'),
    ],
    'losses/soft_dice.py': [
        ('smooth + 2 * shared', 'smooth + shared'),
        ('probs = target.masked(probs)', 'probs = probs'),
        ('(smooth + both)', 'both'),
        ('eligible = target.valid.any(3).any(2)', 'eligible = target.present.any(1, True)'),
        ("per_class and absent == 'skip'", 'per_class'),
        ("'count' if one_vs_rest", "'skip' if one_vs_rest"),
        ('and per_class and smooth == 0', 'and smooth == 0'),
        ('if per_image else pooled', 'if True else pooled'),
        ('    target.require_shape(probs)\n', ''),
        ('1 - dice, as_class_weight(class_weight, probs)', '1 - dice'),
        ('smooth < 0', 'smooth < -1'),
        ('else weight * terms', 'else terms'),
    ],
    'losses/semantic_boundary.py': [
        ('clamp(min=1)).clamp(min=1)', 'clamp(min=1))'),
        ('(pixels - edge_pixels) /', 'pixels /'),
        ('edges.any(1, keepdim=True)', 'edges'),
        ('.where(edges, -edge_logits)', '.where(~edges, -edge_logits)'),
        ('edges | ~valid', 'edges'),
        ('edges.shape[1] * pixels', 'pixels'),
        ('(pixels > 0).to', '(pixels >= 0).to'),
        ('several & target.valid', 'several'),
        ('keepdim=True) > 1', 'keepdim=True) > 0'),
        ('near[:, -target.masks.shape[1] :]', 'near'),
        ('(0, -width % stride, 0, -height % stride)', '(-width % stride, 0, -height % stride, 0)'),
        ('.any(-1).unflatten', '.all(-1).unflatten'),
        ('not 1 <= radius', 'not 0 <= radius'),
    ],
    'losses/softmax_focal.py': [
        ("    target.require_shape(logits, 'logits')\n", ''),
        ('doubt**gamma', 'doubt ** (gamma + 1)'),
        ('.clamp(max=-torch.finfo(log_q.dtype).tiny)', ''),
        ('gamma < 0', 'gamma < -1'),
    ],
    'losses/structure.py': [
        ("    target.require_shape(logits, 'logits')\n", ''),
        ('weights = w * likelihood', 'weights = likelihood'),
        ('per_image=True, weight=w', 'per_image=True'),
        ('both - shared', 'both'),
        ('smooth + 2 * shared', 'smooth + shared'),
        ('1 - ratio, as_class_weight(class_weight, probs)', '1 - ratio'),
        ('ce_weight * cross_entropy', 'cross_entropy'),
        ('overlap_weight * lost', 'lost'),
        ('is not None and ce_weight == 0', 'is not None and False'),
        ('count_around(target.valid, window)', 'count_around(target.valid | True, window)'),
        ('masks, around - of_class, of_class', 'masks, of_class, around - of_class'),
        ('others.masked_fill(~masks, 0).sum', 'others.sum'),
        ('return target.masked(1 + gamma', 'return (1 + gamma'),
        ('.cumsum(-2, dtype=torch.int32)', '.cumsum(-2, dtype=torch.float32).int()'),
        ('(reach + 1, reach, reach + 1, reach)', '(reach, reach + 1, reach + 1, reach)'),
        ("require_odd('window', window)", 'pass'),
    ],
    'metrics/areas.py': [
        ('width >= 1', 'width >= 0'),
        ('isinstance(width, int) and ', ''),
        ('.cumsum(1)', ''),
        ('pred_reached.maximum(label_reached)', 'pred_reached.minimum(label_reached)'),
        ('        - both\n', ''),
        ('label.where(label == pred, num_classes)', 'label'),
        ('intersection / union', '2 * intersection / (union + intersection)'),
    ],
    'metrics/boundary_f.py': [
        ('torch.stack([pred, label]).flatten()', 'label.flatten()'),
        ('classes[first : first + MAX_SETS]', 'classes[:MAX_SETS]'),
        ('found.double() / n_true', 'found.double() / n_predicted'),
        ('2 * precision * recall / total', 'precision * recall / total'),
        ('total > 0, 2', 'total > 0.5, 2'),
        ('n_predicted + n_true > 0', 'n_true > 0'),
        ("mode='inner' if mode == 'csurka' else 'davis'", "mode='davis'"),
        ('nan=1.0', 'nan=0.0'),
        ('math.ceil(share', 'round(share'),
        ('_mean_over_first(_mean_over_first(values.transpose(0, 1)))', '_mean_over_first(values)'),
        ('math.fsum(known)', 'sum(known)'),
        (
            'math.nextafter(ratio * math.sqrt(height**2 + width**2), 0)',
            'ratio * math.sqrt(height**2 + width**2)',
        ),
    ],
    'metrics/boundary_iou.py': [
        ('depth(pair.pred), depth(pair.label)', 'depth(pair.label), depth(pair.label)'),
    ],
    'metrics/boundary_errors.py': [
        ('4 * tolerance if reach is None', 'tolerance if reach is None'),
        ('in (sides, sides[::-1])', 'in (sides, sides)'),
        ('_between_classes(their_labels, num_classes)', '_between_classes(their_labels, -1)'),
        ('shared_within(own, other, radii)', 'shared_within(own, other, radii[::-1])'),
        ('(met, confused, near, left)', '(met, near, confused, left)'),
        ('left = left & ~kind', 'left = left'),
        ('(~thin, thin)', '(thin, ~thin)'),
        ('largest > _over_windows', 'largest >= _over_windows'),
        ('mask | (labels == void)', 'mask'),
        ('within(~within(~room, radius), radius)', '~within(~room, radius)'),
        ('_over_windows(sets, torch.bitwise_or)', 'sets'),
        ('_over_windows(sets, torch.bitwise_or)', '_over_windows(sets, torch.bitwise_and)'),
        ('torch.cat([values[:, 1:], values[:, -1:]], 1)', 'values'),
        ('torch.cat([values[1:], values[-1:]])', 'values'),
    ],
    'metrics/contour_errors.py': [
        ('(pred != label) & valid', 'pred != label'),
        ('within(find_boundaries(label, valid), width)', 'within(find_boundaries(label), width)'),
        ('wrong & near', 'near'),
        ('near / wrong', 'near / wrong.clamp(min=1)'),
    ],
    'metrics/metric.py': [
        ('each, self.num_classes', 'each[::-1], self.num_classes'),
        ('if len(set(names)) < len(names)', 'if False'),
        ('[metric.measure(pair) for', '[self.metrics[0].measure(pair) for'),
        ("[''] * (self.ratio is not None) + ", ''),
        ('dict.fromkeys(Share', 'list(Share'),
        ('max(1, round(', 'max(0, round('),
        ('height**2 + width**2', '2 * width**2'),
        ('0 < width < 1', '0 < width <= 1'),
        ('not isinstance(width, bool) and ', ''),
        ('if isinstance(each, Share) else each for', 'for'),
        ('0 < ratio <= 1', '0 < ratio'),
        ("widths.tolist() if hasattr(widths, 'tolist') else widths", 'widths'),
        ("each.item() if hasattr(each, 'item') else each", 'each'),
        (
            'self.records = {metric.name: []',
            "self.records = {metric.name: getattr(self, 'records', {}).get(metric.name, [])",
        ),
    ],
    'metrics/trimap_iou.py': [
        ('if void_is_boundary else', 'if not void_is_boundary else'),
        ('else find_boundaries(label, valid)', 'else find_boundaries(label)'),
        ('.int() + 1', '.int()'),
        ('label, valid = pair.label_as_given, pair.valid', 'label, valid = pair.label, pair.valid'),
        ('chessboard_distance_to(~valid)', 'distance_to(~valid).int()'),
        ('torch.iinfo(torch.int32).max', '1'),
        ("mode == 'deeplab' and void_is_boundary", 'void_is_boundary'),
    ],
    'registered/visualization.py': [
        ('(pred != label) & ~void\n', '(pred != label)\n'),
        ('_enlarged(wrong & ~near, zoom)', '_enlarged(wrong, zoom)'),
        ('wrong & within(~wrong, zoom // 4 + 1)', 'wrong'),
        ('wrong & within(~wrong, zoom // 4 + 1)', 'wrong & ~wrong'),
        ('(y + x) % 8 < 4', '(y + x) % 8 < 8'),
        ('torch.searchsorted(numbers, pred)', 'pred.clamp(max=len(numbers) - 1)'),
        ("'both': true & predicted", "'both': true | predicted"),
        (
            'find_boundaries(_enlarged(labels, zoom), ~_enlarged(void, zoom))',
            'find_boundaries(_enlarged(labels, zoom))',
        ),
    ],
    'registered/loss_wrapper.py': [
        ('return self.loss_weight * self.value(', 'return self.value('),
        ('ignore_index = self.ignore_index\n', 'pass\n'),
        ('self.ignore_index not in (None, ignore_index)', 'False'),
        ("override is not None and 'reduction_override' not in names", 'False'),
        ('next(own_voids(loss), 255)', '255'),
        (", getattr(loss, 'ignore_label', None)", ', None'),
        ('for name in names if given[name] is not None', "for name in names if name != 'weight'"),
    ],
    'registered/neighbour_penalised.py': [
        ('    require_window(window)\n', ''),
        ('.removeprefix("loss_")', ''),
        ('dict(ignore_index=self._own_void() if void is None else void)', 'dict(ignore_index=255)'),
        ('torch.promote_types(seg_logits.dtype, torch.float32)', 'seg_logits.dtype'),
        ('enabled=False', 'enabled=True'),
        ('neighbour_penalised(logits, target, self.window)', 'neighbour_penalised(logits, target)'),
        ('            shared_target.share(seg_logits, logits, penalised)\n', ''),
        ('value + self.total(logits, seg_label, given)', 'value + value'),
        ('if self.keep else value', 'if not self.keep else value'),
        ('len(voids) > 1', 'len(voids) > 2'),
        ('for part in loss.modules()', 'for part in [loss]'),
        (' and part.measures_geometry', ''),
    ],
    'study/statistics.py': [
        ('np.where(np.isnan(scores), -np.inf, scores)', 'scores'),
        ('np.where(both_lost, 0, ours', 'np.where(both_lost, -np.inf, ours'),
        ('ddof=1', 'ddof=0'),
        ('2 * np.abs(differences[finite]).sum() + 1', '1'),
        ('len(p) - np.arange(len(p))', 'np.full(len(p), len(p))'),
        ('np.maximum.accumulate(p[order] * factors)', 'p[order] * factors'),
        ('t_interval(differences, 1 - 2 * LEVEL)', 't_interval(differences)'),
        ('int(LEVEL / comparisons * 2**seeds / 2)', 'int(LEVEL / comparisons * 2**seeds)'),
        ('max(1, len(frames) // length)', 'max(1, -(-len(frames) // length))'),
        ('(seed_counts * (scores(arm) - scores(baseline)))', '(scores(arm) - scores(baseline))'),
        ('len(blocks) < FEWEST_BLOCKS', 'len(blocks) < FEWEST_BLOCKS - 1'),
    ],
    'drawing/potential.py': [
        ('target.masked(probs)[:, [number]]', 'probs[:, [number]]'),
        ('rays.half_width)[1]', 'rays.half_width)[0]'),
        ('true & ~predicted', 'true'),
        ('~source.lines[place][window].numpy(), energies', '(energies == 0).numpy(), energies'),
    ],
    'drawing/predictions.py': [
        ('~same & self.valid', '~same'),
        ('valid & (was_right', '(was_right'),
        ('np.where(is_right, 1, 2)', 'np.where(is_right, 2, 1)'),
        ('scene.label, scene.preds[0], pred', 'scene.label, scene.preds[-1], pred'),
    ],
}
# A loss or a metric without a file of tests has its mutants in its row.
sys.path.insert(0, str(ROOT))  # the folder of a script is first there
for _table, _tests in (
    (import_module('tests.support.losses').LOSSES, 'tests/registered/test_battery.py'),
    (import_module('tests.support.metrics').METRICS, 'tests/metrics/test_definitions.py'),
):
    for _name, _row in _table.items():
        for _file, _changes in _row.mutants.items():
            MUTANTS[_file] = _changes
            TESTS[_file] = f'{_tests} -k {_name}'


def main() -> None:
    """Tries the mutants and ends with 1 if some survive."""
    parser = argparse.ArgumentParser(description='Do the tests detect mistakes in the package?')
    parser.add_argument(
        'files', nargs='*', default=list(MUTANTS), help='such as losses/epl/line.py (default: all)'
    )
    files = parser.parse_args().files
    if unknown := sorted(set(files) - set(MUTANTS)):
        parser.error(f'no mutants of {", ".join(unknown)}; choose of {", ".join(MUTANTS)}.')
    mutants = [Mutant(file, *change) for file in files for change in MUTANTS[file]]
    survivors = survivors_of(mutants)
    print(f'\n{len(mutants)} mutants, {len(survivors)} that no test sees', flush=True)
    for mutant in survivors:
        print(f'    {mutant}')
    raise SystemExit(bool(survivors))


def survivors_of(mutants: list[Mutant]) -> list[Mutant]:
    """Those that no test detects.

    Raises:
        SystemExit: a mutant does not fit its file, or the tests fail without one.
    """
    if stale := [mutant for mutant in mutants if occurrences(mutant) != 1]:
        lines = [f'    {mutant} (found {occurrences(mutant)} times)' for mutant in stale]
        raise SystemExit('The old text has to be in the file once:\n' + '\n'.join(lines))
    os.environ['OMP_NUM_THREADS'] = '1'
    # Python tells bytecode apart by size and second: it could be that of another mutant.
    sys.dont_write_bytecode = True
    for name in PRELOADED:
        import_module(name)
    unchanged = [(None, tests) for tests in dict.fromkeys(TESTS[each.file] for each in mutants)]
    with tempfile.TemporaryDirectory() as folder:
        free = [copy_to(Path(folder, str(number))) for number in range(AT_ONCE)]
        running, survivors = {}, []
        try:
            for job in unchanged + [(mutant, TESTS[mutant.file]) for mutant in mutants]:
                if not free:
                    survivors += wait(running, free)
                copy = free.pop()
                running[start(copy, *job)] = copy, *job
            while running:
                survivors += wait(running, free)
        finally:
            for process in running:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
    return survivors


def occurrences(mutant: Mutant) -> int:
    """How often the old text is in the file."""
    return (ROOT / 'mmseg_boundary' / mutant.file).read_text().count(mutant.old)


def copy_to(folder: Path) -> Path:
    """Copies what the tests need, and returns the folder."""
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('mmseg_boundary', 'tests'):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / 'pyproject.toml', folder)
    return folder


def start(copy: Path, mutant: Mutant | None, tests: str) -> int:
    """The id of a process that ends with what pytest returns, in a copy with the mutant."""
    if mutant:
        path = copy / 'mmseg_boundary' / mutant.file
        path.write_text(path.read_text().replace(mutant.old, mutant.new))
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    signal.alarm(SECONDS)
    output = os.open(copy / 'output', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(copy)
    sys.path[0] = str(copy)  # before an installed one
    for name in [name for name in sys.modules if name.split('.')[0] in OURS]:
        del sys.modules[name]
    code = sys.modules['pytest'].main([*OPTIONS, *tests.split()])
    ours = sys.modules.get('mmseg_boundary')
    sys.stdout.flush()
    os._exit(code if ours and copy in Path(ours.__file__).parents else ANOTHER_PACKAGE)


def wait(running: dict, free: list[Path]) -> list[Mutant]:
    """The mutant of the process that is the next to end, if it survived; none otherwise.

    Raises:
        SystemExit: pytest did not get as far as the tests, or they fail without a mutant.
    """
    process, status = os.wait()
    copy, mutant, tests = running.pop(process)
    free.append(copy)
    code = os.waitstatus_to_exitcode(status)
    if code not in (PASSED, FAILED) or (mutant is None and code == FAILED):
        output = (copy / 'output').read_text()
        raise SystemExit(f'{output}\n{mutant or "No mutant"}: pytest {tests} ended with {code}.')
    if mutant is None:
        return []
    shutil.copy(ROOT / 'mmseg_boundary' / mutant.file, copy / 'mmseg_boundary' / mutant.file)
    print(f'{"SURVIVES" if code == PASSED else "seen    "}  {mutant}', flush=True)
    return [mutant] if code == PASSED else []


if __name__ == '__main__':
    main()
