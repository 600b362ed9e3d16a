"""What MMEngine keeps of the last run in a process."""

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


def forget() -> None:
    """Gives the next run a logger, a hub, a visualizer and a default scope of its own. In the scope
    of a run without one, MMSegmentation's registries would not find their modules."""
    for manager in (MMLogger, MessageHub, Visualizer, DefaultScope):
        manager._instance_dict.clear()
