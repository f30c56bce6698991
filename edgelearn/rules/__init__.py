"""Learning rules, one file each, written as their papers write them."""

from __future__ import annotations

from edgelearn.rules.registry import Rule as Rule
from edgelearn.rules.registry import find as find
from edgelearn.rules.registry import rule as rule
from edgelearn.rules.registry import source_text as source_text
