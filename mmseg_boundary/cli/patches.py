"""What our tools change in foreign code beyond what configs need, in their own process alone."""

from .. import compat
from . import safe_loading


def install() -> None:
    """For a tool's `main()`, before it reads a config; may be repeated.

    From here on no checkpoint runs code, MMEngine writes files as a whole or not at all, and the
    loading transforms name a file that is unfit.
    """
    compat.install()
    safe_loading.install()
    compat.write_files_atomically()
    compat.name_unfit_files()
