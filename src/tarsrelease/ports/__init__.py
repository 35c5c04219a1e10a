"""What a step may ask of the world. Protocols of few methods, in the release's words.

Adapters raise `UnreachableError` where a system does not answer, `UsageError` where it answers
that the request or the rights are wrong; never their library's own errors.
"""
