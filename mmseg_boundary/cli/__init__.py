"""What the tools share on the command line. Importing it keeps what the stacks say of themselves
out of the output, changes nothing else outside the package, and ends the process with a sentence
where it cannot run in this installation."""

from ..requirements import UnfitInstallation

try:
    from .. import compat
except UnfitInstallation as error:
    raise SystemExit(str(error)) from None

compat.silence_imports()
