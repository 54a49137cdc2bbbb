"""Hooks of schemathesis: how a body is sent that is a security event token."""

import schemathesis


@schemathesis.serializer("application/secevent+jwt")
def event_token(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()
