"""``cfdot``: the operator's commands against any BBS, with upstream's words, output and exit codes (spec: client.md §5).

Scripts see everything: flags, results, error texts and usage texts. The command line is read as Go's cobra and pflag
libraries read it, which differ from argparse in nearly every error.

`table` says what the commands are, `flags` reads their flags, `usage` writes help and usage texts, `target` is whom to talk to,
and `main` puts them together; they import no other library, since scripts call this once for every line. What needs more is
imported when a command is about to be carried out: `bbs_calls`, `events`, `cell_states` and `locket_calls` do that, and hand
typed results to a renderer (`rendering`). For people, as ``bbs`` at a terminal, `people` makes tables of them, whose columns are
in `columns`.
"""
