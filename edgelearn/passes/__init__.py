"""Passes: each maps a module to a module, leaves it valid, and means the same before and after (floats: to rounding)."""
