"""The files of tests that take longest (half a minute or more on one core), the longest first.

They begin in this order, so that both processes of `make test` end together. pytest-xdist by itself
begins with the files that have most tests, and a single test of minutes would come last.
`pytest --durations=0` prints the times.
"""

from pathlib import Path

TESTS = Path(__file__).parents[1]

FILES = (
    'tools/test_demo.py',
    'cli/test_checkpoints.py',
    'cli/test_safe_loading.py',
    'tools/test_alongside.py',
    'losses/epl/test_epl.py',
    'tools/test_killed.py',
    'tools/test_schedule.py',
    'study/test_runs.py',
    'cli/test_errors.py',
    'tools/test_benchmark.py',
    'tools/test_installed.py',
    'tools/test_train.py',
    'tools/test_test.py',
    'test_docs.py',
    'tools/test_loss_balance.py',
    'tools/test_elsewhere.py',
    'tools/test_distributed_equals_one.py',
    'cli/test_outputs.py',
    'test_check.py',
    'configs/test_configs.py',
    'tools/test_errors.py',
    'registered/test_battery.py',
)


def place(path: Path) -> int:
    """The place of a file of tests in the order."""
    name = path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ''
    return FILES.index(name) if name in FILES else len(FILES)
