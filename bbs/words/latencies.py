"""Quantiles of histograms, and what a route is about: what both the console and the dashboard tell of requests. Pure."""

import math
from collections.abc import Mapping

Buckets = Mapping[float, float]
"""How many values are up to each bound; cumulative, the last bound is infinite."""


def quantile(buckets: Buckets, q: float) -> float | None:
    """Between the bounds of a bucket values count as evenly spread, as Prometheus has it. None of no values."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank, below, lower = q * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank and buckets[bound] > below:
            if math.isinf(bound):
                return math.inf
            return lower + (bound - lower) * (rank - below) / (buckets[bound] - below)
        below, lower = buckets[bound], bound
    return math.inf


def group_of(route: str) -> str:
    """What a route is about, by its name."""
    for words, group in (
        (("Task",), "tasks"),
        (("DesiredLRP", "DesireLRP"), "desired LRPs"),
        (("ActualLRP", "Evacuat"), "instances"),
        (("Cell", "Domain"), "cells, domains"),
    ):
        if any(word in route for word in words):
            return group
    return "other"
