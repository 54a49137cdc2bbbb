"""Follows the JWT bundles of a Workload API and validates JWT-SVIDs by them, with `spiffe` of PyPI.

Says of each update which keys there are, and what becomes of each token.
"""

import sys
import threading

import grpc
from spiffe import JwtSvid, TrustDomain, WorkloadApiClient

# Its gRPC names the socket's escaped path as the host, which HTTP/2 servers in Rust take for none.
connect = grpc.insecure_channel
grpc.insecure_channel = lambda target: connect(target, [("grpc.default_authority", "localhost")])

socket, audience, *tokens = sys.argv[1:]
ended = threading.Event()
updates = 0


def seen(bundles):
    global updates
    updates += 1
    named = {
        bundle.trust_domain.name: sorted(bundle.jwt_authorities) for bundle in bundles.bundles
    }
    keys = [f"{name} {' '.join(keys)}" for name, keys in sorted(named.items())]
    print("bundle", *keys, flush=True)
    bundle = bundles.get_bundle_for_trust_domain(TrustDomain("example.org"))
    for number, token in enumerate(tokens):
        try:
            JwtSvid.parse_and_validate(token, bundle, {audience})
            said = "taken"
        except Exception:
            said = "refused"
        print("token", number, said, flush=True)
    if updates == 2:
        ended.set()


def failed(error):
    print("error", error, flush=True)
    ended.set()


with WorkloadApiClient(socket) as client:
    client.stream_jwt_bundles(seen, failed)
    ended.wait()
