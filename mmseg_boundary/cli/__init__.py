"""What the tools share on the command line. Importing it changes nothing outside the package, and
ends the process with a sentence where it cannot run in this installation."""

from ..requirements import UnfitInstallation

try:
    from .. import stacks  # noqa: F401
except UnfitInstallation as error:
    raise SystemExit(str(error)) from None
