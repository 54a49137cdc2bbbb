// A client's own proof of possession with nothing but Node: its key, its token, and a `fetch` that
// signs every request (RFC 9449). The agent's key authenticates the agent (RFC 7523); the key made
// here is this instance's own and never leaves the process.

import { createHash, createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

const base64url = value => Buffer.from(value).toString('base64url');

function jwt(header, claims, key) {
    const input = `${base64url(JSON.stringify({ alg: 'ES256', ...header }))}.${base64url(JSON.stringify(claims))}`;
    const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
}

/// A `fetch` that reaches `resource` as an instance of `agent`.
export function dpopFetch(resource, agent, keyFile) {
    const issuer = resource.split('/mcp/')[0];
    const agentKey = createPrivateKey(readFileSync(keyFile));
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = publicKey.export({ format: 'jwk' });
    let token, nonce, renewAt = 0;

    const now = () => Math.floor(Date.now() / 1000);

    function proof(htm, htu, accessToken) {
        const claims = { htm, htu, iat: now(), jti: randomUUID() };
        if (accessToken) claims.ath = createHash('sha256').update(accessToken).digest('base64url');
        if (nonce) claims.nonce = nonce;
        return jwt({ typ: 'dpop+jwt', jwk }, claims, privateKey);
    }

    async function obtain() {
        const url = `${issuer}/oauth/token`;
        const claims = { iss: agent, sub: agent, aud: issuer, iat: now(), exp: now() + 60, jti: randomUUID() };
        const body = new URLSearchParams({
            grant_type: 'client_credentials',
            client_id: agent,
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: jwt({ typ: 'JWT' }, claims, agentKey),
            resource,
        });
        const answer = await fetch(url, { method: 'POST', body, headers: { DPoP: proof('POST', url) } });
        const said = await answer.json();
        if (!answer.ok) throw new Error(said.error_description ?? said.error);
        token = said.access_token;
        renewAt = now() + said.expires_in - 30;
    }

    return async (url, init = {}) => {
        if (now() >= renewAt) await obtain();
        const send = async () => {
            const headers = new Headers(init.headers);
            headers.set('Authorization', `DPoP ${token}`);
            headers.set('DPoP', proof(init.method ?? 'GET', String(url), token));
            const answer = await fetch(url, { ...init, headers });
            nonce = answer.headers.get('dpop-nonce') ?? nonce;
            return answer;
        };
        const answer = await send();
        const challenge = answer.headers.get('www-authenticate') ?? '';
        return answer.status === 401 && challenge.includes('use_dpop_nonce') ? await send() : answer;
    };
}
