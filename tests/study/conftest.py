from mmseg_boundary.stacks import STACK

# studies run on the maintained stack alone
collect_ignore = [] if STACK == 'onedl' else ['test_runs.py', 'test_study.py']
