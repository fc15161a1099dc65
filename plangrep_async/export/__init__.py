"""Jobs for other programs."""

from plangrep_async.export._arrow import job_batch, job_schema

__all__ = ["job_batch", "job_schema"]
