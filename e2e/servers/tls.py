"""TLS before a server on loopback, with certificates of every kind.

    tls.py make DIR                    # writes them to DIR, beside ca.pem, which vouches for some
    tls.py serve FILE PORT TARGET      # serves what listens on TARGET with the certificate in FILE

`good` is what it should be; `expired` is over, `other` is for another name, `stranger` is vouched
for by nobody.
"""

import asyncio
import datetime
import pathlib
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


def name_of(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, signer, ends):
    builder = x509.CertificateBuilder().subject_name(name_of(subject)).issuer_name(name_of(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - 3 * DAY).not_valid_after(ends)
    is_ca = subject == "ca"
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make(folder):
    ca = ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(certificate("ca", ca, "ca", ca, NOW + DAY))
    kinds = {
        "good": ("localhost", ca, NOW + DAY),
        "expired": ("localhost", ca, NOW - DAY),
        "other": ("somebody.example", ca, NOW + DAY),
        "stranger": ("localhost", ec.generate_private_key(ec.SECP256R1()), NOW + DAY),
    }
    for kind, (subject, signer, ends) in kinds.items():
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{kind}.pem").write_bytes(private + certificate(subject, key, "ca", signer, ends))


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(file, port, target):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    async def relay(reader, writer):
        back, forth = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, forth), pump(back, writer), return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if sys.argv[1] == "make":
    make(pathlib.Path(sys.argv[2]))
else:
    asyncio.run(serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
