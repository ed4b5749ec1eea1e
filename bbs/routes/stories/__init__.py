"""What the log says of each kind of request, from the request and the rows as its handler is going to see them.

`bbs.routes.operations` has the table; a `story` is what one request's lines are, and `data` what they carry.
"""
