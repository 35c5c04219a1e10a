"""The ports of steps and operations: protocols of few methods.

Adapters raise `UnreachableError` if a system does not answer and `UsageError` if it refuses the
request or the rights; never their library's own errors.
"""
