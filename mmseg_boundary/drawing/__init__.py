"""Figures that tools draw with matplotlib: the potential fields of EPL, and predictions side by
side."""
