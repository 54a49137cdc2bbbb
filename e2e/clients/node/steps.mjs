// What both official TypeScript SDKs are asked to do: steps as JSON lines on standard input, one
// JSON line printed for the greeting and one for each step.
//
//     node CLIENT MODE DOOR [ARG...]
//
// MODE is `legacy` or a version of the stateless era. DOOR is `stdio COMMAND [ARG...]`, `http URL`,
// or `dpop URL AGENT KEY_FILE`.

import { createInterface } from 'node:readline';

const print = value => process.stdout.write(JSON.stringify(value) + '\n');

const text = parts => (parts ?? []).map(part => part.text ?? '').join('');

async function call(client, wanted) {
    const progress = [];
    const cut = new AbortController();
    const options = { signal: cut.signal };
    if ('progress' in wanted || 'cancel' in wanted) {
        options.onprogress = ({ progress: done, total }) => {
            progress.push([done, total]);
            if (progress.length >= (wanted.cancel ?? Infinity)) cut.abort('enough');
        };
    }
    try {
        const result = await client.call({ name: wanted.call, arguments: wanted.arguments ?? {} }, options);
        const answer = {
            isError: result.isError ?? false,
            text: text(result.content),
            structured: result.structuredContent ?? null,
        };
        return options.onprogress ? { ...answer, progress } : answer;
    } catch (error) {
        if (!cut.signal.aborted) throw error;
        return { cancelled: true, progress };
    }
}

async function step(client, wanted) {
    if ('list' in wanted) return { tools: (await client.tools()).tools.map(tool => tool.name) };
    if ('call' in wanted) return await call(client, wanted);
    if ('resources' in wanted) {
        return { resources: (await client.resources()).resources.map(resource => resource.uri) };
    }
    if ('read' in wanted) return { text: text((await client.read({ uri: wanted.read })).contents) };
    if ('prompt' in wanted) {
        const got = await client.prompt({ name: wanted.prompt, arguments: wanted.arguments });
        return { text: text(got.messages.map(message => message.content)) };
    }
    throw new Error(`no such step: ${JSON.stringify(wanted)}`);
}

/// Runs the steps with what `connect` gives: the verbs of a client, and `greeted` and `close`.
export async function run(connect) {
    const [mode, ...door] = process.argv.slice(2);
    const client = await connect(mode, door);
    print({ greeted: client.greeted });
    for await (const line of createInterface({ input: process.stdin })) {
        try {
            print(await step(client, JSON.parse(line)));
        } catch (error) {
            const { code = null, data = null } = error;
            print({ raised: error.constructor.name, code, data, text: String(error.message) });
        }
    }
    await client.close();
}
