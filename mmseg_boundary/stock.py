"""Configs of MMSegmentation alone, from those that name this package.

A checkpoint of ours has the weights of a stock network, but its config does not parse where this
package cannot be imported. `python -m mmseg_boundary.config --stock CONFIG OUT` writes one that
does.
"""

# First, since it refuses an unfit installation before anything of it is imported.
from . import stacks  # noqa: F401

# isort: split
import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmseg import registry
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric

from .files import atomic_write
from .registered.datasets import ShapesDataset
from .registered.datasets.paired_folders import IMAGE_SUFFIXES, PairedFolders
from .registered.metrics import KNOWN

# MMSegmentation's class in the place of ours, with those of its arguments that both have.
STOCK_TYPES = {
    'BoundaryMetric': IoUMetric,
    'BoundarySegTTAModel': registry.MODELS.get('SegTTAModel'),
    'BoundaryVisualizationHook': registry.HOOKS.get('SegVisualizationHook'),
}
# Heads that call their losses by position, so that none may be left out.
BY_POSITION = ('DDRHead', 'PIDHead')
# The argument by which a transform fills or skips void labels.
VOID_ARGUMENTS = {
    'RandomCrop': 'ignore_index',
    'RandomMosaic': 'seg_pad_val',
    'RandomRotate': 'seg_pad_val',
}
SHAPES_ROOT = 'data/shapes'
REGISTRIES = [each for each in vars(registry).values() if isinstance(each, Registry)]
HEADER = """\
# MMSegmentation alone: `python -m mmseg_boundary.config --stock` has written this from
# {name}.
"""


class NoStockForm(ValueError):
    """A setting means nothing to MMSegmentation alone; the message names its key."""

    def __init__(self, key: str, what: str, remedy: str) -> None:
        super().__init__(f'{key} {what}, which has no form in MMSegmentation alone: {remedy}.')


def write_stock(path: str | Path, out: str | Path) -> None:
    """Writes the stock config of the config file `path` to `out`.

    Raises:
        ValueError: `path` is no file, `out` exists or is no '.py', or a setting has no stock form.
        UnwrittenFile: `out` cannot be written.
    """
    if not Path(path).is_file():
        raise ValueError(
            f'The config {path} does not exist; give the path of one, or the name of one of ours.'
        )
    if Path(out).suffix != '.py' or Path(out).exists():
        raise ValueError(f'{out} exists or does not end in .py; give the name of a new config.')
    stock = stock_config(Config.fromfile(path))
    with atomic_write(out) as unfinished:
        unfinished.write_text(HEADER.format(name=Path(path).name) + Config(stock).pretty_text)


def stock_config(config: Config) -> dict:
    """The settings without this package: they build the same network.

    - `BoundaryMetric`, `BoundarySegTTAModel` and `BoundaryVisualizationHook` become
      MMSegmentation's own, other hooks of ours are left out.
    - Losses of ours are left out, with what MMSegmentation's losses they hold left; where none is
      left stands the cross-entropy. Auxiliary heads of ours, which act in training alone, are left
      out.
    - Transforms of ours, which are random and act in training alone, are left out.
    - Data sets of ours become `BaseSegDataset`. CamVid's unlabelled pixels, 11 in its files, become
      the void label of heads, metric and transforms. The drawn shapes become files.
    - Variables that MMEngine's runner does not read are left out where they name this package.

    Raises:
        NoStockForm: a setting of ours has no stock form.
        ValueError: a setting cannot be written to a file.
    """
    given = config.to_dict()
    read = {*inspect.signature(Runner).parameters, 'tta_model', 'tta_pipeline'}
    kept = {
        key: value for key, value in given.items() if key in read or not list(_ours_in(value, key))
    }
    imports = kept.pop('custom_imports', None) or given.get('custom_imports')
    if imports and (others := _other_imports(imports)):
        kept['custom_imports'] = others
    for name in ('custom_hooks', 'default_hooks'):
        kept[name] = _without_hooks(kept.get(name))
        if kept[name] is None:
            del kept[name]
    _require_stock_monitors(kept, '')
    void = _void_of(kept)
    if 'model' in kept:
        kept['model'] = _without_losses(kept['model'], 'model')
    scope = kept.setdefault('default_scope', 'mmseg')
    if scope == 'mmseg_boundary':
        scope = kept['default_scope'] = 'mmseg'
    stock = {key: _stock(value, key, scope) for key, value in kept.items()}
    if void != 255:
        stock = {key: _with_void(value, void) for key, value in stock.items()}
    for key, value in stock.items():
        try:
            ast.literal_eval(repr(value))
        except (ValueError, SyntaxError):
            raise ValueError(f'{key} has a value that no config file can hold: {value!r}') from None
    return stock


