"""Measurements: what training costs, counted in the same way for everybody."""
