"""Writes figures, as PNG or SVG."""

from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import UnwrittenFile, atomic_write


def save(figure: Figure, path: Path) -> None:
    """Writes the figure, and says where; the same figure is the same file."""
    FigureCanvasAgg(figure)
    metadata = {'Date': None} if path.suffix.lower() == '.svg' else {'Software': None}
    with matplotlib.rc_context({'svg.hashsalt': 'drawing', 'svg.fonttype': 'none'}):
        try:
            with atomic_write(path) as unfinished:
                figure.savefig(unfinished, dpi='figure', metadata=metadata)
        except UnwrittenFile as error:
            raise SystemExit(str(error)) from None
    print(f'Picture: {path}')
