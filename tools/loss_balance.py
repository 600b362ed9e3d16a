"""Compares the terms of a loss before a day of training.

python tools/loss_balance.py configs/pspnet_epl_shapes.py

Runs a few training batches, forwards and backwards, without a step of the optimizer.
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse
import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint, set_random_seed
from mmseg.registry import MODELS
from prettytable import PrettyTable
from torch import Tensor, nn

from mmseg_boundary import compat
from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import (
    add_config_options,
    add_debug_argument,
    add_partial_argument,
    read_config,
)
from mmseg_boundary.cli.checkpoints import load_fully
from mmseg_boundary.cli.errors import plain_errors
from mmseg_boundary.cli.parts import require_parts
from mmseg_boundary.cli.runner import build_loader
from mmseg_boundary.registered.model_losses import Entry, LossCalls, heads_by_name, without_stage

NEGLIGIBLE, DOMINANT = 0.01, 1.0
COLUMNS = {
    'term': 'the key in the log',
    'weight': "the config's `loss_weight`, which the other columns include",
    'value': 'what the log would show',
    '|g| logits': "norm of the gradient at the head's own output, before it is resized",
    'ratio l.': "that, divided by the first term's at the same output",
    'cosine l.': 'of these two gradients: 1 the same direction, 0 orthogonal, -1 opposite',
    '|g| params': 'norm of the gradient at all trained parameters of the net',
    'ratio p.': "that, divided by the first term's",
    'cosine p.': 'of these two gradients',
}


class Gradients(NamedTuple):
    """The value and gradients of one term in one batch; NaN without anything to compare."""

    value: float
    at_logits: float
    cosine_at_logits: float
    at_parameters: float
    cosine_at_parameters: float


class Row(NamedTuple):
    """One term over all batches. `weight` is None where the key has no loss, or several.

    A loss of the model that no head called has no `gradients`; `uncalled` says why."""

    key: str
    weight: float | None
    gradients: Gradients | None
    ratio_at_logits: float = math.nan
    ratio_at_parameters: float = math.nan
    uncalled: str = ''


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the terms of a config's loss")
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint file (default: the net as training begins)'
    )
    parser.add_argument('--batches', type=int, default=4, help='training batches (default: 4)')
    parser.add_argument(
        '--ratio',
        type=float,
        default=0.1,
        help="share of the first term's gradient at the parameters for which the weight of each "
        'other term is computed (default: 0.1)',
    )
    add_partial_argument(parser)
    add_config_options(parser)
    add_debug_argument(parser)
    args = parser.parse_args()
    if args.batches < 1 or not 0 < args.ratio < math.inf:
        parser.error(
            f'--batches {args.batches} --ratio {args.ratio}: give at least one batch and a '
            'positive ratio'
        )
    return args


def main() -> None:
    args = parse_args()
    patches.install()
    config = read_config(args.config, args.cfg_options)
    config.load_from = args.checkpoint or config.get('load_from')
    require_parts(config, ('train_dataloader',))
    seed = config.get('randomness', {}).get('seed') or 0
    set_random_seed(seed)
    # quiet: MMEngine would list the initialisation of every parameter
    MMLogger.get_instance('loss_balance', log_level='WARNING')
    init_default_scope(config.get('default_scope', 'mmseg'))
    with plain_errors(config, args.debug):
        model = build_model(config, args.checkpoint is None, args.partial)
        batches = list(islice(build_loader(config.train_dataloader, seed), args.batches))
        rows = balance(model, batches)

    state = config.load_from or 'the net as training begins'
    print(f'{args.config}, {state}: mean over {len(batches)} batches\n')
    print(f'{table(rows, args.ratio)}\n')
    print('\n'.join(legend(args.ratio)))
    print('\n'.join(['', *remarks(rows, config)]))


def build_model(config: Config, initialise: bool, allow_partial: bool) -> nn.Module:
    """The segmentor in training mode; a given checkpoint needs no pretrained weights."""
    model = revert_sync_batchnorm(MODELS.build(config.model))
    if initialise:
        model.init_weights()
        if config.load_from:
            load_checkpoint(model, config.load_from, map_location='cpu')
    else:
        load_fully(
            lambda: load_checkpoint(model, config.load_from, map_location='cpu'),
            config.load_from,
            model,
            allow_partial,
        )
    return model.to(get_device()).train()


def balance(model: nn.Module, batches: list[dict]) -> list[Row]:
    """One row per term, in the order of the log, and one per loss that is never called."""
    logits, calls = watch_logits(heads_by_name(model)), LossCalls(model)
    found = [measure(model, batch, logits) for batch in batches]
    means = {key: mean([each[key] for each in found]) for key in found[0]}
    first_key, first = next(iter(means.items()))
    missed = [entry for entry in calls.missed() if entry.holder is None]
    called = [entry for entry in calls.entries if entry not in missed]
    rows = []
    for key, gradients in means.items():
        weights = [weight_of(entry) for entry in called if entry.key == without_stage(key)]
        same_logits = head_of(key) == head_of(first_key)
        rows.append(
            Row(
                key,
                weights[0] if len(weights) == 1 else None,
                gradients,
                divide(gradients.at_logits, first.at_logits) if same_logits else math.nan,
                divide(gradients.at_parameters, first.at_parameters),
            )
        )
    for entry in missed:
        why = calls.explain([entry], missed)
        rows.append(Row(entry.key, weight_of(entry), None, uncalled=why))
    return rows


def weight_of(entry: Entry) -> float | None:
    return getattr(entry.loss, 'loss_weight', None)


def mean(found: list[Gradients]) -> Gradients:
    # A cosine is NaN in a batch where the term has no gradient.
    return Gradients(*torch.tensor(found, dtype=torch.float64).nanmean(0).tolist())


def watch_logits(heads: dict[str, nn.Module]) -> dict[str, list[Tensor]]:
    """A dict that holds, after each forward pass, what the losses of each head were given."""
    seen = {}

    def watch(name, loss_by_feat):
        def watched(logits, *args, **kwargs):
            several = isinstance(logits, (tuple, list))
            seen[name] = list(logits) if several else [logits]
            return loss_by_feat(logits, *args, **kwargs)

        return watched

    for name, head in heads.items():
        if hasattr(head, 'loss_by_feat'):
            compat.wrap_loss_by_feat(head, partial(watch, name))
    return seen


def measure(model: nn.Module, batch: dict, logits: dict[str, list[Tensor]]) -> dict[str, Gradients]:
    """Every term of one batch from one forward pass, so that all see the same dropout."""
    batch = model.data_preprocessor(batch, training=True)
    terms = dict(trained_terms(model(**batch, mode='loss')))
    parameters = [each for each in model.parameters() if each.requires_grad]
    first, found = None, {}
    for key, term in terms.items():
        head = head_of(key)
        at_logits = gradient(term, logits[head]) if head in logits else None
        at_parameters = gradient(term, parameters)
        first = first or (head, at_logits, at_parameters)
        comparable = at_logits is not None and head == first[0]
        found[key] = Gradients(
            term.item(),
            math.nan if at_logits is None else at_logits.norm().item(),
            cosine(at_logits, first[1]) if comparable else math.nan,
            at_parameters.norm().item(),
            cosine(at_parameters, first[2]),
        )
    return found


def trained_terms(losses: dict) -> Iterator[tuple[str, Tensor]]:
    """What MMEngine adds up to the loss: everything with 'loss' in its key."""
    for key, value in losses.items():
        if 'loss' in key:
            yield key, sum(each.mean() for each in (value if isinstance(value, list) else [value]))


def head_of(key: str) -> str:
    return key.split('.', 1)[0]


def gradient(term: Tensor, tensors: list[Tensor]) -> Tensor:
    """(all elements of all tensors,) float; 0 for what the term does not depend on."""
    if not term.requires_grad:  # a constant, where a loss had nothing to go by
        return torch.cat([torch.zeros_like(tensor).flatten() for tensor in tensors])
    parts = torch.autograd.grad(term, tensors, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(tensor) if part is None else part).flatten()
            for part, tensor in zip(parts, tensors, strict=True)
        ]
    )


def cosine(one: Tensor, other: Tensor) -> float:
    return divide(one.dot(other).item(), (one.norm() * other.norm()).item())


def divide(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def table(rows: list[Row], ratio: float) -> str:
    drawn = PrettyTable([*COLUMNS, f'for {ratio:g}'], align='r')
    drawn.align['term'] = 'l'
    for index, (key, weight, gradients, ratio_at_logits, ratio_at_parameters, _) in enumerate(rows):
        shown = '' if weight is None else f'{weight:.3g}'
        if gradients is None:
            drawn.add_row([key, shown, 'not called', *[''] * (len(COLUMNS) - 2)])
            continue
        wanted = '' if index == 0 else suggestion(weight, ratio, ratio_at_parameters)
        drawn.add_row(
            [
                key,
                shown,
                number(gradients.value),
                number(gradients.at_logits),
                number(ratio_at_logits),
                number(gradients.cosine_at_logits, '.2f'),
                number(gradients.at_parameters),
                number(ratio_at_parameters),
                number(gradients.cosine_at_parameters, '.2f'),
                wanted,
            ]
        )
    return drawn.get_string()


def suggestion(weight: float | None, wanted: float, found: float) -> str:
    """The weight for the wanted ratio, or the factor for it where no single loss has a weight."""
    factor = divide(wanted, found)
    if math.isnan(factor):
        return ''
    return f'x {factor:.3g}' if weight is None else number(weight * factor)


def number(value: float, form: str = '.3g') -> str:
    # + 0 turns what is rounded to -0 into 0
    return '' if math.isnan(value) else f'{float(f"{value:{form}}") + 0:{form}}'


def legend(ratio: float) -> Iterator[str]:
    last = f'for {ratio:g}'
    explained = COLUMNS | {last: f'the `loss_weight` that would make ratio p. {ratio:g}'}
    for column, meaning in explained.items():
        yield f'{column:<10}  {meaning}'


def remarks(rows: list[Row], config: Config) -> Iterator[str]:
    """Says in words what training would suffer from, by the table."""
    first = rows[0].key
    if not rows[0].gradients.at_parameters:
        yield f'{first} has no gradient here, so that nothing can be compared with it.'
    for key, *_, ratio, uncalled in rows[1:]:
        if uncalled:
            yield uncalled
        # Another head has parameters of its own, and its cross-entropy its own right.
        if key.split('.')[0] != first.split('.')[0]:
            continue
        share = f"{100 * ratio:.3g} % of {first}'s gradient at the parameters"
        if ratio < NEGLIGIBLE:
            yield f'{key} is negligible: {share}. Training would hardly notice it.'
        if ratio > DOMINANT:
            yield f'{key} is dominant: {share}. It would steer the training.'
    hooks = config.get('custom_hooks') or []
    if any(str(hook.get('type')).endswith('LossWeightSchedule') for hook in hooks):
        yield 'LossWeightSchedule moves weights in training; here they are those of the config.'
    if not config.get('load_from'):
        yield 'The balance moves as the net learns: look again with a CHECKPOINT.'


if __name__ == '__main__':
    main()
