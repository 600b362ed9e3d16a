"""The one step of building that pyproject.toml cannot express; all else stands there."""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithMim(build_py):
    """Adds `mmseg_boundary/.mim`, where MMEngine and MIM look for a package's configs and tools:
    copies in a wheel, links in an editable install."""

    # MMEngine's `package::folder/file.py` wants a folder, and our bases stand in the same one.
    PLACES = {'configs': 'configs/configs', 'tools': 'tools'}
    # Of the tools, those that say something of this package, not of a user's net.
    LEFT_OUT = {'configs': (), 'tools': ('benchmark.py', 'benchmarks', 'demo.py')}

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
                left_out = shutil.ignore_patterns('__pycache__', *self.LEFT_OUT[folder])
                shutil.copytree(source, target, ignore=left_out)

    def get_source_files(self) -> list[str]:
        """What an sdist holds: the two folders too, whole, so that a wheel can be built from it."""
        files = [str(file) for folder in self.PLACES for file in Path(folder).rglob('*.*')]
        return super().get_source_files() + [f for f in files if f.endswith(('.py', '.sh', '.md'))]


setup(cmdclass={'build_py': BuildWithMim})
