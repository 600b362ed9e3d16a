"""The code that a study runs, a commit in a worktree of its own or the working tree as it is, and
its hash for the rows."""

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

from ..stacks import STACK
from .plan import UnfitStudy

PARTS = ('mmseg_boundary', 'tools', 'configs')
# A study that is added or extended changes no result of another; its settings are in its rows.
NOT_HASHED = 'configs/studies/'


class Code(NamedTuple):
    """A commit, checked out at `folder`; without one, the working tree there."""

    folder: Path
    commit: str | None
    hash: str


def find(root: Path, wanted: str | None, study: Path) -> tuple[str, str]:
    """The commit that is to run, and the hash of its code.

    Args:
        root: of the repository.
        wanted: a commit; None is the current one, which the working tree has to be.
        study: the study's file.

    Raises:
        UnfitStudy: this is no clone, there is no such commit, or the tree has other content.
    """
    try:
        commit = _git(root, 'rev-parse', '--verify', '--quiet', f'{wanted or "HEAD"}^{{commit}}')
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise UnfitStudy(
            f'{root} has no commit {wanted or "HEAD"}; a study runs from a git clone of this '
            'repository, at a commit of it.'
        ) from None
    # With a commit named, what is in the tree beside the study does not matter.
    own = [str(study.resolve())] if study.resolve().is_relative_to(root.resolve()) else []
    looked_at = PARTS if wanted is None else own
    changed = _git(root, 'status', '--porcelain', '--', *looked_at) if looked_at else ''
    changed = changed.splitlines()
    if changed:
        raise UnfitStudy(
            f'The working tree has changes that are not committed ({changed[0].strip()}'
            f'{", …" if changed[1:] else ""}), and rows name the commit that made them: commit or '
            'stash them, or run with --commit.'
        )
    return commit, hash_of(root, commit)


def hash_of(root: Path, commit: str) -> str:
    """The hash of the package, the tools and the configs at a commit."""
    files = _git(root, 'ls-tree', '-r', commit, '--', *PARTS).splitlines()
    counted = [line for line in files if not line.split('\t')[1].startswith(NOT_HASHED)]
    return hashlib.sha256('\n'.join(counted).encode()).hexdigest()[:16]


def in_place(root: Path) -> Code:
    """The working tree as it is, which need not be a git clone.

    Its hash is of the files' content and of the stack; no commit has the same.
    """
    digest = hashlib.sha256(STACK.encode())
    for path in sorted(each for part in PARTS for each in (root / part).rglob('*')):
        name = path.relative_to(root)
        hidden = any(part.startswith('.') or part == '__pycache__' for part in name.parts)
        if path.is_file() and not hidden and not name.as_posix().startswith(NOT_HASHED):
            digest.update(f'\n{name.as_posix()}\n'.encode() + path.read_bytes())
    return Code(root, None, f'in place {digest.hexdigest()[:16]}')


def check_out(root: Path, folder: Path, commit: str, code_hash: str) -> Code:
    """The commit as a worktree at `folder`; one that is there is brought to it."""
    if not (folder / '.git').exists():
        _git(root, 'worktree', 'prune')
        _git(root, 'worktree', 'add', '--force', '--detach', str(folder), commit)
    elif current(folder) != commit:
        _git(folder, 'checkout', '--quiet', '--detach', commit)
    code = Code(folder, commit, code_hash)
    require_untouched(code)
    return code


def current(folder: Path) -> str:
    """The commit that is checked out."""
    return _git(folder, 'rev-parse', 'HEAD')


def require_untouched(code: Code) -> None:
    """Raises an UnfitStudy if somebody wrote into the tree from which a study runs."""
    if code.commit is None:
        if in_place(code.folder) != code:
            raise UnfitStudy(
                f'The package, tools or configs in {code.folder} changed while a study ran in '
                'place: begin anew with another --work-dir, or run a commit, without --in-place.'
            )
        return
    changed = _git(code.folder, 'status', '--porcelain').splitlines()
    if changed or current(code.folder) != code.commit:
        raise UnfitStudy(
            f'{code.folder}, from which the study runs, is no longer commit {code.commit[:12]}'
            f'{f" ({changed[0].strip()})" if changed else ""}: remove that folder, and run again.'
        )


def _git(folder: Path, *arguments: str) -> str:
    command = ['git', '-C', str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip('\n')
