"""What MMEngine keeps of the last run in a process."""

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


def forget() -> None:
    """Has the next run begin with a logger, a hub, a visualizer and a default scope of its own: in
    the scope of a run without one, MMSegmentation's registries find nothing of theirs."""
    for manager in (MMLogger, MessageHub, Visualizer, DefaultScope):
        manager._instance_dict.clear()
