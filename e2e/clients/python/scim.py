"""Runs all checks of scim2-tester against a service provider: scim.py BASE TOKEN PERSON PURPOSE.

It fills resources at random. Who answers for an agent, and for what it is, must be known to the provider, which no
schema says of whom: PERSON and PURPOSE. It also takes it for an error that an extension that was replaced as a
whole has what only the provider writes; of our own, and of its members that are read only, that is none here. It skips
nothing: a check that it would skip is as bad as one that fails.
"""

import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Extension
from scim2_tester import Status, check_server, filling
from scim2_tester.checkers import patch_replace

base, token, person, purpose = sys.argv[1:]

GOVERNANCE = "urn:chancery:scim:schemas:extension:governance:2.0:Agent"

# The members of it that are read only, with the addresses of those whom it names.
READ_ONLY = {"tools", "leaseUntil", "$ref"}

at_random = filling.get_random_example_value


def known(path):
    """What an attribute is filled with, if it is not at random."""
    binding = path.resolve()
    name = binding and binding.target_field_name
    model = binding and binding.target_model and binding.target_model.__name__
    if name == "value" and model in ("Sponsor", "BusinessOwner", "TechnicalOwner"):
        return person
    return purpose if name == "purposes" else at_random(path)


def written(told):
    """What is told, without what the provider alone writes of who answers for an agent."""
    if not isinstance(told, dict):
        return told
    return {name: written(value) for name, value in told.items() if name not in READ_ONLY}


are_equal = patch_replace.fields_equality


def as_written(expected, actual):
    """Whether what was written is there and nothing else, but what the provider adds of who answers for an agent."""
    if isinstance(expected, Extension) and expected.__schema__ == GOVERNANCE:
        actual = written(actual and actual.model_dump())
    return are_equal(expected, actual)


filling.get_random_example_value = known
patch_replace.fields_equality = as_written

session = Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30)
results = check_server(SyncSCIMClient(session))
bad = {Status.DEVIATION, Status.ERROR, Status.CRITICAL, Status.SKIPPED}
failed = [r for r in results if r.status in bad]
for result in failed:
    print(result.status.name, result.title, result.description, result.reason, result.data)
agents = sum(r.resource_type == "Agent" for r in results)
print(f"{len(results)} checks, {agents} of agents, {len(failed)} failed or skipped")
sys.exit(1 if failed or agents < 5 or len(results) < 20 else 0)
