"""A transmitter of shared signals, by other people's code (`PyJWT`, `cryptography`).

    transmitter.py [PORT]

One JSON line in does one thing, and is answered with one line of JSON: {"key": KID, "alg": ALG} makes a
key and prints its public JWK, {"sign": CLAIMS, "kid": KID} prints a security event token. At PORT on
loopback it is polled (RFC 8936): {"hold": {JTI: TOKEN}} is what it holds from now on beside, and
{"told": true} prints what it was told of that, and was asked to verify.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

keys = {}
held = {}
told = {"ack": [], "setErrs": {}, "asked": 0, "verify": []}


class Polled(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        known = self.headers["authorization"] == "Bearer poll-secret"
        if known and self.path == "/verify":
            told["verify"].append(asked)
            self.send_response(204)
            self.end_headers()
            return
        sets = {}
        if known:
            told["asked"] += 1
            told["ack"] += asked["ack"]
            told["setErrs"] |= asked["setErrs"]
            for jti in [*asked["ack"], *asked["setErrs"]]:
                held.pop(jti, None)
            sets = dict(list(held.items())[: asked["maxEvents"]])
        body = json.dumps({"sets": sets, "moreAvailable": len(sets) < len(held)}).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if len(sys.argv) > 1:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Polled)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def make(alg):
    if alg == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


for line in sys.stdin:
    asked = json.loads(line)
    if "hold" in asked:
        held |= asked["hold"]
        print(json.dumps(len(held)), flush=True)
        continue
    if "told" in asked:
        print(json.dumps(told), flush=True)
        continue
    kid = asked.get("kid") or asked["key"]
    if "key" in asked:
        key = make(asked["alg"])
        keys[kid] = (key, asked["alg"])
        of = jwt.algorithms.RSAAlgorithm if asked["alg"] == "RS256" else jwt.algorithms.ECAlgorithm
        public = json.loads(of.to_jwk(key.public_key()))
        public.pop("key_ops", None)
        print(json.dumps({**public, "kid": kid, "use": "sig", "alg": asked["alg"]}), flush=True)
        continue
    key, alg = keys[kid]
    headers = {"kid": kid, "typ": "secevent+jwt"}
    print(json.dumps(jwt.encode(asked["sign"], key, alg, headers=headers)), flush=True)
