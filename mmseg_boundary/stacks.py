"""The two OpenMMLab stacks under one code base: what differs between them, and why.

`onedl` is the maintained continuation (onedl-mmengine, onedl-mmcv, onedl-mmsegmentation), `mmlab`
the frozen originals (mmengine, mmcv, mmsegmentation). Both have the same import names, so only one
of them can be installed. Importing this module checks that, and then mends, line by line, what
keeps our configs from loading; each mend can be deleted when its reason is gone.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULES = {'mmengine': 'mmengine', 'mmcv': 'mmcv', 'mmseg': 'mmsegmentation'}
MINIMUM_VERSIONS = {'mmengine': '0.10.4', 'mmcv': '2.0.0', 'mmseg': '1.2.0'}


class UnfitStack(RuntimeError):
    """What is wrong with the installed stack, and the command that mends it.

    Not an ImportError: MMEngine replaces those by one that hides the message.
    """

    def __init__(self, problem: str, command: str) -> None:
        super().__init__(f'{problem}: {command}')
        self.problem = problem
        self.command = command


def installed_stack() -> str:
    """The stack that provides MMSegmentation here: 'onedl' or 'mmlab'.

    A checkout on PYTHONPATH has no distribution and counts as 'mmlab', whose names it bears.

    Raises:
        UnfitStack: both stacks or none are installed, or a part of the one is too old.
    """
    missing = [module for module in MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise UnfitStack(
            f'mmseg_boundary.registered needs MMSegmentation, but {", ".join(missing)} cannot be '
            "imported. Install one stack, in this package's folder (or, for the frozen originals, "
            "'.[mmlab]')",
            "pip install -e '.[onedl]'",
        )
    originals = [name for name in MODULES.values() if _is_distribution(name)]
    continued = [f'onedl-{name}' for name in MODULES.values() if _is_distribution(f'onedl-{name}')]
    if originals and continued:
        raise UnfitStack(
            f'Both OpenMMLab stacks are installed ({", ".join(continued + originals)}) and '
            "overwrite each other's files. Remove all of them, then install one",
            f"pip uninstall -y {' '.join(continued + originals)} && pip install -e '.[onedl]'",
        )
    stack = 'onedl' if continued else 'mmlab'
    _require_minimum_versions('onedl-' if stack == 'onedl' else '')
    return stack


def has_compiled_operators() -> bool:
    """Whether mmcv's compiled operators are there: PSANet and CCNet cannot be built without."""
    return importlib.util.find_spec('mmcv._ext') is not None


def _is_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _require_minimum_versions(prefix: str) -> None:
    # Minima alone: an upper bound would refuse the very releases that mend things.
    from mmengine.utils import digit_version

    for module, minimum in MINIMUM_VERSIONS.items():
        version = importlib.import_module(module).__version__
        if digit_version(version) < digit_version(minimum):
            raise UnfitStack(
                f'mmseg_boundary needs {module} {minimum} or newer, but {version} is installed',
                f"pip install -U '{prefix}{MODULES[module]}>={minimum}'",
            )


def _mend_config_loader() -> None:
    """Makes `mmseg::…` and `mmseg_boundary::…` resolve in `_base_`, whatever reads the config."""
    import mmengine.config.config as loader
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
        'mmseg': str(Path(importlib.util.find_spec('mmseg').origin).parent),
        'mmseg_boundary': str(Path(__file__).parent),
    }
    loader.is_installed = lambda package: package in folders or is_installed(package)
    loader.get_installed_path = lambda package: (
        folders[package] if package in folders else get_installed_path(package)
    )


def mend_visualizer() -> None:
    """Lets MMSegmentation's `browse_dataset.py` paint labels."""
    import numpy as np
    from mmseg.visualization import SegLocalVisualizer

    # mmlab: the canvas has the layout of the image, which is a permuted tensor there, and OpenCV
    # draws on rows of pixels alone.
    if STACK == 'mmlab':
        draw = SegLocalVisualizer._draw_sem_seg
        SegLocalVisualizer._draw_sem_seg = lambda self, image, *args, **options: draw(
            self, np.ascontiguousarray(image), *args, **options
        )


class UnfitFile(ValueError):
    """A picture or a label map that cannot be trained or tested with; names the file."""


def mend_loading() -> None:
    """Lets MMSegmentation's loading transforms name the file that they fail on, in our tools alone:
    another project may want labels of another size than the image's."""
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    load_image, load_labels = LoadImageFromFile.transform, LoadAnnotations._load_seg_map

    # both: the errors of OpenCV and Pillow do not say in which file, and in hundreds of thousands
    # nobody finds it.
    def transform(self, results: dict) -> dict | None:
        with _named(results['img_path']):
            return load_image(self, results)

    # both: labels of another size than the image's are cropped in other places, in silence.
    def _load_seg_map(self, results: dict) -> None:
        # an assertion is about `reduce_zero_label`
        with _named(results['seg_map_path'], AssertionError):
            load_labels(self, results)
        size, expected = results['gt_seg_map'].shape[:2], results.get('ori_shape')
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
    """Has errors say that the file cannot be read, but for `others`, which say something else."""
    try:
        yield
    # A missing package, an unknown backend, a key that is not in the results: not the file's fault.
    except (MemoryError, ImportError, LookupError, ValueError, *others):
        raise
    except Exception as error:
        reason = 'it is empty, cut off or no picture'
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise UnfitFile(
            f'{path} cannot be read: {reason}. Restore it, or take it out of the data set.'
        ) from error


STACK = installed_stack()
_mend_config_loader()
