"""A workload that shows its platform's token beside the agent's own assertion, by PyJWT and httpx2.

    attested.py RESOURCE AGENT KEY-FILE TOKEN-FILE

Prints what the token says that it is given, verified by the keys that the service publishes.
"""

import base64
import hashlib
import json
import sys
from urllib.parse import urlencode

import httpx2
import jwt
from dpop import Dpop

resource, agent, key_file, token_file = sys.argv[1:]
own = Dpop(resource, agent, key_file)
asked = own.token_request()
with open(token_file, encoding="ascii") as file:
    shown = {"workload_token": file.read().strip(), "workload_token_type": "oidc"}
body = asked.read().decode() + "&" + urlencode(shown)
headers = {"dpop": asked.headers["dpop"], "content-type": "application/x-www-form-urlencoded"}
answer = httpx2.post(str(asked.url), content=body, headers=headers, timeout=30).json()
assert answer["token_type"] == "DPoP", answer

token = answer["access_token"]
key = jwt.PyJWKClient(f"{own.issuer}/oauth/jwks").get_signing_key_from_jwt(token)
claims = jwt.decode(token, key, ["ES256", "EdDSA"], audience=resource, issuer=own.issuer)
canonical = json.dumps(own.jwk, sort_keys=True, separators=(",", ":")).encode()
thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
assert claims["cnf"] == {"jkt": thumbprint}, claims
print(json.dumps(claims))
