"""A transmitter of shared signals that takes tokens of its own token endpoint (RFC 6749 §4.4), and tells nothing.

    granting.py PORT ISSUER SECRET

It is asked at PORT on loopback, behind TLS that ISSUER names. At /token the client `chancery` gets tokens for
SECRET, each of which counts until the next one is given, or `revoke` is said; at /poll it is polled by these.
POST /now says what the token endpoint does from now on: `ok`, `leak` (refuses, and tells back what it was shown),
`redirect`, `huge`, or `revoke`. GET /seen tells how many tokens were given, what polls were shown, and with what they
were answered, and how often somebody came to where nobody was sent.
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

port, issuer, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
BASIC = "Basic " + base64.b64encode(f"chancery:{secret}".encode()).decode()
METADATA = {
    "spec_version": "1_0",
    "issuer": issuer,
    "jwks_uri": f"{issuer}/jwks",
    "configuration_endpoint": f"{issuer}/streams",
    "token_endpoint": f"{issuer}/elsewhere",
    "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
}
now = {"does": "ok", "counts": None}
seen = {"tokens": 0, "polls": [], "elsewhere": 0}


class Granting(BaseHTTPRequestHandler):
    def answer(self, status, body=b"", *headers):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def tell(self, status, body):
        self.answer(status, json.dumps(body).encode())

    def do_GET(self):
        if self.path == "/.well-known/ssf-configuration":
            return self.tell(200, METADATA)
        self.tell(200, seen)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        shown = self.headers["authorization"]
        if self.path == "/now":
            if body == b"revoke":
                now["counts"] = None
            else:
                now["does"] = body.decode()
            return self.tell(200, now)
        if self.path == "/token":
            return self.token(shown, parse_qs(body.decode()))
        if self.path == "/poll":
            known = now["counts"] is not None and shown == f"Bearer {now['counts']}"
            status = 200 if known else 401
            seen["polls"].append([shown, status])
            return self.tell(status, {"sets": {}})
        seen["elsewhere"] += 1
        self.tell(200, {"access_token": "elsewhere", "token_type": "Bearer"})

    def token(self, shown, form):
        if now["does"] == "redirect":
            return self.answer(307, b"", ("location", f"{issuer}/elsewhere"))
        if now["does"] == "huge":
            return self.tell(200, {"access_token": "a" * (1 << 20), "token_type": "Bearer"})
        asked = {"grant_type": ["client_credentials"], "scope": ["ssf.read ssf.manage"]}
        if now["does"] == "leak" or shown != BASIC or form != asked:
            return self.tell(401, {"error": "invalid_client", "error_description": f"{shown} {secret}"})
        seen["tokens"] += 1
        now["counts"] = f"token-{seen['tokens']}"
        answer = {"access_token": now["counts"], "token_type": "bearer", "expires_in": 10**12}
        self.tell(200, answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Granting).serve_forever()
