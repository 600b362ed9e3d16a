"""Distribution `mmseg-boundary`. Neither OpenMMLab stack is required here: both answer to the same
import names, and pip would install the frozen one over the maintained one."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'mmseg_boundary/__init__.py').read_text())[1]

setup(
    name='mmseg-boundary',
    version=VERSION,
    description='Losses and metrics for the boundaries of semantic segmentation',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmseg_boundary', 'mmseg_boundary.*']),
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
