"""The language of rules: traced tensors, block state and the words of ``L``."""

from edgelearn.lang.words import L as L
