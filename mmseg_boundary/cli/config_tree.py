"""Finds dicts and checkpoints in a config, at any depth."""

from collections.abc import Iterator

from mmengine.config import Config


def dicts_in(config: object, key: str = '') -> Iterator[tuple[str, dict]]:
    """Every dict of a config, with its key as `--cfg-options` writes it."""
    if isinstance(config, dict):
        yield key, config
        parts = list(config.items())
    else:
        parts = list(enumerate(config)) if isinstance(config, (list, tuple)) else []
    for name, part in parts:
        yield from dicts_in(part, f'{key}.{name}' if key else str(name))


def checkpoints_in(config: Config, training: bool) -> list[str]:
    """Every checkpoint that a run reads: paths, URLs and MMEngine's names for URLs."""
    found = [config.get('load_from'), *(pretrained_in(config.model).values() if training else ())]
    return list(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def pretrained_in(model: dict) -> dict[str, str]:
    """{key as `--cfg-options` writes it: the checkpoint that a part of the model begins with}."""
    found = {}
    for key, node in dicts_in(model, 'model'):
        found[f'{key}.pretrained'] = node.get('pretrained')
        if node.get('type') == 'Pretrained':
            found[f'{key}.checkpoint'] = node.get('checkpoint')
    return {key: name for key, name in found.items() if isinstance(name, str) and name}
