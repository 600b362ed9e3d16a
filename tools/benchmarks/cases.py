"""The measured cases: rows of forms of one definition, by subject."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_boundary import losses as ours
from mmseg_boundary.geometry.distance import distances_between, signed_distances
from mmseg_boundary.labels import encode
from mmseg_boundary.losses.epl import reference
from mmseg_boundary.losses.epl.rays import Rays, ray_sums
from mmseg_boundary.metrics import boundary_f, count_boundary_iou, count_trimap_iou

from . import peers
from .scenes import LABELS, USUAL, Sample, blobs, samples

WEIGHTS = {'point': 0.02, 'line': 0.2}  # of the published code
WIDTHS = (1, 2, 3, 5, 9, 15)  # BoundaryMetric's
CROPS = [
    (2, 6, 128, 128),
    (2, 19, 128, 128),
    (2, 11, 240, 320),
    (2, 6, 256, 512),
    (2, 19, 256, 512),
]


class Setting(NamedTuple):
    """The settings of the command line; `config` is that of `step`."""

    device: str
    threads: int
    quick: bool
    config: str


class Form(NamedTuple):
    """One way to compute something: {case: run}, what has to run once before it is measured, and
    the cases whose peaks are taken (None for all)."""

    cases: dict[str, Callable[[], object]]
    warm_up: Sequence[Callable[[], object]] = ()
    peaks: Sequence[str] | None = None


class Row(NamedTuple):
    """A line of the table; one of the forms is 'ours'."""

    name: str
    forms: dict[str, Form]
    moved: int  # bytes read and written, at the least
    result: int  # bytes
    threads: int
    exps: int = 0
    equal: float | None = None  # how far apart the results may be, as a share of the largest entry
    unlike: str = ''  # the form whose result is another


# --- Losses ---------------------------------------------------------------------------------------


def forward_backward(loss: Callable, sample: Sample) -> Tensor:
    """The value; the gradient is computed too."""
    value = loss(*sample)
    torch.autograd.grad(value, sample.probs)
    return value.detach()


def of_log_probs(loss: Callable, probs: Tensor, labels: Tensor) -> Tensor:
    """A loss of logits, for which the logarithms of the probabilities serve."""
    return loss(probs.clamp(min=1e-30).log(), labels)


def epl(probs: Tensor, labels: Tensor, form: str, part: str, w: int, mu: int, splitter='A'):
    """A term of EPL or, if `part` is 'both', their weighted sum, from probabilities and labels."""
    terms = dict(ours=ours, plain=reference, published=peers)[form]
    target = labels if form == 'published' else encode(labels, probs.shape[1])
    total = 0.0
    if part != 'line':
        total += WEIGHTS['point'] * terms.epl_point_loss(probs, target, w, splitter)
    if part != 'point':
        total += WEIGHTS['line'] * terms.epl_line_loss(probs, target, w, splitter, mu)
    return total


def losses(setting: Setting) -> Iterator[Row]:
    shape = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    shown = samples(setting.device, *shape)
    tiny = samples(setting.device, 1, shape[1], 32, 32, kinds=['blobs'])[USUAL]
    for name, part, w, mus, names in (
        ('EPL, w=7', 'both', 7, (10, 2), ('published',)),
        ('EPL, w=13', 'both', 13, (10, 2), ('plain', 'published')),
        ('EPL, w=15', 'both', 15, (10,), ('published',)),
        ('EPL, w=23', 'both', 23, (2,), ('published',)),
        ('point term, w=13', 'point', 13, (10,), ('published',)),
        ('line term, w=13', 'line', 13, (10, 2), ('published',)),
    ):
        each_mu = {mu: partial(epl, form='ours', part=part, w=w, mu=mu) for mu in mus}
        cases = {
            f'{case}, mu {mu}': partial(forward_backward, loss, sample)
            for mu, loss in each_mu.items()
            for case, sample in shown.items()
        }
        warm_up = [cases[f'{USUAL}, mu {mu}'] for mu in mus]
        # mu does not change the memory
        forms = {'ours': Form(cases, warm_up, [f'{case}, mu {mus[0]}' for case in shown])}
        for peer in names:
            loss = partial(epl, form=peer, part=part, w=w, mu=mus[0])
            forms[peer] = Form(
                {f'{USUAL}, mu {mus[0]}': partial(forward_backward, loss, shown[USUAL])},
                [partial(forward_backward, loss, tiny)],
                # Peaks take twice the time: those of the wide kernels, half a minute each.
                None if part == 'both' and w <= 13 else (),
            )
        yield loss_row(setting, name, forms, shown, 0 if part == 'point' else w)
    forms = {}
    for name, loss in (
        ('ours', lambda p, y: ours.bf1_loss(p, encode(y, p.shape[1]), 3, 5)),
        ('plain', lambda p, y: peers.bf1_loss(p, y, 3, 5)),
    ):
        cases = {case: partial(forward_backward, loss, each) for case, each in shown.items()}
        forms[name] = Form(cases, [cases[USUAL]])
    yield loss_row(setting, 'BF1, windows 3 and 5', forms, shown)
    forms = {}
    for name, loss in (
        ('ours', lambda z, y: ours.active_boundary_loss(z, encode(y, z.shape[1]))),
        ('plain', peers.active_boundary_loss),
    ):
        cases = {
            case: partial(forward_backward, partial(of_log_probs, loss), each)
            for case, each in shown.items()
        }
        forms[name] = Form(cases, [cases[USUAL]])
    yield loss_row(setting, 'active boundary', forms, shown)


def loss_row(
    setting: Setting, name: str, forms: dict, shown: dict, w: int = 0, splitter: str = 'A'
) -> Row:
    """A row with its floor; `w` is the kernel size, 0 without a line term."""
    probs, labels = shown[USUAL]
    h, exps = w // 2, [0]
    for labels in {id(each.labels): each.labels for each in shown.values()}.values() if w else ():
        masks = encode(labels, probs.shape[1]).masks.float()
        rays = Rays(w, splitter, 'constant')
        lines = (((e >= 1) & (e <= h)).sum() for e in ray_sums(masks, rays))
        exps.append(h * sum(lines).item())
    moved, exps = 2 * probs.nbytes + labels.nbytes, max(exps)
    return Row(name, forms, moved, probs.nbytes, setting.threads, exps, 1e-4, unlike='published')


def growth(setting: Setting) -> Iterator[Row]:
    n, k, h, w = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    plans = [(f'{h * s // 2}x{w * s // 2}', k, h * s // 2, w * s // 2, 7, 'A') for s in (1, 2, 4)]
    plans += [(f'{classes} classes', classes, h, w, 7, 'A') for classes in (5, 10, 19, 40)]
    plans += [(f'w={kernel}', k, h, w, kernel, 'A') for kernel in (7, 13, 23, 31)]
    plans += [(f'splitter {splitter}', k, h, w, 7, splitter) for splitter in 'ABC']
    for name, classes, height, width, kernel, splitter in plans:
        shown = samples(setting.device, n, classes, height, width, kinds=['blobs'])
        loss = partial(epl, form='ours', part='both', w=kernel, mu=10, splitter=splitter)
        run = partial(forward_backward, loss, shown[USUAL])
        forms = {'ours': Form({USUAL: run}, [run])}
        yield loss_row(setting, f'EPL at {name}', forms, shown, kernel, splitter)


# --- Distances and metrics ------------------------------------------------------------------------


def distances(setting: Setting) -> Iterator[Row]:
    present, height, width = (3, 24, 40) if setting.quick else (12, 512, 1024)
    classes = 19

    def measure(labels: Tensor) -> Tensor:
        target = encode(labels, classes)
        return signed_distances(target.regions, *target.cached(distances_between))

    def peer(form: Callable, labels: Tensor) -> np.ndarray:
        return form(labels[0].cpu().numpy(), classes)[None]

    maps = {kind: draw(1, present, height, width) for kind, draw in LABELS.items()}
    maps = {kind: labels.to(setting.device) for kind, labels in maps.items()}
    for threads in (1, 2):
        forms = {}
        for name, form in (
            ('ours', measure),
            ('plain', partial(peer, peers.signed_distances_by_opencv)),
            ('published', partial(peer, peers.signed_distances)),
        ):
            cases = {kind: partial(form, labels) for kind, labels in maps.items()}
            forms[name] = Form(cases, [cases['blobs']] if name == 'ours' else ())
        name = (
            f'signed distances, {present} of {classes} classes, {height}x{width}, {threads} threads'
        )
        labels, result = maps['blobs'], 4 * classes * height * width
        yield Row(name, forms, labels.nbytes + result, result, threads, equal=1e-4)


def metrics(setting: Setting) -> Iterator[Row]:
    """The published three beside `BoundaryMetric`, which takes the IoU too."""
    from mmseg_boundary.metrics.boundary_iou import width_at_ratio
    from mmseg_boundary.registered import BoundaryMetric

    classes, *size = (4, 24, 40) if setting.quick else (19, 1024, 2048)
    own = (width_at_ratio(*size), *WIDTHS)
    metric = BoundaryMetric(widths=WIDTHS, prefix='')
    metric.dataset_meta = dict(classes=[str(k) for k in range(classes)])
    for kind, draw in LABELS.items():
        pred, label = (draw(1, classes, *size, wobble)[0] for wobble in (1, 0))
        arrays = pred.byte().numpy(), label.byte().numpy(), classes
        given = pred.to(setting.device), label.to(setting.device), classes
        sample = dict(pred_sem_seg=dict(data=given[0][None]), gt_sem_seg=dict(data=given[1][None]))
        pairs = {
            f'Boundary IoU, {len(own)} widths': (
                partial(count_boundary_iou, *given, own),
                partial(peers.count_boundary_iou, *arrays, own),
            ),
            f'boundary F, {len(WIDTHS)} radii': (
                partial(boundary_f, *given, WIDTHS),
                partial(peers.boundary_f, *arrays, WIDTHS),
            ),
            f'trimap IoU, {len(WIDTHS)} widths': (
                partial(count_trimap_iou, *given, WIDTHS),
                partial(peers.count_trimap_iou, *arrays, WIDTHS),
            ),
        }
        published = [theirs for _, theirs in pairs.values()]

        def whole(metric=metric, sample=sample) -> tuple:
            metric.results.clear()
            metric.process({}, [sample])
            (record,) = metric.results
            return record['BoundaryIoU'], record['BoundaryF'], record['TrimapIoU']

        if kind == 'thin':
            pairs.clear()
        pairs['BoundaryMetric'] = whole, lambda published=published: [each() for each in published]
        for name, (mine, theirs) in pairs.items():
            forms = {'ours': Form({'': mine}, [mine]), 'published': Form({'': theirs})}
            moved = pred.nbytes + label.nbytes
            yield Row(f'{name}, {kind}', forms, moved, 0, setting.threads, equal=1e-12)


# --- The training step ----------------------------------------------------------------------------


def step(setting: Setting) -> Iterator[Row]:
    """The losses of ours in the decode head, and the step (forward, backward, SGD) around them;
    random weights and images."""
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample
    from mmseg.utils import register_all_modules

    import mmseg_boundary.cli  # noqa: F401
    import mmseg_boundary.registered  # noqa: F401
    from mmseg_boundary.registered.model_losses import OURS

    config = Config.fromfile(setting.config)
    register_all_modules()
    config.model.pretrained = None
    net = revert_sync_batchnorm(MODELS.build(config.model)).to(setting.device).train()
    head = net.decode_head.loss_decode
    in_head = [
        loss
        for loss in (head if isinstance(head, torch.nn.ModuleList) else [head])
        if isinstance(loss, OURS)
    ]
    if not in_head:
        raise SystemExit(f'The decode head of {setting.config} has no loss of ours.')
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    given = {}
    for loss in in_head:
        loss.register_forward_pre_hook(lambda loss, inputs: given.update({loss: inputs[:2]}))

    def train(height: int, width: int) -> None:
        inputs = torch.randn(2, 3, height, width, device=setting.device)
        samples = []
        for label in blobs(2, net.decode_head.num_classes, height, width).to(setting.device):
            samples.append(SegDataSample(metainfo=dict(img_shape=(height, width))))
            samples[-1].gt_sem_seg = PixelData(data=label[None])
        total, _ = net.parse_losses(net.loss(inputs, samples))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        for loss, (logits, labels) in given.items():
            given[loss] = logits.detach().requires_grad_(), labels

    def alone() -> list:
        return [
            torch.autograd.grad(loss(logits, labels.clone()), logits)
            for loss, (logits, labels) in given.items()
        ]

    height, width = config.crop_size
    forms = {
        'ours': Form({'': alone}, [partial(train, height, width), alone]),
        'whole step': Form({'': partial(train, height, width)}),
    }
    name = f'{" + ".join(type(loss).__name__ for loss in in_head)} in {Path(setting.config).stem}'
    result = 2 * 4 * net.decode_head.num_classes * height * width
    yield Row(name, forms, 2 * result, result, setting.threads)


# --- What a loss costs ----------------------------------------------------------------------------


def heads_losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """{name: function of logits and labels}: the cross-entropy, every module of ours, and the
    cross-entropy in `NeighbourPenalised`, which needs MMSegmentation."""
    modules = [name for name in ours.__all__ if isinstance(getattr(ours, name), type)]
    found = {'cross-entropy': F.cross_entropy}
    found |= {name: getattr(ours, name)() for name in sorted(modules)}
    return found | {'NeighbourPenalised, cross-entropy': penalised_cross_entropy}


def penalised_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(
        ours.neighbour_penalised(logits, encode(labels, logits.shape[1])), labels
    )


def loss_runs(shape: Sequence[int], device: str) -> dict[str, Callable[[], object]]:
    """Forward and backward passes from logits, with new labels as in every iteration."""
    sample = samples(device, *shape, kinds=['blobs'])[USUAL]
    logits = (sample.probs.detach() + 1e-4).log().requires_grad_()

    def run(loss: Callable) -> None:
        torch.autograd.grad(loss(logits, sample.labels.clone()), logits)

    return {name: partial(run, loss) for name, loss in heads_losses().items()}


def costs(setting: Setting) -> Iterator[Row]:
    for shape in [(1, 4, 24, 40)] if setting.quick else CROPS:
        images, classes, height, width = shape
        runs = loss_runs(shape, setting.device)
        forms = {name: Form({'': run}, [run]) for name, run in runs.items()}
        name = f'{images} x {classes} classes, {height}x{width}'
        yield Row(name, forms, 0, 0, setting.threads)


# --- Beside losses of other packages --------------------------------------------------------------


def others(setting: Setting) -> Iterator[Row]:
    """Forward and backward passes from logits, of ours with the default arguments."""
    shape = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    sample = samples(setting.device, *shape, kinds=['blobs'])[USUAL]
    logits = (sample.probs.detach() + 1e-4).log().requires_grad_()

    def run(loss: Callable) -> None:
        torch.autograd.grad(loss(logits, sample.labels.clone()), logits)

    for name, (mine, theirs) in pairs().items():
        runs = {'ours': partial(run, getattr(ours, mine)()), 'published': partial(run, theirs)}
        forms = {form: Form({'': each}, [each]) for form, each in runs.items()}
        yield Row(f'{name} and {mine}', forms, 2 * logits.nbytes, logits.nbytes, setting.threads)


def pairs() -> dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    """{name: (the loss of ours that is nearest, theirs)}; MONAI's where it is installed."""
    import mmseg_boundary.cli  # noqa: F401

    # isort: split
    from mmseg.models import losses as mmseg

    found = {
        'MMSeg HuasdorffDisstanceLoss': ('HausdorffDTLoss', mmseg.HuasdorffDisstanceLoss()),
        'MMSeg DiceLoss': ('SoftDiceLoss', mmseg.DiceLoss(use_sigmoid=False)),
        'MMSeg LovaszLoss': ('JaccardLoss', mmseg.LovaszLoss(reduction='none')),
        'MMSeg TverskyLoss': ('JaccardLoss', mmseg.TverskyLoss()),
        'published EPL': ('EPLLoss', _published_epl),
        'published boundary loss': ('KervadecBoundaryLoss', _published_boundary_loss),
        'BF1 by max_pool2d': ('BF1Loss', lambda z, y: peers.bf1_loss(z.softmax(1), y, 3, 5)),
    }
    if find_spec('monai'):
        from monai import losses as monai

        form = dict(softmax=True, to_onehot_y=True)
        for mine, theirs in {
            'HausdorffDTLoss': monai.HausdorffDTLoss(include_background=True, **form),
            'GeneralizedDiceLoss': monai.GeneralizedDiceLoss(**form),
            'SoftDiceLoss': monai.DiceLoss(**form),
        }.items():
            name = f'MONAI {type(theirs).__name__}'
            found[name] = mine, lambda z, y, loss=theirs: loss(z, y[:, None])
    return found


def _published_epl(logits: Tensor, labels: Tensor) -> Tensor:
    return epl(logits.softmax(1), labels, 'published', 'both', 7, 10)


def _published_boundary_loss(logits: Tensor, labels: Tensor) -> Tensor:
    maps = [peers.signed_distances(label.cpu().numpy(), logits.shape[1]) for label in labels]
    return (logits.softmax(1) * torch.from_numpy(np.stack(maps)).to(logits.device)).mean()


SUBJECTS = dict(
    losses=losses,
    distances=distances,
    metrics=metrics,
    growth=growth,
    step=step,
    costs=costs,
    others=others,
)
