"""The embedded default: a whole cluster on one machine, in which a release day is rehearsed.

`commands` is the way in (up, down, status, shell); `supervisor` is what runs inside, as process 1
of namespaces of its own; `binaries` says where the programs come from.
"""
