"""Runs all checks of scim2-tester against a service provider: scim.py BASE TOKEN."""

import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

base, token = sys.argv[1:]
session = Client(base_url=base, headers={"Authorization": f"Bearer {token}"})
results = check_server(SyncSCIMClient(session))
bad = {Status.DEVIATION, Status.ERROR, Status.CRITICAL}
failed = [r for r in results if r.status in bad]
for result in failed:
    print(result.status.name, result.title, result.description, result.reason, result.data)
skipped = sum(r.status is Status.SKIPPED for r in results)
print(f"{len(results)} checks, {len(failed)} failed, {skipped} skipped")
sys.exit(1 if failed or len(results) < 20 else 0)
