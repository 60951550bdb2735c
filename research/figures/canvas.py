"""An empty figure; matplotlib is an extra, and is imported when one is asked for."""

from research.errors import UserError


def figure(width, height):
    """An empty matplotlib Figure, in inches. Raises UserError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("drawing needs matplotlib, which is not installed: pip install '.[figures]'.") from None
    return Figure(figsize=(width, height), layout="constrained")
