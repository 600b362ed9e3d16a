"""The patches of foreign code that our tools alone need, in their own process."""

from .. import compat
from . import safe_loading


def install() -> None:
    """Applies the patches; a tool's `main()` calls it before it reads a config. May be repeated.

    From then on no checkpoint runs code, MMEngine writes files atomically, the loading transforms
    name a file that is unfit, and MMSegmentation does not warn of itself.
    """
    compat.install()
    safe_loading.install()
    compat.write_files_atomically()
    compat.name_unfit_files()
    compat.build_without_deprecated_functions()
