"""Makes pretrained weights of published files, with the key names of our backbones.

python tools/convert_checkpoint.py wider_resnet38.pth.tar pretrained/wider_resnet38.pth

Knows, by their keys, WRN-38 of NVIDIA's, DRN of its authors, ResNet with the stem of semseg, and
torchvision's ResNet and MobileNetV2. Of a file, the tensors of its weights are kept but for the
classifier; `module.` at their beginning is removed. A file is read without running what code it
may hold. Where that is refused, and you know where the file comes from, --unsafe reads it all the
same.
"""

import argparse
import pickle
import re
from pathlib import Path
from typing import NamedTuple

import torch

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
from mmengine.runner import CheckpointLoader

from mmseg_boundary.cli import patches, safe_loading
from mmseg_boundary.cli.errors import stop
from mmseg_boundary.cli.outputs import require_file
from mmseg_boundary.files import UnwrittenFile, atomic_write


class Network(NamedTuple):
    """A published form of weights."""

    name: str
    has: tuple[str, ...]  # patterns, each of which a key begins with
    classifier: str  # a pattern that the keys of the classifier begin with
    renamed: dict[str, str]  # {what a key begins with there: here}


STEM = {
    'conv1.': 'stem.0.', 'bn1.': 'stem.1.', 'conv2.': 'stem.3.', 'bn2.': 'stem.4.',
    'conv3.': 'stem.6.', 'bn3.': 'stem.7.',
}  # fmt: skip
# The first that fits is meant.
NETWORKS = (
    Network('WRN-38', (r'mod1\.conv1\.', r'mod7\.block1\.'), r'classifier\.', {}),
    Network('DRN', (r'layer1\.', r'layer8\.'), r'fc\.', {}),
    Network('ResNet with the stem of semseg', (r'conv3\.', r'layer4\.'), r'fc\.', STEM),
    Network("torchvision's ResNet", (r'conv1\.', r'layer4\.'), r'fc\.', {}),
    Network("torchvision's MobileNetV2", (r'features\.18\.',), r'classifier\.', {}),
)
WEIGHTS = ('state_dict', 'model_state', 'model')  # where files have them, if not at the top


def main() -> None:
    """Converts the file that the command line names."""
    parser = argparse.ArgumentParser(description='Convert published weights of a backbone')
    parser.add_argument('source', type=Path, help='the published file')
    parser.add_argument('target', type=Path, help='the file to write')
    parser.add_argument(
        '--unsafe',
        action='store_true',
        help='read a file of any content, and run the code that it may hold',
    )
    args = parser.parse_args()
    if args.target.exists():
        stop(f'{args.target} exists; name a new file, or remove it first.')
    try:
        require_file(args.target, 'The converted file')
        given = weights_of(read(args.source, args.unsafe))
        network = network_of(given, args.source)
        weights, dropped = converted(given, network)
        with atomic_write(args.target) as unfinished:
            torch.save(dict(state_dict=weights), unfinished)
    except UnwrittenFile as error:
        stop(str(error))
    left_out = f'; left out: {", ".join(dropped)}' if dropped else ''
    print(f'{network.name}: {len(weights)} tensors in {args.target}{left_out}')


def read(path: Path, unsafe: bool) -> object:
    """The content of a file; ends the process where that cannot be read."""
    if not path.is_file():
        stop(f'{path} does not exist. docs/configs.md says where published files come from.')
    try:
        if unsafe:
            return torch.load(path, map_location='cpu', weights_only=False)
        patches.install()
        return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    except safe_loading.OldTorch as error:
        stop(str(error))
    except pickle.UnpicklingError:
        if not unsafe:
            stop(
                f'{path} cannot be read as tensors and plain values: it is damaged, or reading it '
                'would mean to run code that it brings, so it is refused. If you know where it '
                'comes from, give --unsafe.'
            )
        stop(f'{path} is damaged or no checkpoint.')
    except (RuntimeError, EOFError):
        stop(f'{path} is damaged, not whole or no checkpoint.')


def weights_of(content: object) -> dict[str, torch.Tensor]:
    """The tensors of the weights in a file."""
    for key in WEIGHTS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    return {
        re.sub(r'^module\.', '', key): value
        for key, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }


def network_of(weights: dict[str, torch.Tensor], source: Path) -> Network:
    """The network that weights are of; ends the process where none is known."""
    for network in NETWORKS:
        if all(any(re.match(pattern, key) for key in weights) for pattern in network.has):
            return network
    names = ', '.join(network.name for network in NETWORKS)
    found = f'begins with {next(iter(weights))}' if weights else 'has no tensors'
    stop(f'{source} {found}, and is of none of the networks that are known here: {names}.')


def converted(
    weights: dict[str, torch.Tensor], network: Network
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights of the backbone by their new names, and the keys that are left out."""
    kept, dropped = {}, []
    for key, value in weights.items():
        if re.match(network.classifier, key):
            dropped.append(key)
            continue
        for theirs, ours in network.renamed.items():
            if key.startswith(theirs):
                key = ours + key.removeprefix(theirs)
                break
        # Alone: a view would be stored with all of what it is a part of.
        kept[key] = value.detach().clone()
    return kept, dropped


if __name__ == '__main__':
    main()
