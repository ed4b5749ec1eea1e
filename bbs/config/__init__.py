"""Upstream's JSON file, which ``bbs -config`` reads.

`bbs.config.upstream` decodes it, with `go_json_values` and `go_duration`, which read as Go does: whoever wrote the file wrote
it for Go's decoder. `bbs.config.checks` says what keeps a server from starting with it, `bbs.config.cautions` what it starts
with all the same, and `bbs.config.errors` are raised for a file that there is nothing to check in. Only `bbs.commands`
imports this package, and `bbs.cfdot` its durations.

No message repeats a secret: it would end up in logs and bug reports. Of a value of the wrong type only the type is told.
"""
