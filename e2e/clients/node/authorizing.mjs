// The SDK's own OAuth for a client that is known by its document: an authorization code, by a person,
// and its own DPoP. Where the person is to go is printed as a JSON line; where they came back to is
// read as one.

import { once } from 'node:events';
import { createInterface } from 'node:readline';

export async function provider(sdk, clientId, redirectUri) {
    const session = await sdk.DpopSession.create();
    const kept = {};
    return {
        redirectUrl: redirectUri,
        clientMetadataUrl: clientId,
        clientMetadata: { client_name: 'the TypeScript SDK', redirect_uris: [redirectUri] },
        state: () => 'a state of the TypeScript SDK',
        clientInformation: () => kept.client,
        saveClientInformation: client => { kept.client = client; },
        tokens: () => kept.tokens,
        saveTokens: tokens => { kept.tokens = tokens; },
        codeVerifier: () => kept.verifier,
        saveCodeVerifier: verifier => { kept.verifier = verifier; },
        redirectToAuthorization: url => {
            process.stdout.write(JSON.stringify({ authorize: String(url) }) + '\n');
        },
        dpop: () => session,
    };
}

/// What the client was answered with, where the person came back to.
export async function cameBack() {
    const lines = createInterface({ input: process.stdin });
    const [line] = await once(lines, 'line');
    lines.close();
    return new URL(JSON.parse(line).callback).searchParams;
}
