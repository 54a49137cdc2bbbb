// The official TypeScript SDK of both eras, `@modelcontextprotocol/client`. Its own DPoP and its own
// `private_key_jwt` speak to our token endpoint, which it finds by itself.

import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { cameBack, provider as authorizing } from './authorizing.mjs';
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

const providers = {
    dpop: (url, ...rest) => provider(url, ...rest),
    oauth: (url, ...rest) => authorizing(sdk, ...rest),
};

function transport([kind, place, ...rest], authProvider) {
    if (kind === 'stdio') return new StdioClientTransport({ command: place, args: rest, stderr: 'inherit' });
    return new sdk.StreamableHTTPClientTransport(new URL(place), { authProvider });
}

await run(async (mode, door) => {
    const versionNegotiation = { mode: mode === 'legacy' ? 'legacy' : { pin: mode } };
    const made = () => new sdk.Client({ name: 'sdk2', version: '1' }, { versionNegotiation });
    const authProvider = await providers[door[0]]?.(...door.slice(1));
    let [client, way] = [made(), transport(door, authProvider)];
    try {
        await client.connect(way);
    } catch (error) {
        if (door[0] !== 'oauth' || !(error instanceof sdk.UnauthorizedError)) throw error;
        await way.finishAuth(await cameBack());
        [client, way] = [made(), transport(door, authProvider)];
        await client.connect(way);
    }
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
