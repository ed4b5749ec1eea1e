"""Upstream's JSON file, which ``bbs -config`` reads.

`bbs.config.upstream` decodes it, `bbs.config.checks` and `bbs.config.cautions` say what is wrong with it. Only the command
line imports this package.
"""
