"""What clients of loopback servers speak TLS with: they do not."""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Else each client reads the certificates of all authorities: tens of milliseconds of CPU, thousands of times."""
