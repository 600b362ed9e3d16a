"""Distribution `mmseg-boundary`. Neither OpenMMLab stack is required here: both answer to the same
import names, and pip would install the frozen one over the maintained one."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'mmseg_boundary/__init__.py').read_text())[1]


class BuildWithMim(build_py):
    """Adds `mmseg_boundary/.mim`, where MMEngine and MIM look for a package's configs and tools:
    copies in a wheel, links in an editable install."""

    # MMEngine's `package::folder/file.py` wants a folder, and our bases stand in the same one.
    PLACES = {'configs': 'configs/configs', 'tools': 'tools'}

    def run(self) -> None:
        super().run()
        mim = Path(HERE if self.editable_mode else self.build_lib, 'mmseg_boundary/.mim')
        shutil.rmtree(mim, ignore_errors=True)
        (mim / 'configs').mkdir(parents=True)
        (mim / 'model-index.yml').write_text('Import: []\n')  # MMEngine refuses to do without
        for folder, place in self.PLACES.items():
            source, target = HERE / folder, mim / place
            if self.editable_mode:
                target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=True)
            else:
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))

    def get_source_files(self) -> list[str]:
        """What an sdist holds: the two folders too, so that a wheel can be built from it."""
        files = [str(file) for folder in self.PLACES for file in Path(folder).rglob('*.*')]
        return super().get_source_files() + [f for f in files if f.endswith(('.py', '.sh'))]


setup(
    name='mmseg-boundary',
    version=VERSION,
    description='Losses and metrics for the boundaries of semantic segmentation',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmseg_boundary', 'mmseg_boundary.*']),
    cmdclass={'build_py': BuildWithMim},
    install_requires=['numpy', 'scipy'],
    extras_require={
        'onedl': [
            'onedl-mmengine>=0.10.12',
            'onedl-mmcv>=2.3.6',
            'onedl-mmsegmentation>=1.4.2',
        ],
        # mmsegmentation refuses mmcv 2.2.0, and imports the last two without asking for them
        'mmlab': [
            'mmengine>=0.10.4',
            'mmcv>=2.0.0,<2.2.0',
            'mmsegmentation>=1.2.0',
            'ftfy',
            'regex',
        ],
        'tests': ['pytest', 'hypothesis', 'seaborn', 'tensorboard'],
    },
)
