"""The filter language of the run list: MLflow's grammar as it is, and what its users ask for."""

from engine.runs.filter.completion import Completion, complete, known_keys
from engine.runs.filter.grammar import parse

__all__ = ["Completion", "complete", "known_keys", "parse"]
