"""Sends what no SDK would: raw messages by instances of one agent, each with its own key.

    raw.py URL AGENT KEY_FILE

One JSON line in, one out. {"post": MESSAGE, "headers": {...}} posts as the first instance, MESSAGE
a text or JSON; {"collide": N} lets N instances hold a session each and call `echo` at once, all
under the same request id, and tells how many heard their own words and how many another's.
"""

import asyncio
import json
import sys

import dpop

URL, AGENT, KEY_FILE = sys.argv[1:]
SAME_ID = 1


async def post(client, body, headers=None):
    content = body if isinstance(body, str) else json.dumps(body)
    sent = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    pairs = list(sent.items()) + [(k, v) for k, vs in (headers or {}).items() for v in ([vs] if isinstance(vs, str) else vs)]
    return await client.post(URL, content=content, headers=pairs)


def message(method, params):
    return {"jsonrpc": "2.0", "id": SAME_ID, "method": method, "params": params}


async def collide_one(name):
    async with dpop.client(URL, AGENT, KEY_FILE) as client:
        info = {"name": name, "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        greeted = await post(client, message("initialize", hello))
        session = {"mcp-session-id": greeted.headers["mcp-session-id"]}
        heard = []
        for turn in range(3):
            words = f"{name} in turn {turn}"
            call = message("tools/call", {"name": "echo", "arguments": {"message": words}})
            answer = await post(client, call, session)
            heard.append(f'"text":"Echo: {words}"' in answer.text.replace('": "', '":"'))
        await client.delete(URL, headers=session)
        return heard


async def main():
    async with dpop.client(URL, AGENT, KEY_FILE) as first:
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            if "collide" in wanted:
                all_heard = await asyncio.gather(*(collide_one(f"client {n}") for n in range(wanted["collide"])))
                flat = [own for heard in all_heard for own in heard]
                print(json.dumps({"own": flat.count(True), "other": flat.count(False)}), flush=True)
                continue
            answer = await post(first, wanted["post"], wanted.get("headers"))
            try:
                body = answer.json()
            except ValueError:
                body = answer.text
            print(json.dumps({"status": answer.status_code, "body": body, "headers": dict(answer.headers)}), flush=True)


print(json.dumps({"greeted": "raw"}), flush=True)
asyncio.run(main())
