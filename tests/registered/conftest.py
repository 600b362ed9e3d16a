from mmseg_boundary.stacks import STACK

# the frozen stack's sampler cannot skip, so that StepSeed is refused there
collect_ignore = [] if STACK == 'onedl' else ['test_step_seed.py']
