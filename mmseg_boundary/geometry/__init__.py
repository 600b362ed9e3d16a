"""Rulers on masks: sums along rays, contours. It knows neither labels nor losses."""
