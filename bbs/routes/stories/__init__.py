"""What the log says of each kind of request, worked out from the request and the rows as its handler is going to see them.

A `story.Story` is the lines of one request. The other modules make stories, a method for each kind of request; `data` has
the fields that the lines carry. `bbs.routes.operations` says which method is for which route.

All names here (of sessions, actions, fields), their order and their numbers are upstream's, odd ones too: operators have
searches and dashboards for them.
"""
