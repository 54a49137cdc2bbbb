"""A client's own proof of possession: its key, its token, a proof for every request (RFC 9449).

What an agent in Python needs to speak to the gateway without `chancery mcp`: an httpx2 client whose
auth hook signs. The agent's key authenticates the agent (RFC 7523); the key made here is this
instance's own and never leaves the process.
"""

import base64
import hashlib
import json
import time
import uuid

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec


class Dpop(httpx2.Auth):
    def __init__(self, resource, agent, key_file):
        self.resource, self.agent = resource, agent
        self.issuer = resource.split("/mcp/")[0]
        with open(key_file, encoding="ascii") as file:
            self.agent_key = file.read()
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        self.jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}
        self.token, self.renew_at, self.nonce = None, 0.0, None

    def proof(self, method, url, token=None):
        claims = {"htm": method, "htu": url, "iat": int(time.time()), "jti": str(uuid.uuid4())}
        if token:
            digest = hashlib.sha256(token.encode()).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if self.nonce:
            claims["nonce"] = self.nonce
        return jwt.encode(claims, self.key, "ES256", headers={"typ": "dpop+jwt", "jwk": self.jwk})

    def token_request(self):
        now = int(time.time())
        claims = {
            "iss": self.agent,
            "sub": self.agent,
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid.uuid4()),
        }
        form = {
            "grant_type": "client_credentials",
            "client_id": self.agent,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, self.agent_key, "ES256"),
            "resource": self.resource,
        }
        url = f"{self.issuer}/oauth/token"
        return httpx2.Request("POST", url, data=form, headers={"DPoP": self.proof("POST", url)})

    async def async_auth_flow(self, request):
        if time.time() >= self.renew_at:
            answer = yield self.token_request()
            body = json.loads(await answer.aread())
            if answer.status_code != 200:
                raise PermissionError(body.get("error_description", body["error"]))
            self.token, self.renew_at = body["access_token"], time.time() + body["expires_in"] - 30
        for _ in range(2):
            request.headers["Authorization"] = f"DPoP {self.token}"
            request.headers["DPoP"] = self.proof(request.method, str(request.url), self.token)
            answer = yield request
            self.nonce = answer.headers.get("dpop-nonce", self.nonce)
            if "use_dpop_nonce" not in answer.headers.get("www-authenticate", ""):
                return


def client(resource, agent, key_file):
    return httpx2.AsyncClient(auth=Dpop(resource, agent, key_file), timeout=30)
