"""A transmitter of shared signals, by other people's code (`PyJWT`, `cryptography`).

    transmitter.py

One JSON line in does one thing, and is answered with one line of JSON: {"key": KID, "alg": ALG} makes a
key and prints its public JWK, {"sign": CLAIMS, "kid": KID} prints a security event token.
"""

import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

keys = {}


def make(alg):
    if alg == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


for line in sys.stdin:
    asked = json.loads(line)
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
