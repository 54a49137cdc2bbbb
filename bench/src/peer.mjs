// npm `oidc-provider` with a token-exchange grant (RFC 8693), for which everything is in memory. It
// verifies what Chancery verifies: the client's assertion and proof, the subject token, the actor
// token and the actor's proof; and it signs a token of ten minutes bound to the actor's key. It decides
// nothing and records nothing. Arguments: the folder of npm packages, the port, and the public keys of
// `lead` and `hand` as JSON.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

const [modules, port, jwks] = process.argv.slice(2);
const { Provider } = await import(`${modules}/oidc-provider/lib/index.js`);
const { default: validateDpop, checkDpopReplay } = await import(
    `${modules}/oidc-provider/lib/helpers/validate_dpop.js`
);
const { EmbeddedJWK, calculateJwkThumbprint, importJWK, jwtVerify } = await import(
    `${modules}/jose/dist/webapi/index.js`
);

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const { lead, hand } = JSON.parse(jwks);
lead.kid = await calculateJwkThumbprint(lead);
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const own = { ...privateKey.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' };
const issuer = `http://127.0.0.1:${port}`;
const handKey = await importJWK(hand, 'ES256');

const server = resource => ({
    audience: resource,
    scope: 'call',
    accessTokenFormat: 'jwt',
    accessTokenTTL: 300,
    jwt: { sign: { alg: 'ES256' } },
});

const provider = new Provider(issuer, {
    clients: [
        {
            client_id: 'lead',
            token_endpoint_auth_method: 'private_key_jwt',
            token_endpoint_auth_signing_alg: 'ES256',
            jwks: { keys: [lead] },
            grant_types: ['client_credentials', GRANT],
            redirect_uris: [],
            response_types: [],
            scope: 'call',
            id_token_signed_response_alg: 'ES256',
        },
    ],
    clientAuthMethods: ['private_key_jwt'],
    jwks: { keys: [own] },
    scopes: ['call'],
    cookies: { keys: ['none is set'] },
    routes: { token: '/oauth/token' },
    extraTokenClaims: (ctx, token) => token.extra,
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        dPoP: { enabled: true },
        resourceIndicators: {
            enabled: true,
            defaultResource: () => undefined,
            getResourceServerInfo: (_, resource) => server(resource),
            useGrantedResource: () => true,
        },
    },
    renderError: (ctx, out) => { ctx.body = JSON.stringify(out); },
});

provider.on('grant.error', (ctx, error) => console.error(error));
provider.on('server_error', (ctx, error) => console.error(error));

const used = new Set();

async function exchange(ctx) {
    const { client, params } = ctx.oidc;
    const proof = await validateDpop(provider, ctx);
    await checkDpopReplay(provider, ctx, proof, client.clientId);
    const subject = await jwtVerify(params.subject_token, publicKey, { issuer, typ: 'at+jwt' });
    const actor = await jwtVerify(params.actor_token, handKey, { audience: issuer, typ: 'actor+jwt' });
    const holds = await jwtVerify(params.actor_proof, EmbeddedJWK, { typ: 'dpop+jwt' });
    const thumbprint = await calculateJwkThumbprint(holds.protectedHeader.jwk);
    const fits = subject.payload.cnf.jkt === proof.thumbprint
        && actor.payload.cnf.jkt === thumbprint
        && subject.payload.aud === params.resource
        && ![actor.payload.jti, holds.payload.jti].some(jti => used.has(jti));
    if (!fits) throw new Error('it does not hold');
    used.add(actor.payload.jti).add(holds.payload.jti);
    const token = new provider.ClientCredentials({ client, scope: 'call' });
    token.resourceServer = new provider.ResourceServer(params.resource, server(params.resource));
    token.setThumbprint('jkt', thumbprint);
    token.extra = { sub: subject.payload.sub, act: { sub: actor.payload.sub } };
    ctx.body = {
        access_token: await token.save(),
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: token.tokenType,
        expires_in: token.expiration,
    };
}

provider.registerGrantType(GRANT, exchange, [
    'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'actor_proof', 'resource',
]);

createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('ready'));
