"""Every patch of foreign code, with its reason; a patch can be deleted when its reason is gone.

`install` has what our configs and metrics need, whichever tool runs them, and is called when
`mmseg_boundary.registered` is imported. All else changes how the whole process reads checkpoints,
writes files or reports errors, and is for our own tools alone (`cli.patches`). Importing this
module patches nothing.
"""

# First, since it refuses a broken installation before anything of it is imported.
from .stacks import STACK

# isort: split
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from .files import atomic_write

# --- What our configs and metrics need ------------------------------------------------------------


def install() -> None:
    """Applies the patches that our configs and metrics need; may be repeated."""
    resolve_packages()
    draw_labels_on_contiguous_images()


@cache
def resolve_packages() -> None:
    """Makes `mmseg::…` and `mmseg_boundary::…` resolve in `_base_`, whatever reads the config.

    Our configs call it while they are read, before MMEngine imports `custom_imports`.
    """
    import mmengine.config.config as loader
    from mmengine.config import utils
    from mmengine.config.utils import MODULE2PACKAGE

    # onedl: the table names the distribution 'mmsegmentation', which is 'onedl-mmsegmentation'
    # there. A name that is no distribution is looked up as a module, on both stacks.
    MODULE2PACKAGE['mmseg'] = 'mmseg'
    # both: the table lists the packages of OpenMMLab, and refuses every other (mmengine #1410).
    MODULE2PACKAGE['mmseg_boundary'] = 'mmseg_boundary'
    # mmlab: both functions import pkg_resources, which setuptools 82 removed, and do not find an
    # editable install of ours. Other packages stay theirs.
    is_installed, get_installed_path = loader.is_installed, loader.get_installed_path
    folders = {
        'mmseg': str(Path(find_spec('mmseg').origin).parent),
        'mmseg_boundary': str(Path(__file__).parent),
    }
    loader.is_installed = lambda package: package in folders or is_installed(package)
    loader.get_installed_path = lambda package: (
        folders[package] if package in folders else get_installed_path(package)
    )
    # both: reads the index files of all networks for each `mmseg::`, a third of a second.
    utils.load = cache(utils.load)


@cache
def draw_labels_on_contiguous_images() -> None:
    """Lets MMSegmentation's `browse_dataset.py` draw labels."""
    import numpy as np
    from mmseg.visualization import SegLocalVisualizer

    # mmlab: the canvas has the layout of the image, which is a permuted tensor there, and OpenCV
    # draws on rows of pixels alone.
    if STACK == 'mmlab':
        draw = SegLocalVisualizer._draw_sem_seg
        SegLocalVisualizer._draw_sem_seg = lambda self, image, *args, **options: draw(
            self, np.ascontiguousarray(image), *args, **options
        )


def prefer_greater(keys: Iterable[str]) -> None:
    """Lets `save_best='mBoundaryF_3px'` and early stopping do without a `rule`."""
    from mmengine.hooks import CheckpointHook, EarlyStoppingHook

    # both: whether more is better goes by parts of the metric's key, of which they know their own.
    for hook in (CheckpointHook, EarlyStoppingHook):
        known = hook._default_greater_keys
        known.extend(key for key in keys if key not in known)


# --- For our tools alone --------------------------------------------------------------------------


@cache
def silence_imports() -> None:
    """Keeps what the stacks say of themselves when they are imported out of the output; call it
    before MMSegmentation is imported. Everything else is said as before."""
    import mmengine.logging

    # onedl: prints, twice, that a package is missing which no user of ours can have.
    print_log, said = mmengine.logging.print_log, 'Could not import OneDL'
    mmengine.logging.print_log = lambda msg, logger=None, level=logging.INFO: (
        None
        if (msg, logger, level) == (said, None, logging.DEBUG)
        else print_log(msg, logger, level)
    )
    # onedl: warns that mmcv has no compiled operators. `cli.parts` says so where a net needs one.
    warnings.filterwarnings(
        'ignore', 'Fail to import ``MultiScaleDeformableAttention``', module='mmcv'
    )
    # mmlab: looks up a `package::` of a config in pkg_resources, which says at each import and
    # reload that it is deprecated (setuptools 80 and 81).
    warnings.filterwarnings(
        'ignore', 'pkg_resources is deprecated', module=r'(mmengine\..*|importlib)$'
    )


def build_without_deprecated_functions() -> None:
    """Lets MMSegmentation's decode heads build their parts without a warning about MMSegmentation;
    other code that calls the same functions is warned as before. May be repeated."""
    from mmseg.models import builder, decode_heads  # noqa: F401
    from mmseg.registry import MODELS, TASK_UTILS
    from mmseg.structures import build_pixel_sampler

    # mmlab: build_loss. both: build_pixel_sampler.
    build = {
        builder.build_loss: MODELS.build,
        build_pixel_sampler: lambda cfg, **default_args: TASK_UTILS.build(
            cfg, default_args=default_args
        ),
    }
    for name, module in list(sys.modules.items()):
        if name.startswith('mmseg.models.decode_heads.'):
            for function in ('build_loss', 'build_pixel_sampler'):
                held = getattr(module, function, None)
                if held in build:
                    setattr(module, function, build[held])


