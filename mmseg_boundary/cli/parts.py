"""Checks before a run that its launcher, operators, data, checkpoints and device are there."""

import os
import re
from inspect import signature
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import DATASETS

from .. import stacks
from .config_tree import checkpoints_in, dicts_in, pretrained_in
from .errors import stop
from .ranks import LAUNCHERS

MIXED_PRECISION = 'AmpOptimWrapper'
# As MMEngine finds {{$NAME:default}}.
VARIABLE = re.compile(r"""\{\{['"]?\s*\$(\w+)\s*:\s*(\S*?)\s*['"]?\}\}""")
HEADS_WITH_OPERATORS = {'PSAHead': 'PSAMask', 'CCHead': 'CrissCrossAttention'}


def require_parts(config: Config, dataloaders: tuple[str, ...]) -> None:
    """Ends the process if an operator, a data set or a checkpoint of the run is missing.

    Args:
        config: the whole config.
        dataloaders: the names of those that will be read, such as 'train_dataloader'.

    Raises:
        SystemExit: something is missing; says which, and the remedy.
    """
    _require_operators(config.model)
    for name in dataloaders:
        _require_data(name, config)
    # A run that is resumed reads its own instead of `load_from`.
    unread = config.get('load_from') if config.get('resume') else None
    for checkpoint in checkpoints_in(config, training=False):
        if checkpoint != unread:
            require_checkpoint(checkpoint)
    if 'train_dataloader' in dataloaders:
        for key, name in pretrained_in(config.model).items():
            _require_pretrained(key, name)


def require_checkpoint(name: str) -> None:
    """Ends the process where a checkpoint is no file; a URL may be one."""
    if not _may_exist(name):
        stop(
            f'The checkpoint {name} does not exist. Training writes iter_N.pth, and the last '
            "one's name into last_checkpoint, in its work folder (work_dirs/CONFIG)."
        )


def _require_pretrained(key: str, name: str) -> None:
    if not _may_exist(name):
        none = key.removesuffix('.checkpoint')
        # An entry of a list cannot be replaced by an option.
        without = f', or train without: {none}=None' if not none[-1].isdigit() else ''
        stop(
            f'The checkpoint {name} does not exist, with whose weights a part of the network is to '
            'begin. docs/configs.md says where such files come from, and '
            'tools/convert_checkpoint.py converts them. Put it there, or name another with '
            f'--cfg-options {key}=/path/to/file.pth{without}'
        )


def _may_exist(name: str) -> bool:
    return '://' in name or Path(name).expanduser().is_file()


def require_launched(launcher: str) -> None:
    """Ends a process that was not started by the launcher that it is told.

    Raises:
        SystemExit: says what starts it.
    """
    if launcher not in LAUNCHERS:
        return
    variables, command = LAUNCHERS[launcher]
    missing = [name for name in variables if name not in os.environ]
    if missing:
        stop(
            f'--launcher {launcher} finds no {", ".join(missing)} in the environment: start it by '
            f'{command}, or leave --launcher out and run one process.'
        )


def require_device(config: Config) -> None:
    """Ends the process where a training in mixed precision has no GPU.

    Raises:
        SystemExit: says what to do.
    """
    kinds = [node.get('type') for _, node in dicts_in(config.get('optim_wrapper'))]
    names = [kind if isinstance(kind, str) else getattr(kind, '__name__', '') for kind in kinds]
    if MIXED_PRECISION in names and get_device() in ('cpu', 'mps'):
        stop(
            f'Mixed precision (--amp, or {MIXED_PRECISION} in the config) needs a GPU, and torch '
            'finds none. Train without it; `python -m mmseg_boundary.check` says what torch is '
            'built for.'
        )


def _require_operators(model: dict) -> None:
    if stacks.has_compiled_operators():
        return
    for _, node in dicts_in(model):
        operator = HEADS_WITH_OPERATORS.get(node.get('type'))
        if operator:
            mmcv = 'onedl-mmcv' if stacks.STACK == 'onedl' else 'mmcv==2.1.0'
            stop(
                f"{node['type']} needs mmcv's compiled {operator}, and mmcv is installed without "
                'its operators. Compile it (mmlab: with setuptools below 81): pip install '
                f'--no-build-isolation --no-cache-dir --force-reinstall --no-deps {mmcv}'
            )


def _require_data(dataloader: str, config: Config) -> None:
    for key, dataset in dicts_in(config.get(dataloader), dataloader):
        # Only the file system can be checked here, no other storage.
        if not dataset.get('data_root') or dataset.get('backend_args'):
            continue
        # Labels are not checked: a test set may have none.
        images = (dataset.get('data_prefix') or {}).get('img_path')
        places = list(filter(None, (dataset.get('ann_file'), images)))
        for place in places:
            path = Path(dataset['data_root'], place)
            if '://' in str(place) + dataset['data_root']:
                continue
            if not path.exists():
                stop(
                    f'The data set is not there: {path} ({key}, {dataset.get("type")}) does not '
                    f'exist. Put or link the data at {dataset["data_root"]}, or name its place: '
                    f'{_ways_to_name(dataset["data_root"], config)}'
                )
            # a list says which images there are, and else the folder does
            suffix = _image_suffix(dataset)
            if place == places[0] and not _has_names(path, suffix):
                wanted = suffix and f' that end in {suffix!r}, its img_suffix'
                stop(
                    f'The data set is empty: {path} ({key}, {dataset.get("type")}) has no images'
                    f'{wanted}. Is it the right place?'
                )


def _ways_to_name(root: str, config: Config) -> str:
    """The variable that the config reads this folder from, if it does, and the options that name
    another folder for all data sets of the config that lie in it."""
    variables = {
        f'{name}=/path/to/data, or '
        for name, default in VARIABLE.findall(config.text)
        if os.environ.get(name, default) == root
    }
    options = [
        f'{key}.data_root=/path/to/data'
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for key, node in dicts_in(config.get(loader), loader)
        if node.get('data_root') == root
    ]
    return f'{"".join(sorted(variables))}--cfg-options {" ".join(options)}'


def _image_suffix(dataset: dict) -> str:
    """The suffix that the images must have; '' if any will do."""
    suffix, kind = dataset.get('img_suffix'), dataset.get('type')
    if suffix is None and isinstance(kind, str):
        known = DATASETS.get(kind)
        default = signature(known).parameters.get('img_suffix') if known else None
        suffix = default.default if default else None
    return suffix if isinstance(suffix, str) else ''


def _has_names(path: Path, suffix: str) -> bool:
    """Whether a list has a line, or a folder, at whatever depth, a file of this suffix."""
    if path.is_file():
        return bool(path.read_text().strip())
    folders = os.walk(path, followlinks=True)
    return any(name.endswith(suffix) for _, _, names in folders for name in names)
