"""Losses and metrics for the boundaries of semantic segmentation, at home in MMSegmentation.

Importing the package needs torch alone, registers nothing and changes nothing. Configs name
`mmseg_boundary.registered` in `custom_imports` to make everything known to MMSegmentation.
"""

# A literal, so that a clone on PYTHONPATH has a version without installed metadata.
__version__ = '0.1.0'
