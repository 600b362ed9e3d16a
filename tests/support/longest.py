"""The files of tests that take longest, the longest first: half a minute and more of one core.

In this order they begin, so that both processes of `make test` end together. pytest-xdist alone
begins with the files of most tests, and a single test of minutes comes last.
`pytest --durations=0` says what takes how long.
"""

FILES = (
    'test_demo.py',
    'test_checkpoints.py',
    'test_safe_loading.py',
    'test_alongside.py',
    'test_epl.py',
    'test_killed.py',
    'test_schedule.py',
    'test_launch.py',
    'test_benchmark.py',
    'test_installed.py',
    'test_train.py',
    'test_test.py',
    'test_docs.py',
    'test_loss_balance.py',
    'test_elsewhere.py',
    'test_distributed_equals_one.py',
    'test_outputs.py',
    'test_check.py',
    'test_configs.py',
    'test_errors.py',
    'test_battery.py',
)


def place(name: str) -> int:
    """Where a file of this name begins."""
    return FILES.index(name) if name in FILES else len(FILES)
