"""Masks in, numbers out: boundaries and distances. It knows neither labels nor losses."""
