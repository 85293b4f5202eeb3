"""HTTPS requests from the sandbox, through the tunnel."""

import ssl
import urllib.request

CA = "/ca.pem"
"""File of the only trusted certificate authorities."""


def opener(proxy: str) -> urllib.request.OpenerDirector:
    """Return an opener of https URLs that uses the proxy only."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": proxy}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=CA)),
    )


def request(address: str, **headers: str) -> urllib.request.Request:
    """Return a request of an https URL.

    Raises:
        ValueError: the URL has another scheme.
    """
    if not address.startswith("https://"):
        raise ValueError(f"{address!r} is not an https address")
    return urllib.request.Request(address, headers=headers)  # noqa: S310 - https alone, see above
