"""Packages of PyPI and npm: pinned versions, resolved once, fetched by hash, unpacked and never executed.

`pinned` is what the Cache calls. Whatever talks to a registry or reads what came from one runs in the sandbox
(`inside`), as an unprivileged user without network; `relay` connects it to configured hosts and no others.
"""