def load_checkpoints_with(load: Callable, safe_globals: Callable[[], list]) -> None:
    """Has everything in this process read checkpoints with `load`; may be repeated.

    Args:
        load: takes the place of `CheckpointLoader.load_checkpoint`, with the class as its first
            argument.
        safe_globals: the names that a file may ask for.
    """
    from mmengine.runner import CheckpointLoader, checkpoint

    # both: torch obeys this over any argument: onedl's loader falls back to running a pickle that
    # it could not load safely, torch.hub asks for that, and users of mmlab often have the opposite.
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    # onedl: its own loader would add another list, with the real getattr.
    checkpoint.get_torch_safe_globals = safe_globals
    # both: here alone every scheme comes by (files, URLs, names of published weights), and a list
    # can be put in place for as long as a file is read.
    CheckpointLoader.load_checkpoint = classmethod(load)


class AtomicBackend(LocalBackend):
    """MMEngine's file system with atomic writes: a file has another name until it is complete, so
    that a run that is killed meanwhile leaves the previous checkpoint."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes `obj` to `filepath` atomically."""
        with atomic_write(filepath) as unfinished:
            super().put(obj, unfinished)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Writes `obj` to `filepath` atomically."""
        with atomic_write(filepath) as unfinished:
            super().put_text(obj, unfinished, encoding)


def write_files_atomically() -> None:
    """Has MMEngine write checkpoints and other files atomically; may be repeated."""
    # both: a checkpoint has its name from the first byte on, and MMEngine resumes from half of it.
    register_backend('local', AtomicBackend, force=True, prefixes='')


class UnfitFile(ValueError):
    """An image or a label map that cannot be used for training or testing; names the file."""


@cache
def name_unfit_files() -> None:
    """Lets MMSegmentation's loading transforms name the file that they fail on. Another project
    may want labels of another size than the image's."""
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    load_image, load_labels = LoadImageFromFile.transform, LoadAnnotations._load_seg_map

    # both: the errors of OpenCV and Pillow do not say in which file, and in hundreds of thousands
    # nobody finds it.
    def transform(self, results: dict) -> dict | None:
        with _named(results['img_path']):
            return load_image(self, results)

    # both: labels of another size than the image's are silently cropped in other places.
    def _load_seg_map(self, results: dict) -> None:
        # an assertion is about `reduce_zero_label`
        with _named(results['seg_map_path'], AssertionError):
            load_labels(self, results)
        shape = results['gt_seg_map'].shape
        size, expected = shape[:2], results.get('ori_shape')
        if len(shape) != 2:
            raise UnfitFile(
                f'The labels {results["seg_map_path"]} have {shape[2]} channels: give one class '
                'number per pixel, in a grayscale or palette image.'
            )
        if expected is not None and tuple(size) != tuple(expected[:2]):
            raise UnfitFile(
                f'The labels {results["seg_map_path"]} are {size[0]} x {size[1]} pixels (height x '
                f'width), but the image {results["img_path"]} is {expected[0]} x {expected[1]}: '
                'give labels of the size of their image, or remove both.'
            )

    LoadImageFromFile.transform = transform
    LoadAnnotations._load_seg_map = _load_seg_map


@contextmanager
def _named(path: str, *others: type[Exception]) -> Iterator[None]:
    """Turns errors into an `UnfitFile` that names the file; `others` are raised as they are."""
    try:
        yield
    # A missing package, an unknown backend, a key that is not in the results: the file is fine.
    except (MemoryError, ImportError, LookupError, ValueError, *others):
        raise
    except Exception as error:
        reason = 'it is empty, cut off or no image'
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise UnfitFile(
            f'{path} cannot be read: {reason}. Restore it, or take it out of the data set.'
        ) from error


# --- One object alone -----------------------------------------------------------------------------


@contextmanager
def psa_masks_from(mask: type) -> Iterator[None]:
    """Has a `PSAHead` that is built meanwhile take `mask` for mmcv's operator `PSAMask`."""
    from mmseg.models.decode_heads import psa_head

    # both: the head refuses to be built where mmcv has no compiled operators, and on a CPU the
    # operator takes seconds.
    stock, psa_head.PSAMask = psa_head.PSAMask, mask
    try:
        yield
    finally:
        psa_head.PSAMask = stock


def wrap_load_checkpoint(runner: object, wrap: Callable[[Callable], Callable]) -> None:
    """Wraps the function by which a runner loads a checkpoint."""
    # both: hooks hear of a checkpoint when it is in the net, and no more which keys did not fit.
    # A FlexibleRunner resumes by its strategy, and returns nothing.
    loader = getattr(runner, 'strategy', runner)
    loader.load_checkpoint = wrap(loader.load_checkpoint)


def wrap_init_weights(model: object, wrap: Callable[[Callable], Callable]) -> None:
    """Wraps the function by which a model begins with pretrained weights."""
    # both: nothing hears of keys that a file lacks, but for a line in the log.
    if hasattr(model, 'init_weights'):
        model.init_weights = wrap(model.init_weights)


def wrap_process(metric: object, wrap: Callable[[Callable], Callable]) -> None:
    """Wraps the function by which a metric takes a batch."""
    # both: IoUMetric writes label images there, and an OSError of its own does not say for what.
    metric.process = wrap(metric.process)


def wrap_loss_by_feat(head: object, wrap: Callable[[Callable], Callable]) -> None:
    """Wraps the function by which a decode head goes from logits to losses."""
    # both: no forward hook sees these logits, since heads call their own `forward`.
    head.loss_by_feat = wrap(head.loss_by_feat)


def wrap_predict_by_feat(head: object, wrap: Callable[[Callable], Callable]) -> None:
    """Wraps the function by which a decode head goes from logits to those of an image."""
    # both: as above; and the size that they are resized to is known nowhere else.
    head.predict_by_feat = wrap(head.predict_by_feat)
