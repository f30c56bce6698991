"""The public testing kit: what a rule's, backend's or board's author needs to test it."""

from __future__ import annotations

from edgelearn.testing.backend import check_backend as check_backend
from edgelearn.testing.power_cut import PowerCutFlash as PowerCutFlash
from edgelearn.testing.rule import RuleReport as RuleReport
from edgelearn.testing.rule import check_rule as check_rule
