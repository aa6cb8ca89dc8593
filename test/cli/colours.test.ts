/** Who gets colours. */
import { expect, test } from 'vitest';

import { wantsColours } from '../../src/cli/colours.ts';

test.each([
  { env: {}, isTerminal: true, wanted: true },
  { env: {}, isTerminal: false, wanted: false },
  { env: { CI: 'true' }, isTerminal: false, wanted: false },
  { env: { TERM: 'dumb' }, isTerminal: true, wanted: false },
  { env: { NO_COLOR: '1' }, isTerminal: true, wanted: false },
  { env: { NO_COLOR: '' }, isTerminal: true, wanted: true },
  { env: { FORCE_COLOR: '1' }, isTerminal: false, wanted: true },
  { env: { FORCE_COLOR: '0' }, isTerminal: true, wanted: false },
  { env: { FORCE_COLOR: '1', NO_COLOR: '1' }, isTerminal: false, wanted: false },
])('$env, terminal $isTerminal: $wanted', ({ env, isTerminal, wanted }) => {
  expect(wantsColours(env, isTerminal)).toBe(wanted);
});