def _our_class(settings: object) -> type | None:
    """The class of ours that settings are for, if any."""
    kind = settings.get('type') if isinstance(settings, dict) else None
    if isinstance(kind, type):
        kind = f'{kind.__module__}.{kind.__name__}'
    scope, _, name = kind.rpartition('.') if isinstance(kind, str) else ('', '', '')
    known = scope in ('', 'mmseg') or scope.partition('.')[0] == 'mmseg_boundary'
    for each in REGISTRIES if known else ():
        found = each.module_dict.get(name)
        if found is not None and found.__module__.partition('.')[0] == 'mmseg_boundary':
            return found
    return None


def _children(node: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, dict):
        yield from ((f'{key}.{name}'.lstrip('.'), value) for name, value in node.items())
    elif isinstance(node, (list, tuple)):
        yield from ((f'{key}.{place}', value) for place, value in enumerate(node))


def _ours_in(node: object, key: str) -> Iterator[str]:
    """The keys of what is of this package."""
    if _our_class(node) or (isinstance(node, str) and node.startswith('mmseg_boundary')):
        yield key
    for inner, value in _children(node, key):
        yield from _ours_in(value, inner)


def _other_imports(imports: dict) -> dict | None:
    names = imports.get('imports') or []
    names = [names] if isinstance(names, str) else names
    others = [name for name in names if name.partition('.')[0] != 'mmseg_boundary']
    return dict(imports, imports=others) if others else None


def _without_hooks(hooks: list | dict | None) -> list | dict | None:
    """The hooks but for those of ours that have no counterpart."""

    def stays(hook: object) -> bool:
        kind = _our_class(hook)
        return kind is None or not issubclass(kind, Hook) or kind.__name__ in STOCK_TYPES

    if isinstance(hooks, dict):
        return {name: hook for name, hook in hooks.items() if stays(hook)}
    return [hook for hook in hooks if stays(hook)] if hooks else hooks


def _require_stock_monitors(node: object, key: str) -> None:
    """Raises a NoStockForm where a checkpoint or an end of training goes by a metric of ours."""
    for inner, value in _children(node, key):
        if inner.rpartition('.')[2] in ('save_best', 'monitor'):
            for name in [value] if isinstance(value, str) else value or ():
                if isinstance(name, str) and name.rpartition('/')[2][1:].startswith(tuple(KNOWN)):
                    remedy = "set it to 'mIoU' or None in a config that inherits this one"
                    raise NoStockForm(inner, f"is '{name}'", remedy)
        _require_stock_monitors(value, inner)


# --- Losses ---------------------------------------------------------------------------------------


def _without_losses(node: object, key: str) -> object:
    """A network's settings without our losses and auxiliary heads."""
    if isinstance(node, (list, tuple)):
        return type(node)(_without_losses(value, inner) for inner, value in _children(node, key))
    if not isinstance(node, dict):
        return node
    node = dict(node)
    heads = node.get('auxiliary_head')
    if isinstance(heads, (list, tuple)):
        node['auxiliary_head'] = [head for head in heads if not _our_class(head)] or None
    elif _our_class(heads):
        node['auxiliary_head'] = None
    if 'loss_decode' in node:
        node['loss_decode'] = _stock_losses(node, key)
    return {
        name: value if name == 'loss_decode' else _without_losses(value, f'{key}.{name}')
        for name, value in node.items()
    }


