// The npm packages under test lie below `target/`, not beside these scripts.

import { createRequire } from 'node:module';

const modules = new URL('../../../target/provision/npm/', import.meta.url);

export const load = createRequire(new URL('package.json', modules));
