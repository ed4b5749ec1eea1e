"""What moves actual towards desired, pass after pass.

Others use `loop.ConvergenceLoop`, which says when passes run; the passes `lrps.LRPConvergence` and `tasks.TaskConvergence`;
and `audit.Audit`, which compares memory with the database before each pass. Each has statistics, which the metrics read.
"""