def _stock_losses(head: dict, key: str) -> list[dict] | dict:
    """The losses of a head that are MMSegmentation's, or its cross-entropy."""
    given = head['loss_decode']
    if not list(_ours_in(given, '')):
        return given
    one_logit = head.get('out_channels') == 1
    plain = dict(type='CrossEntropyLoss', use_sigmoid=one_logit, avg_non_ignore=True)
    places = [_held(loss) for loss in (given if isinstance(given, (list, tuple)) else [given])]
    if str(head.get('type')).rpartition('.')[2] not in BY_POSITION:
        return sum(places, []) or [plain]
    for number, losses in enumerate(places):
        if len(losses) > 1:
            remedy = 'this head has a loss in each place; leave one there'
            raise NoStockForm(f'{key}.loss_decode.{number}', 'is a sum of losses', remedy)
    return [losses[0] if losses else plain for losses in places]


def _held(loss: dict, factor: float = 1.0) -> list[dict]:
    """MMSegmentation's losses in the settings of one, a wrapper of ours for instance."""
    weight = loss.get('loss_weight', 1.0) * factor
    if not _our_class(loss):
        return [loss if factor == 1 else dict(loss, loss_weight=weight)]
    inner = [*(loss.get('losses') or ()), *([loss['loss']] if 'loss' in loss else ())]
    return [held for each in inner for held in _held(each, weight)]


# --- All else -------------------------------------------------------------------------------------


def _stock(node: object, key: str, scope: str) -> object:
    """The settings with MMSegmentation's classes in the place of ours.

    Raises:
        NoStockForm: a class has none.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(
            _stock(value, inner, scope)
            for inner, value in _children(node, key)
            if not _is_our_transform(value)
        )
    if not isinstance(node, dict):
        if isinstance(node, str) and node.startswith(('mmseg_boundary', 'shapes://')):
            raise NoStockForm(key, f"is '{node}'", 'remove it from a config that inherits this one')
        return node
    node = dict(node)
    if node.get('_scope_') in ('mmseg_boundary', 'mmseg'):
        del node['_scope_']
        if scope != 'mmseg':
            node['_scope_'] = 'mmseg'
    kind = _our_class(node)
    if kind is not None and issubclass(kind, BaseSegDataset):
        node = _stock_dataset(node, key, kind)
    elif kind is not None and kind.__name__ in STOCK_TYPES:
        stock = STOCK_TYPES[kind.__name__]
        ours = {*inspect.signature(kind).parameters} - {*inspect.signature(stock).parameters}
        node = {name: value for name, value in node.items() if name not in ours}
        node['type'] = stock.__name__
    elif kind is None and isinstance(node.get('type'), str):
        node['type'] = _registered_name(node['type'])
    elif kind is not None:
        remedy = 'put a class of MMSegmentation in its place, in a config that inherits this one'
        raise NoStockForm(f'{key}.type', f"is '{kind.__name__}'", remedy)
    return {name: _stock(value, f'{key}.{name}', scope) for name, value in node.items()}


def _is_our_transform(settings: object) -> bool:
    kind = _our_class(settings)
    return kind is not None and issubclass(kind, BaseTransform)


def _registered_name(kind: str) -> str:
    """The name under which a class of a lazy config is registered, 'mmcv.transforms.Resize' as
    'Resize', by which MMSegmentation's inferencer looks for it; other names as they are."""
    package, name = kind.partition('.')[0], kind.rpartition('.')[2]
    if package in ('mmcv', 'mmengine', 'mmseg') and name != kind:
        for each in REGISTRIES:
            found = each.get(name)
            if isinstance(found, type) and found.__module__.partition('.')[0] == package:
                return name
    return kind


