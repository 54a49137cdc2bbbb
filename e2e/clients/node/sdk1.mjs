// The official TypeScript SDK of the session era, `@modelcontextprotocol/sdk`.

import { dpopFetch } from './dpop.mjs';
import { load } from './packages.mjs';
import { run } from './steps.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');

function transport([kind, place, ...rest]) {
    if (kind === 'stdio') return new StdioClientTransport({ command: place, args: rest, stderr: 'inherit' });
    const fetch = kind === 'dpop' ? dpopFetch(place, ...rest) : undefined;
    return new StreamableHTTPClientTransport(new URL(place), { fetch });
}

await run(async (_mode, door) => {
    const client = new Client({ name: 'sdk1', version: '1' });
    const way = transport(door);
    let greeted;
    // What the SDK tells its transport once the version is agreed on, whatever the transport.
    const told = way.setProtocolVersion?.bind(way);
    way.setProtocolVersion = version => {
        greeted = version;
        told?.(version);
    };
    await client.connect(way);
    return {
        greeted,
        tools: () => client.listTools(),
        call: (wanted, options) => client.callTool(wanted, undefined, options),
        resources: () => client.listResources(),
        read: wanted => client.readResource(wanted),
        prompt: wanted => client.getPrompt(wanted),
        close: async () => {
            await way.terminateSession?.();
            await client.close();
        },
    };
});
