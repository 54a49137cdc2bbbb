"""A transmitter of shared signals whose streams are managed (SSF 1.0 §8.1), which tells nothing.

    managed.py PORT ISSUER ASKED

It is asked at PORT on loopback, behind TLS that ISSUER names, and writes each request to the file ASKED, a
line of JSON each. Subjects are added and removed, a status is taken note of (202), a verification is said
to come and never does, and whoever reads a stream is sent elsewhere. What tells of a stream that was created
cannot be read; one that was changed is polled elsewhere, and described by what hides it, and what it was shown.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, issuer, asked = int(sys.argv[1]), sys.argv[2], sys.argv[3]
METADATA = {
    "spec_version": "1_0",
    "issuer": issuer,
    "jwks_uri": f"{issuer}/jwks",
    "delivery_methods_supported": ["urn:ietf:rfc:8936"],
    "configuration_endpoint": f"{issuer}/stream?of=us",
    "status_endpoint": f"{issuer}/status",
    "add_subject_endpoint": f"{issuer}/subject:add",
    "remove_subject_endpoint": f"{issuer}/subject:remove",
    "verification_endpoint": f"{issuer}/verify",
}
STREAM = {
    "stream_id": "s2",
    "iss": issuer,
    "aud": "https://chancery.example/ssf",
    "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "https://localhost:1/poll"},
    "events_delivered": [],
}
ANSWERS = {"/subject:add": 200, "/subject:remove": 204, "/status": 202, "/verify": 204}


class Managed(BaseHTTPRequestHandler):
    def answer(self, status, body=b"", *headers):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/.well-known/ssf-configuration":
            body = json.dumps(METADATA).encode()
            return self.answer(200, body, ("content-type", "application/json"))
        self.note(b"")
        self.answer(307, b"", ("location", f"{issuer}/elsewhere"))

    def do_POST(self):
        self.note(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/stream?of=us":
            unread = {**STREAM, "events_delivered": [f"urn:{number}" for number in range(65)]}
            return self.answer(201, json.dumps(unread).encode())
        self.answer(ANSWERS.get(self.path, 404))

    def do_PATCH(self):
        self.note(self.rfile.read(int(self.headers["content-length"])))
        described = "\u202e" + self.headers["authorization"]
        self.answer(200, json.dumps({**STREAM, "description": described}).encode())

    def note(self, body):
        shown = self.headers["authorization"]
        body = json.loads(body) if body else None
        with open(asked, "a") as file:
            print(json.dumps({"at": self.path, "shown": shown, "body": body}), file=file)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Managed).serve_forever()
