// The OpenID provider of somebody else's making (npm `oidc-provider`) on loopback, at which `carla`
// logs in without being asked. Arguments: the provider's module, its clients as JSON, and a port, without
// which it takes a free one. It prints its issuer, and ends when its standard input does.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

const [module, clients, port = '0'] = process.argv.slice(2);
const { Provider } = await import(module);

const key = (kid, alg, type, options) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
};

const claims = {
    name: 'Carla',
    groups: ['approvers', 'staff'],
    email: 'carla@example.com',
    email_verified: true,
};

function configuration() {
    return {
        clients: JSON.parse(clients),
        jwks: {
            keys: [
                key('rsa', 'RS256', 'rsa', { modulusLength: 2048 }),
                key('pss', 'PS256', 'rsa', { modulusLength: 2048 }),
                key('p256', 'ES256', 'ec', { namedCurve: 'P-256' }),
                key('ed', 'EdDSA', 'ed25519'),
            ],
        },
        enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
        claims: {
            acr: null,
            auth_time: null,
            openid: ['sub', 'amr'],
            profile: ['name'],
            groups: ['groups'],
            email: ['email', 'email_verified'],
        },
        acrValues: ['phr'],
        conformIdTokenClaims: false,
        cookies: { keys: ['a key for the tests'] },
        features: { devInteractions: { enabled: false } },
        findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, ...claims }) }),
        pkce: { required: () => true },
        renderError: (ctx, out) => { ctx.body = JSON.stringify(out); },
    };
}

// Logs in and consents at once, as somebody does who was asked.
async function interact(provider, request, response) {
    const { prompt, params, session } = await provider.interactionDetails(request, response);
    if (params.login_hint === 'nobody') {
        return provider.interactionFinished(request, response, { error: 'access_denied' });
    }
    if (prompt.name === 'login') {
        const login = { accountId: 'carla', acr: 'phr', amr: ['hwk', 'user'] };
        return provider.interactionFinished(request, response, { login });
    }
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    const consent = { grantId: await grant.save() };
    return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

const server = createServer();
server.listen(Number(port), '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(issuer, configuration());
    const callback = provider.callback();
    server.on('request', (request, response) => {
        if (!request.url.startsWith('/interaction/')) return callback(request, response);
        return interact(provider, request, response).catch(error => {
            response.writeHead(500).end(String(error));
        });
    });
    console.log(`issuer ${issuer}`);
});
process.stdin.resume().on('end', () => process.exit());