def _stock_dataset(node: dict, key: str, kind: type) -> dict:
    """`BaseSegDataset` with the files and classes of one of ours."""
    rest = {name: value for name, value in node.items() if name not in ('type', 'metainfo')}
    given = (node.get('metainfo') or {}).get('classes', kind.METAINFO['classes'])
    if list(given) != list(kind.METAINFO['classes']):
        remedy = f'leave the classes of {kind.__name__} as they are'
        raise NoStockForm(f'{key}.metainfo.classes', 'is a choice of classes', remedy)
    meta = dict(type='BaseSegDataset', metainfo={**kind.METAINFO, **(node.get('metainfo') or {})})
    if issubclass(kind, ShapesDataset):
        length, seed, size = (
            rest.pop(name, default) for name, default in (('length', 0), ('seed', 0), ('size', 0))
        )
        height, width = size or inspect.signature(kind).parameters['size'].default
        folder = f'{seed}/{height}x{width}'
        meta |= dict(data_root=SHAPES_ROOT, indices=length)
        meta['data_prefix'] = dict(img_path=f'{folder}/image', seg_map_path=f'{folder}/label')
        return {**meta, 'img_suffix': '.png', 'seg_map_suffix': '.png', **rest}
    if rest.pop('one_face', False):
        remedy = 'convert labels of 0 and 1, and take a BaseSegDataset'
        raise NoStockForm(f'{key}.one_face', 'joins all parts', remedy)
    if tuple(rest.pop('drive_part', (0, 1))) != (0, 1):
        remedy = 'list the images in a file and name that in ann_file'
        raise NoStockForm(f'{key}.drive_part', 'is a part of each drive', remedy)
    suffix = rest.pop('img_suffix', None)
    if suffix is None and issubclass(kind, PairedFolders):
        suffix = _suffix_in(rest)
    elif suffix is None:
        suffix = inspect.signature(kind).parameters['img_suffix'].default
    return {**meta, 'img_suffix': suffix, 'seg_map_suffix': '.png', **rest}


def _suffix_in(dataset: dict) -> str:
    """The suffix of a data set's images, as published where they are not on this machine."""
    prefix = (dataset.get('data_prefix') or {}).get('img_path', '')
    folder = Path(dataset.get('data_root') or '', prefix)
    found = (suffix for suffix in IMAGE_SUFFIXES if next(folder.rglob(f'*{suffix}'), None))
    return next(found, IMAGE_SUFFIXES[0])


# --- Void -----------------------------------------------------------------------------------------


def _void_of(config: dict) -> int:
    """The number of void pixels in the files of the data sets.

    Raises:
        NoStockForm: they have several.
    """
    voids = {
        key: _void_in_files(dataset)
        for key, value in config.items()
        if key.endswith('_dataloader') and value
        for dataset in _datasets(value.get('dataset'))
    }
    numbers = set(voids.values())
    if len(numbers) > 1:
        key = next(key for key, number in voids.items() if number != 255)
        remedy = 'give all loaders one data set'
        raise NoStockForm(f'{key}.dataset', 'has another void label than others', remedy)
    return numbers.pop() if numbers else 255


def _datasets(node: object) -> Iterator[dict]:
    """The data sets in one, which may be wrapped or concatenated."""
    inner = node.get('dataset', node.get('datasets')) if isinstance(node, dict) else node
    if isinstance(node, dict) and inner is None:
        yield node
    elif isinstance(inner, (list, tuple)):
        for each in inner:
            yield from _datasets(each)
    elif inner is not None:
        yield from _datasets(inner)


def _void_in_files(dataset: dict) -> int:
    kind = _our_class(dataset)
    if kind is None:
        return 255
    moved = {old: new for old, new in (kind.get_label_map() or {}).items() if old != new}
    return next((old for old, new in moved.items() if new == 255), 255)


def _with_void(node: object, void: int) -> object:
    """The settings of heads, metrics and transforms with `void` in the place of 255."""
    if isinstance(node, (list, tuple)):
        return type(node)(_with_void(value, void) for value in node)
    if not isinstance(node, dict):
        return node
    node = {name: _with_void(value, void) for name, value in node.items()}
    name = str(node.get('type')).rpartition('.')[2]
    if 'loss_decode' in node or name == 'IoUMetric':
        node['ignore_index'] = void
    if name == 'SegDataPreProcessor':
        node['seg_pad_val'] = void
    if name in VOID_ARGUMENTS:
        node[VOID_ARGUMENTS[name]] = void
    return node
