"""The paths of our configs: `python -m mmseg_boundary.config pspnet_epl_city` prints one, and
`--stock CONFIG OUT` writes a config for MMSegmentation alone."""

import argparse
from pathlib import Path

from .requirements import UnfitInstallation

_PACKAGE = Path(__file__).parent
# `.mim` comes with an installation; a clone on PYTHONPATH has none, but the folder itself.
_FOLDERS = [_PACKAGE / '.mim/configs/configs', _PACKAGE.parent / 'configs']
# What our configs inherit, examples of another style, and what `tools/study.py` reads.
_NO_CONFIGS = {'_base_', 'lazy', 'studies'}


def path(name: str) -> str:
    """The absolute path of a config of this package, to inherit from anywhere.

    Args:
        name: the file's name, such as 'pspnet_epl_city', with or without '.py', in whichever
            folder of `configs/` it is.

    Raises:
        ValueError: there is no such config; the message lists those that exist.
    """
    folder = next(filter(Path.is_dir, _FOLDERS), _FOLDERS[0]).resolve()
    known = {
        file.stem: str(file)
        for file in sorted(folder.rglob('*.py'))
        if not _NO_CONFIGS & set(file.relative_to(folder).parts)
    }
    if name.removesuffix('.py') not in known:
        raise ValueError(f"{folder} has no config '{name}', but these: {', '.join(known)}.")
    return known[name.removesuffix('.py')]


def main() -> None:
    """Prints the path of the config that the command line names, or writes its stock form."""
    parser = argparse.ArgumentParser(
        prog='python -m mmseg_boundary.config',
        description='Print the path of a config, or write one for MMSegmentation alone',
    )
    parser.add_argument('name', nargs='?', help='such as pspnet_epl_city')
    parser.add_argument(
        '--stock',
        nargs=2,
        metavar=('CONFIG', 'OUT'),
        help='write CONFIG, a file or one of our names, to OUT without anything of this package',
    )
    args = parser.parse_args()
    if (args.name is None) == (args.stock is None):
        parser.error('give the name of a config, or --stock CONFIG OUT')
    try:
        if args.stock is None:
            print(path(args.name))
            return
        config, out = args.stock
        # Not above: our configs import this module while they are read. `cli` first, which keeps
        # what the stacks say of themselves out of the output.
        from . import cli  # noqa: F401
        from .stock import write_stock

        write_stock(config if config.endswith('.py') else path(config), out)
    except (ValueError, OSError, UnfitInstallation) as error:
        raise SystemExit(str(error)) from None


if __name__ == '__main__':
    main()
