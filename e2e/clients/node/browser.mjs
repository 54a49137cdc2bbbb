// A real browser: Chromium, driven by npm `playwright-core` with steps as JSON lines on standard
// input; one JSON line is printed for each.
//
//     node browser.mjs PLAYWRIGHT CHROMIUM SCRIPTS
//
// PLAYWRIGHT is the module, CHROMIUM the program, and SCRIPTS `true` if pages may run scripts. Each run
// has a new user data directory.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

const [module, executablePath, scripts] = process.argv.slice(2);
const { chromium } = await import(module);

const args = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const browser = await chromium.launch({ executablePath, args });
const context = await browser.newContext({
    javaScriptEnabled: scripts === 'true',
    viewport: { width: 900, height: 1000 },
});
const page = await context.newPage();

// Whatever the browser complains of, such as a violation of the content security policy.
const complaints = [];
function listen(one, told) {
    one.on('console', message => {
        if (['error', 'warning'].includes(message.type())) told.push(message.text());
    });
    one.on('pageerror', error => told.push(String(error)));
    one.on('requestfailed', request => told.push(`${request.url()}: ${request.failure().errorText}`));
}
listen(page, complaints);

async function told(response) {
    if (response === null) return {};
    const sent = await response.request().allHeaders();
    const { origin = null, referer = null } = sent;
    return { status: response.status(), headers: await response.allHeaders(), origin, referer };
}

async function shown(response) {
    const outline = () => [...document.querySelectorAll('h1, h2')].map(it => it.textContent);
    // Every control has a name, as somebody hears it who does not see the page.
    const controls = () => [...document.querySelectorAll('button, input:not([type=hidden])')].map(it =>
        it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent);
    return {
        ...await told(response),
        url: page.url(),
        title: await page.title(),
        lang: await page.locator('html').getAttribute('lang'),
        text: await page.locator('main').innerText(),
        outline: await page.evaluate(outline),
        controls: await page.evaluate(controls),
    };
}

// What somebody else serves on loopback: a page with `foreign` in it.
let foreign = '';
const others = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end(`<!doctype html><title>elsewhere</title>${foreign}`);
});
await new Promise(resolve => others.listen(0, '127.0.0.1', resolve));

// A page of somebody else with `body`, on which `act` does something. By the name `localhost` it is of
// another site than ours; by our own address it is of the same site and of another origin.
async function elsewhere(name, body, act) {
    foreign = body;
    const other = await context.newPage();
    const told = [];
    listen(other, told);
    await other.goto(`http://${name}:${others.address().port}/`);
    const done = await act(other);
    await other.close();
    return { ...done, complaints: told };
}

const escaped = text => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');

const steps = {
    open: async url => shown(await page.goto(url)),
    // The link or the button of this name.
    click: async name => {
        const control = page.getByRole('link', { name, exact: true })
            .or(page.getByRole('button', { name, exact: true }));
        const [response] = await Promise.all([page.waitForNavigation(), control.click()]);
        return shown(response);
    },
    fill: async ([label, value]) => page.getByLabel(label).fill(value),
    // What the keyboard reaches, in order.
    tab: async times => {
        const reached = [];
        for (let time = 0; time < times; time += 1) {
            await page.keyboard.press('Tab');
            const focused = () => {
                const it = document.activeElement;
                return it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent;
            };
            reached.push(await page.evaluate(focused));
        }
        return reached;
    },
    complaints: async () => complaints,
    // What a page of somebody else shows of `url` in a frame.
    frame: async ({ url, name }) => elsewhere(name, `<iframe src="${escaped(url)}"></iframe>`, async other => {
        const frame = other.frames()[1];
        return { shown: await frame.content().catch(() => '') };
    }),
    // What comes of a form that a page of somebody else sends.
    forge: async ({ url, name, fields }) => {
        const inputs = Object.entries(fields).map(([field, value]) =>
            `<input type="hidden" name="${escaped(field)}" value="${escaped(value)}">`);
        const form = `<form method="post" action="${escaped(url)}">${inputs.join('')}<button>Go</button></form>`;
        return elsewhere(name, form, async other => {
            const [response] = await Promise.all([other.waitForNavigation(), other.click('button')]);
            return told(response);
        });
    },
    // What the hidden fields of the first form say.
    hidden: async () => {
        const all = page.locator('form >> nth=0').locator('input[type=hidden]');
        const fields = await all.evaluateAll(found => found.map(it => [it.name, it.value]));
        return Object.fromEntries(fields);
    },
};

console.log(JSON.stringify({ version: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
    const [[step, value]] = Object.entries(JSON.parse(line));
    const done = await steps[step](value).catch(error => ({ failed: String(error) }));
    console.log(JSON.stringify(done ?? null));
}
await browser.close();
others.close();
