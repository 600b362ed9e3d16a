# What every config shares, through its loss base, which is listed first: the first line makes
# `mmseg::` resolve before it is looked up.
__packages__ = __import__('mmseg_boundary.compat').compat.resolve_packages()
custom_imports = dict(imports=['mmseg_boundary.registered'], allow_failed_imports=False)
