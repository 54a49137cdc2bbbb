// The official TypeScript SDK of both eras, `@modelcontextprotocol/client`. Its own DPoP and its own
// `private_key_jwt` speak to our token endpoint, which it finds by itself.

import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { load } from './packages.mjs';
import { run } from './steps.mjs';

const sdk = load('@modelcontextprotocol/client');
const { StdioClientTransport } = load('@modelcontextprotocol/client/stdio');

async function provider(url, agent, keyFile) {
    const session = await sdk.DpopSession.create();
    const pem = createPrivateKey(readFileSync(keyFile)).export({ type: 'pkcs8', format: 'pem' });
    const provider = new sdk.PrivateKeyJwtProvider({
        clientId: agent,
        privateKey: pem,
        algorithm: 'ES256',
        jwtLifetimeSeconds: 60,
        expectedIssuer: new URL(url).origin,
    });
    provider.dpop = () => session;
    return provider;
}

async function transport([kind, place, ...rest]) {
    if (kind === 'stdio') return new StdioClientTransport({ command: place, args: rest, stderr: 'inherit' });
    const authProvider = kind === 'dpop' ? await provider(place, ...rest) : undefined;
    return new sdk.StreamableHTTPClientTransport(new URL(place), { authProvider });
}

await run(async (mode, door) => {
    const versionNegotiation = { mode: mode === 'legacy' ? 'legacy' : { pin: mode } };
    const client = new sdk.Client({ name: 'sdk2', version: '1' }, { versionNegotiation });
    const way = await transport(door);
    await client.connect(way);
    return {
        greeted: client.getNegotiatedProtocolVersion?.() ?? way.protocolVersion ?? 'unknown',
        tools: () => client.listTools({}, { cacheMode: 'bypass' }),
        call: (wanted, options) => client.callTool(wanted, options),
        resources: () => client.listResources(),
        read: wanted => client.readResource(wanted),
        prompt: wanted => client.getPrompt(wanted),
        close: async () => {
            await way.terminateSession?.();
            await client.close();
        },
    };
});
