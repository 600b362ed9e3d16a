"""Masks in, numbers out: contours and distances. It knows neither labels nor losses."""
