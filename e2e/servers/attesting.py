"""Two platforms that vouch for workloads, by other people's code: gRPC, JOSE and the stubs of `spiffe`.

    attesting.py DIRECTORY ISSUER

An issuer of OpenID Connect tokens, with its keys in DIRECTORY/cluster.jwks, and a SPIFFE Workload API
for the trust domain `example.org` at DIRECTORY/agent.sock. One JSON line in does one thing, and is
answered with one line: {"issue": CLAIMS} prints a token of the issuer, {"be": SPIFFE-ID} says as whom
the Workload API knows everybody from now on, null as nobody.
"""

import json
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from spiffe._proto import workload_pb2, workload_pb2_grpc

directory, issuer = sys.argv[1:]
cluster = rsa.generate_private_key(public_exponent=65537, key_size=2048)
domain = ec.generate_private_key(ec.SECP256R1())
identity = None


def jwks(jwk, kid, use):
    public = {**json.loads(jwk), "kid": kid, "use": use}
    public.pop("key_ops", None)
    return json.dumps({"keys": [public]})


class WorkloadApi(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    def admit(self, context):
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")

    def FetchJWTBundles(self, request, context):
        self.admit(context)
        keys = jwt.algorithms.ECAlgorithm.to_jwk(domain.public_key())
        bundles = {"spiffe://example.org": jwks(keys, "d1", "jwt-svid").encode()}
        yield workload_pb2.JWTBundlesResponse(bundles=bundles)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait()

    def FetchJWTSVID(self, request, context):
        self.admit(context)
        if identity is None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        now = int(time.time())
        claims = {"sub": identity, "aud": list(request.audience), "iat": now, "exp": now + 300}
        svid = jwt.encode(claims, domain, "ES256", headers={"kid": "d1"})
        one = workload_pb2.JWTSVID(spiffe_id=identity, svid=svid)
        return workload_pb2.JWTSVIDResponse(svids=[one])


keys = jwt.algorithms.RSAAlgorithm.to_jwk(cluster.public_key())
with open(f"{directory}/cluster.jwks", "w", encoding="ascii") as file:
    file.write(jwks(keys, "c1", "sig"))
server = grpc.server(ThreadPoolExecutor(max_workers=16))
workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(WorkloadApi(), server)
server.add_insecure_port(f"unix:{directory}/agent.sock")
server.start()
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "be" in asked:
        identity = asked["be"]
        print("done", flush=True)
        continue
    now = int(time.time())
    claims = {"iss": issuer, "iat": now, "nbf": now, "exp": now + 600, "jti": str(uuid.uuid4())}
    claims |= asked["issue"]
    print(jwt.encode(claims, cluster, "RS256", headers={"kid": "c1"}), flush=True)
