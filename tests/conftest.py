"""The profiles of the property tests, fixtures of all tests, and the check of skips."""

import gc

import pytest
from hypothesis import Phase, settings

from tests.support import last_run, longest
from tests.support.skips import ALLOWED_SKIPS

# hypothesis' deadline of 200 ms fails on torch's first call
settings.register_profile('torch', deadline=None, derandomize=True, max_examples=40)
settings.register_profile('thorough', settings.get_profile('torch'), max_examples=10_000)
settings.register_profile(
    'first_failure',
    settings.get_profile('torch'),
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile('torch')


@pytest.fixture(scope='session', autouse=True)
def checkpoints_are_read_safely():
    """As our tools read them. Otherwise the frozen stack could not read its own checkpoints."""
    from mmseg_boundary.cli import safe_loading

    safe_loading.install()


@pytest.fixture(scope='module', autouse=True)
def old_objects_are_not_searched():
    """MMSegmentation's data sets collect garbage when they are built, several times a run. In a
    process with many objects that takes longer than the run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_run_left_over():
    yield
    last_run.forget()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: longest.place(item.path))


STACK = pytest.StashKey[str]()


def pytest_configure(config):
    from mmseg_boundary.stacks import STACK as stack

    config.stash[STACK] = stack


def pytest_terminal_summary(terminalreporter, config):
    """Prints the reasons of all skips."""
    reasons, forbidden = skip_reasons(config), forbidden_skips(config)
    terminalreporter.section('skips')
    for reason in sorted(set(reasons)):
        mark = ' (NOT ALLOWED)' if reason in forbidden else ''
        terminalreporter.line(f'{reasons.count(reason):4} {reason}{mark}')
    if not reasons:
        terminalreporter.line('none')


def pytest_sessionfinish(session):
    """A skip for a reason that is not allowed fails the session."""
    if forbidden_skips(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config):
    """Says it below the last line, which otherwise counts passes and skips alone."""
    if reasons := forbidden_skips(config):
        print(f'Failed: skips that tests/support/skips.py does not allow: {"; ".join(reasons)}')


def forbidden_skips(config):
    return sorted(set(skip_reasons(config)) - ALLOWED_SKIPS[config.stash[STACK]])


def skip_reasons(config):
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    skipped = reporter.stats.get('skipped', []) if reporter else []  # a worker has no reporter
    return [report.longrepr[2].removeprefix('Skipped: ') for report in skipped]
