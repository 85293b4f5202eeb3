"""HTTPS from within the sandbox."""

import ssl
import urllib.request

CA = "/ca.pem"
"""The authorities that count; there are no others."""


def opener(proxy: str) -> urllib.request.OpenerDirector:
    """Return what opens https addresses, by the proxy alone."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": proxy}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=CA)),
    )


def request(address: str, **headers: str) -> urllib.request.Request:
    """Return a request of an https address. Raises ValueError for any other."""
    if not address.startswith("https://"):
        raise ValueError(f"{address!r} is not an https address")
    return urllib.request.Request(address, headers=headers)  # noqa: S310
