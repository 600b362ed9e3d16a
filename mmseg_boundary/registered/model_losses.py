"""The losses in the heads of a segmentor: their keys in its log, and whether they are called."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mmengine.dist import all_gather_object
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmseg.models.decode_heads import DDRHead, PIDHead
from torch import nn

from ..losses.decode_head_loss import DecodeHeadLoss
from .loss_wrapper import LossWrapper, name_of

OURS = (DecodeHeadLoss, LossWrapper)
# Heads that call their losses by position, and log them under names of their own.
POSITIONS = {
    DDRHead: ('loss_context', 'loss_spatial'),
    PIDHead: ('loss_sem_p', 'loss_sem_i', 'loss_bd', 'loss_sem_bd'),
}


class Entry(NamedTuple):
    """One loss in a model.

    Attributes:
        head: the log's name of the segmentor's head: 'decode', 'aux', 'decode_0', ….
        owner: the module that has the loss: this head, or one inside it.
        place: where its owner has it, such as 'loss_decode[1]'.
        key: its key in the log, without the stage that K-Net appends ('.s0'). A loss in a wrapper
            (`LossSum`, `NeighbourPenalised`) has the key of that before its own name:
            'decode.loss_sum.loss_epl'.
        loss: the module.
        holder: the outermost wrapper that calls it, whose value alone is logged, or None.
    """

    head: str
    owner: nn.Module
    place: str
    key: str
    loss: nn.Module
    holder: 'Entry | None' = None

    @property
    def title(self) -> str:
        return f'{self.place} ({type(self.loss).__name__})'


class UncalledLoss(ValueError):
    """The heads of a model do not call some of its losses; says which."""

    same_on_all_ranks = True


class LossCalls:
    """Watches which losses of a model are called, from now on.

    Args:
        model: a segmentor, wrapped or not.
    """

    def __init__(self, model: nn.Module) -> None:
        self.entries = losses_of(model)
        for entry in self.entries:
            # The hooks stay, and write an attribute: a compiled model would be compiled anew if
            # they were removed, or changed something that the next call guards.
            if not hasattr(entry.loss, '_was_called'):
                entry.loss.register_forward_pre_hook(_mark)
            entry.loss._was_called = False

    def missed(self) -> list[Entry]:
        """The losses that no rank has called since then; the same on all ranks."""
        ranks = all_gather_object([entry.loss._was_called for entry in self.entries])
        calls = map(any, zip(*ranks, strict=True))
        return [entry for entry, called in zip(self.entries, calls, strict=True) if not called]

    def explain(self, chosen: Sequence[Entry], missed: Sequence[Entry]) -> str:
        """Says what the heads call instead of `chosen` (of those `missed`), and the remedy."""
        chosen = list(dict.fromkeys(entry.holder or entry for entry in chosen))
        owners = {id(entry.owner): entry for entry in chosen}.values()
        return ' '.join(
            _sentence(
                head,
                owner,
                [entry for entry in chosen if entry.owner is owner],
                [e for e in self.entries if e.owner is owner and not e.holder and e not in missed],
            )
            for head, owner, *_ in owners
        )


def _mark(loss: nn.Module, args: tuple) -> None:
    loss._was_called = True


def _sentence(head: str, owner: nn.Module, lost: list[Entry], called: list[Entry]) -> str:
    def listed(entries):
        return ' and '.join(entry.title for entry in entries)

    name = f'{type(owner).__name__}, logged as {head!r},'
    if not called:
        return (
            f'{name} calls none of its losses, so that {listed(lost)} would train nothing: take '
            'the loss or the head out of the config.'
        )
    one, other = type(called[0].loss).__name__, type(lost[0].loss).__name__
    return (
        f'{name} calls {listed(called)} alone, so that {listed(lost)} would train nothing. Put '
        f"{other} in the place of one that is called, or add it to one: dict(type='LossSum', "
        f'losses=[dict(type={one!r}, ...), dict(type={other!r}, ...)]).'
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, another wrapper, or test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def heads_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """The heads of a segmentor as its log names them: 'decode', 'aux', in lists 'decode_0', …"""
    named = {}
    for part, name in (('decode_head', 'decode'), ('auxiliary_head', 'aux')):
        heads = getattr(model, part, None)
        if isinstance(heads, nn.ModuleList):
            named |= {f'{name}_{index}': head for index, head in enumerate(heads)}
        elif isinstance(heads, nn.Module):
            named[name] = heads
    return named


def losses_of(model: nn.Module) -> list[Entry]:
    """Every loss in the heads of a segmentor, nested heads (K-Net's) included.

    These are the entries of every `loss_decode`, what a head of ours has beside that
    (`further_losses`), what the wrappers among them hold, and losses of ours wherever else a head
    has them.
    """
    entries = []
    for name, head in heads_by_name(unwrapped(model)).items():
        found = [entry for owner in head.modules() for entry in _configured(name, owner)]
        # including their parts, such as the two terms of EPLLoss
        known = {part for entry in found for part in entry.loss.modules()}
        for place, module in head.named_modules():
            if isinstance(module, OURS) and module not in known:
                found.append(Entry(name, head, place, f'{name}.{module.loss_name}', module))
                known.update(module.modules())
        entries += found
    return entries


def _configured(head: str, owner: nn.Module) -> Iterator[Entry]:
    losses = getattr(owner, 'loss_decode', None)
    if not isinstance(losses, nn.Module):
        return
    several = isinstance(losses, nn.ModuleList)
    names = next((names for kind, names in POSITIONS.items() if isinstance(owner, kind)), ())
    # PointRend's head, alone, puts a word before the names of its losses
    point = 'point' if hasattr(owner, 'get_points_train') else ''
    for index, loss in enumerate(losses if several else [losses]):
        name = names[index] if index < len(names) else point + name_of(loss)
        place = f'loss_decode[{index}]' if several else 'loss_decode'
        entry = Entry(head, owner, place, f'{head}.{name}', loss)
        yield entry
        yield from _held(entry, entry)
    for place in getattr(owner, 'further_losses', ()):  # such as GSCNNHead's
        if (loss := getattr(owner, place)) is not None:
            entry = Entry(head, owner, place, f'{head}.{place}', loss)
            yield entry
            yield from _held(entry, entry)


def _held(entry: Entry, outermost: Entry) -> Iterator[Entry]:
    held_by = entry.loss.held if isinstance(entry.loss, LossWrapper) else {}
    for place, loss in held_by.items():
        held = entry._replace(
            place=f'{entry.place}.{place}',
            key=f'{entry.key}.{name_of(loss)}',
            loss=loss,
            holder=outermost,
        )
        yield held
        yield from _held(held, outermost)


def find_loss(model: nn.Module, name: str) -> Entry:
    """The one loss that `name` stands for, its key or the key without parts other than the last.

    Raises:
        ValueError: none or several are meant, or the loss has no `loss_weight`.
    """
    known = {}
    for entry in losses_of(model):
        # MMEngine trains nothing else
        if entry.holder or 'loss' in entry.key:
            known.setdefault(entry.key, []).append(entry)
    keys = [name] if name in known else [key for key in known if _is_short_for(name, key)]
    whole = without_stage(name)
    if not keys and whole in known:
        raise ValueError(
            f'{name!r} is one stage of a loss with one weight for all of them: name {whole!r} '
            'instead.'
        )
    if not keys:
        raise ValueError(
            f'No loss of this model is logged as {name!r}; choose one of {quoted(known)}.'
        )
    if len(keys) > 1:
        raise ValueError(f'{name!r} is the name of several losses; choose one of {quoted(keys)}.')
    if len(known[keys[0]]) > 1:
        raise ValueError(
            f'{len(known[keys[0]])} losses share the key {keys[0]!r}: give each a `loss_name` of '
            'its own in the config.'
        )
    (entry,) = known[keys[0]]
    if not hasattr(entry.loss, 'loss_weight'):
        raise ValueError(
            f'{keys[0]!r} is a {type(entry.loss).__name__}, which has no `loss_weight` to move: '
            'take it out of the schedules.'
        )
    return entry


def without_stage(key: str) -> str:
    """The key of a loss from one of the log's, where K-Net appends the stage.

    >>> without_stage('decode.loss_ce.s0'), without_stage('aux.loss_ce')
    ('decode.loss_ce', 'aux.loss_ce')
    """
    return re.sub(r'\.s\d+$', '', key)


def _is_short_for(name: str, key: str) -> bool:
    """Whether `name` is the key without some of its parts, the last one excepted."""
    *parts, last = name.split('.')
    *rest, end = key.split('.')
    remaining = iter(rest)
    return last == end and all(part in remaining for part in parts)


def quoted(names: Sequence[str]) -> str:
    """For an error message: the names, between quotation marks."""
    return ', '.join(map(repr, names))
