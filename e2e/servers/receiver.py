"""A receiver of shared signals that are pushed, by other people's code (`PyJWT`).

    receiver.py PORT JWKS_URL ISSUER AUDIENCE ALGORITHM

It takes tokens at PORT on loopback (RFC 8935), verifies each by that algorithm and no other, and wants to be shown `Bearer
of-the-receiver`. One JSON line in does one thing, and is answered with one line of JSON: {"deaf": BOOL}
says whether it answers that it cannot take anything, {} prints what came by its `jti`, and the claims of
what was taken.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

port, jwks, issuer, audience, algorithm = int(sys.argv[1]), *sys.argv[2:6]
# A key that it does not know it looks for at once: no test waits.
keys = jwt.PyJWKClient(jwks, cooldown_duration=0)
state = {"deaf": False}
told = {"came": {}, "taken": []}


def verified(token):
    assert jwt.get_unverified_header(token)["typ"] == "secevent+jwt"
    key = keys.get_signing_key_from_jwt(token)
    options = {"require": ["iss", "aud", "iat", "jti"]}
    claims = jwt.decode(
        token, key, algorithms=[algorithm], audience=audience, issuer=issuer, options=options
    )
    assert "sub" not in claims and "exp" not in claims and len(claims["events"]) == 1
    return claims


class Pushed(BaseHTTPRequestHandler):
    def do_POST(self):
        token = self.rfile.read(int(self.headers["content-length"])).decode()
        status = 202
        if self.headers["authorization"] != "Bearer of-the-receiver":
            status = 401
        elif self.headers["content-type"] != "application/secevent+jwt":
            status = 415
        else:
            claims = verified(token)
            told["came"].setdefault(claims["jti"], []).append(token)
            if state["deaf"]:
                status = 503
            else:
                told["taken"].append(claims)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", port), Pushed)
threading.Thread(target=server.serve_forever, daemon=True).start()

for line in sys.stdin:
    asked = json.loads(line)
    state["deaf"] = asked.get("deaf", state["deaf"])
    print(json.dumps(told), flush=True)
