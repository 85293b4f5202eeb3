"""Packages of PyPI and npm: pinned versions, resolved once, fetched by hash, unpacked and never executed.

The Cache calls `pinned`. All code that talks to a registry, or reads what a registry sent, runs in the
sandbox (`inside`) as an unprivileged user without network. `relay` connects it to configured hosts only.
"""
