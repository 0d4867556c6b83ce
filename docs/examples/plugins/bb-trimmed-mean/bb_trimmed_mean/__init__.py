"""The mean of each coordinate without its largest and smallest values."""

from bb_trimmed_mean.aggregator import TrimmedMean

__all__ = ["TrimmedMean"]
