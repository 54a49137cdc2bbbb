"""Work that is handed on by token exchange (RFC 8693), by Authlib and joserfc, which know this service by its metadata.

    exchanging.py RESOURCE PART AGENT KEY-FILE …

The first agent gets a token; each hands PART (RFC 9396, JSON) on to the next one, by the actor token of that one's
instance. Every token is verified by the published keys. The last instance calls `touch`, asks what its token is
worth and gives it up; it is worth nothing from then on. Prints the claims of the tokens.
"""

import base64
import hashlib
import json
import sys
import time
from itertools import pairwise
from urllib.parse import urlsplit

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

TYPE = "urn:ietf:params:oauth:token-type:"
MCP = {"protocolVersion": "2026-07-28", "clientCapabilities": {}}


class Assertion(PrivateKeyJWT):
    """Authlib's own is good for an hour; none is taken here that is good for more than a minute."""

    def sign(self, auth, token_endpoint):
        key, agent = auth.client_secret, auth.client_id
        return private_key_jwt_sign(key, agent, token_endpoint, alg="ES256", expires_in=60)


def with_dpop(token, uri, headers, body, _placement):
    headers["Authorization"] = f"DPoP {token}"
    return uri, headers, body


class Agent(OAuth2Session):
    """An agent by its key, and one instance of it, with a key that is made here and proves every request (RFC 9449)."""

    def __init__(self, name, key_file):
        with open(key_file, "rb") as file:
            key = ECKey.import_key(file.read())
        by = {f"{what}_endpoint_auth_method": "private_key_jwt" for what in ("token", "revocation")}
        super().__init__(name, key, default_timeout=30, **by, **endpoints)
        self.register_client_auth_method(Assertion(issuer))
        self.token_auth.SIGN_METHODS = {"dpop": with_dpop}
        self.instance, self.nonce = ECKey.generate_key("P-256"), None

    def signed(self, typ, claims, key, **header):
        claims |= {"iat": int(time.time()), "jti": generate_token()}
        return jwt.encode({"typ": typ, "alg": "ES256", **header}, claims, key)

    def proof(self, method, url, token=None):
        claims = {"htm": method, "htu": url}
        if token:
            digest = hashlib.sha256(token.encode()).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if self.nonce:
            claims["nonce"] = self.nonce
        public = self.instance.as_dict(private=False)
        jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}
        return self.signed("dpop+jwt", claims, self.instance, jwk=jwk)

    def request(self, method, url, headers=None, auth=None, **more):
        """The same with a proof; a second time if that lacks the nonce that the answer tells (§8)."""
        token = None if auth else self.token["access_token"]
        for _ in range(2):
            proved = {**(headers or {}), "DPoP": self.proof(method, url, token)}
            answer = super().request(method, url, headers=proved, auth=auth, **more)
            self.nonce = answer.headers.get("dpop-nonce", self.nonce)
            if "use_dpop_nonce" not in answer.text:
                break
        return answer

    def actor_token(self, holder):
        """That this agent's instance acts, made out to the agent `holder`."""
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": issuer, "azp": holder}
        claims |= {"cnf": {"jkt": self.instance.thumbprint()}, "exp": int(time.time()) + 240}
        return self.signed("actor+jwt", claims, self.client_secret)


def of(url):
    answer = requests.get(url, timeout=30)
    answer.raise_for_status()
    return answer.json()


def verified(agent):
    """The claims of the agent's token (RFC 9068)."""
    token = jwt.decode(agent.token["access_token"], keys, algorithms=["ES256", "EdDSA"])
    assert token.header["typ"] == "at+jwt", token.header
    wanted = {"iss": issuer, "aud": resource, "client_id": agent.client_id}
    required = {name: {"essential": True, "value": value} for name, value in wanted.items()}
    others = {name: {"essential": True} for name in ("exp", "iat", "jti", "sub")}
    jwt.JWTClaimsRegistry(**required, **others).validate(token.claims)
    assert token.claims["cnf"] == {"jkt": agent.instance.thumbprint()}, token.claims
    return token.claims


def hand_on(holder, other):
    """Exchanges the holder's token for one by which the other agent's instance acts."""
    own = holder.token
    given = holder.fetch_token(
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=own["access_token"],
        subject_token_type=f"{TYPE}access_token",
        actor_token=other.actor_token(holder.client_id),
        actor_token_type=f"{TYPE}jwt",
        actor_proof=other.proof("POST", endpoints["token_endpoint"]),
        resource=resource,
        authorization_details=part,
    )
    assert given["issued_token_type"] == f"{TYPE}access_token", given
    # Authlib takes whatever comes for the session's own.
    holder.token, other.token = own, given


def told(agent, token):
    """What an agent is told of a token (RFC 7662)."""
    answer = agent.introspect_token(endpoints["introspection_endpoint"], token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def touch(agent, mark):
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in MCP.items()}
    params = {"name": "touch", "arguments": {"mark": mark}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"accept": "application/json, text/event-stream", "mcp-method": "tools/call"}
    headers |= {"mcp-protocol-version": MCP["protocolVersion"], "mcp-name": "touch"}
    return agent.post(resource, json=body, headers=headers).json()["result"]["isError"] is False


resource, part, *whose = sys.argv[1:]
about = urlsplit(resource)
resources = f"{about.scheme}://{about.netloc}/.well-known/oauth-protected-resource{about.path}"
[issuer] = of(resources)["authorization_servers"]
endpoints = AuthorizationServerMetadata(of(get_well_known_url(issuer, external=True)))
assert endpoints["issuer"] == issuer, endpoints
endpoints.validate()
keys = KeySet.import_key_set(of(endpoints["jwks_uri"]))

agents = [Agent(*own) for own in zip(whose[::2], whose[1::2], strict=True)]
agents[0].fetch_token(grant_type="client_credentials", resource=resource)
for holder, other in pairwise(agents):
    hand_on(holder, other)
claims = [verified(agent) for agent in agents]

*_, before, last = agents
token = last.token["access_token"]
assert touch(last, "by its token")
said = told(last, token)
assert said == claims[-1] | {"active": True, "token_type": "DPoP"}, said
# To whoever else, it is no token; nor is it theirs to give up.
assert told(before, token) == {"active": False}
assert before.revoke_token(endpoints["revocation_endpoint"], token).json()["error"] == "invalid_request"
assert told(last, token)["active"]
last.revoke_token(endpoints["revocation_endpoint"], token).raise_for_status()
assert told(last, token) == {"active": False}
assert told(before, before.token["access_token"])["active"]
assert not touch(last, "by what it gave up")
print(json.dumps(claims))
