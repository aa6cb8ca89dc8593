import { expect, test } from 'vitest';

import { paceOf } from '../../src/storage/fill-pace.ts';

test.each([
  { used: 0, done: 0, isHurried: true },
  { used: 0, done: 1, isHurried: false },
  { used: 0.4, done: 499, isHurried: true },
  { used: 0.4, done: 501, isHurried: false },
  { used: 0.8, done: 999, isHurried: true },
  { used: 1, done: 1000, isHurried: true },
])(
  'with $used of the file in use filled, $done of 1,000 bytes ahead are hurried on: $isHurried',
  ({ used, done, isHurried }) => {
    const pauseMs = paceOf(1000, () => used)(done);
    if (isHurried) expect(pauseMs).toBe(0);
    else expect(pauseMs).toBeGreaterThan(0);
  },
);

test('what nobody needs any more stops', () => {
  expect(paceOf(1000, () => 'stop')(500)).toBe('stop');
});
