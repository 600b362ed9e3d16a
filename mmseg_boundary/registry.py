"""Empty children of MMSegmentation's registries, so that its scope and ours both resolve.

Our classes are registered with MMSegmentation itself, where every config of its scope finds them.
A config of ours that is inherited as `mmseg_boundary::…`, or says `default_scope='mmseg_boundary'`,
asks here: a child asks its parent for what it does not have. It does not make the parent import
what it would import itself, so that its locations are the parent's and ours.
"""

import mmseg.registry as parents
from mmengine.registry import Registry

SCOPE = 'mmseg_boundary'
for _name, _parent in vars(parents).copy().items():
    if isinstance(_parent, Registry):
        globals()[_name] = Registry(
            _parent.name,
            parent=_parent,
            scope=SCOPE,
            locations=[*_parent._locations, 'mmseg_boundary.registered'],
        )
